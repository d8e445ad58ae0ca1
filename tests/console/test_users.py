"""The users file and its commands."""

from __future__ import annotations

import stat

import pytest
from argon2 import PasswordHasher

from console import users
from console.users import UsersFile, hash_password, new_token, read_users, write_users
from features.errors import ConfigError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "users.yaml"


@pytest.fixture
def quick(monkeypatch):
    """Hashes that cost nothing."""
    monkeypatch.setattr(users, "_HASHER", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


@pytest.mark.usefixtures("quick")
def test_passwords_are_argon2id_and_verified(path):
    write_users(path, {"ana": users.User("analyst", hash_password("correct-horse"))})
    file = UsersFile(path)

    assert read_users(path)["ana"].password.startswith("$argon2id$")
    assert file.verified("ana", "correct-horse").role == "analyst"
    assert file.verified("ana", "wrong") is None
    assert file.verified("nobody", "correct-horse") is None


def test_the_library_defaults_are_argon2id_of_the_rfc():
    parameters = users._HASHER

    assert parameters.type.name == "ID"
    assert parameters.memory_cost >= 19 * 1024


@pytest.mark.usefixtures("quick")
def test_somebody_without_a_password_cannot_log_in_by_one(path):
    write_users(path, {"bot": users.User("viewer")})

    assert UsersFile(path).verified("bot", "") is None


def test_a_token_is_kept_as_its_hash_alone(path):
    token, digest = new_token()
    write_users(path, {"bot": users.User("viewer", tokens=(digest,))})

    assert token not in path.read_text()
    assert UsersFile(path).by_token(token).name == "bot"
    assert UsersFile(path).by_token(f"{token}x") is None


def test_only_its_owner_may_read_the_file(path):
    write_users(path, {"bot": users.User("viewer")})

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.usefixtures("quick")
def test_a_change_of_the_file_counts_at_once_and_marks_the_password(path):
    write_users(path, {"ana": users.User("viewer", hash_password("first-password"))})
    file = UsersFile(path)
    before = file.account("ana")

    write_users(path, {"ana": users.User("admin", hash_password("second-password"))})

    assert file.account("ana").role == "admin"
    assert file.account("ana").mark != before.mark


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "names no users"),
        ("users: {}", "names no users"),
        ("users: [ana]", "names no users"),
        ("users: {ana: {role: king}}", "role"),
        ("users: {ana: {role: viewer, pasword: x}}", "pasword"),
        ("users: {'a b': {role: viewer}}", "name"),
        ("users: {7: {role: viewer}}", "name"),
        ("users: {ana: {role: viewer, tokens: [plain]}}", "tokens"),
        ("users:\n  ana: {role", "line"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_its_field(path, text, named):
    path.write_text(text)

    with pytest.raises(ConfigError) as refused:
        read_users(path)

    assert "FRAUD_CONSOLE_USERS" in str(refused.value)
    assert named in str(refused.value)


def test_a_missing_file_says_how_to_make_one(path):
    with pytest.raises(ConfigError, match="fraudstream console-user add"):
        UsersFile(path).check()


def test_a_short_password_is_refused():
    with pytest.raises(ConfigError, match="at least 10"):
        hash_password("short")
