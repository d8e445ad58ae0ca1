"""Who may use the console: the users file, password hashes, API tokens."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import tempfile
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args

import msgspec
import yaml
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from features.errors import ConfigError

Role = Literal["viewer", "analyst", "admin"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)

VARIABLE: Final = "FRAUD_CONSOLE_USERS"
LEAST_CHARS: Final = 10
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}").fullmatch
_TOKEN_BYTES: Final = 32
_HASHER: Final = PasswordHasher()  # Argon2id with the library's parameters, those of RFC 9106 for less memory
_Digest = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class User(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One entry of the users file.

    Attributes:
        role: viewers read, analysts answer, admins may also take over cases and see everybody's trail.
        password: Argon2 hash; empty: no login by password.
        tokens: SHA-256 of API tokens, hexadecimal. A token is random, so a fast hash is enough.
    """

    role: Role
    password: str = ""
    tokens: tuple[_Digest, ...] = ()


class Account(msgspec.Struct, frozen=True):
    """Somebody who is known: the name, what they may do, and a mark that changes with their password."""

    name: str
    role: Role
    mark: str


class UsersFile:
    """The users file, read again whenever it changed.

    Args:
        path: YAML: `users: {name: {role, password, tokens}}`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_at: tuple[int, int] | None = None
        self._users: dict[str, User] = {}

    def check(self) -> int:
        """Read it; returns how many users there are. Raises ConfigError where it cannot be used."""
        return len(self._current())

    def account(self, name: str) -> Account | None:
        """Somebody by name."""
        user = self._current().get(name)
        return None if user is None else _account(name, user)

    def by_token(self, token: str) -> Account | None:
        """Somebody by an API token."""
        digest = token_digest(token)
        for name, user in self._current().items():
            if any(secrets.compare_digest(digest, known) for known in user.tokens):
                return _account(name, user)
        return None

    def verified(self, name: str, password: str) -> Account | None:
        """Somebody by name and password; takes as long whether the name is known or not."""
        user = self._current().get(name)
        known = user.password if user is not None and user.password else _NOBODY
        try:
            _HASHER.verify(known, password)
        except (VerificationError, InvalidHashError):
            return None
        return None if user is None or known is _NOBODY else _account(name, user)

    def _current(self) -> dict[str, User]:
        try:
            state = self._path.stat()
        except OSError as exc:
            raise ConfigError(f"{VARIABLE}: cannot read {self._path}: {exc.strerror}; {_how()}") from None
        seen = state.st_mtime_ns, state.st_size
        if seen != self._read_at:
            self._users = read_users(self._path)
            self._read_at = seen
        return self._users


def read_users(path: Path) -> dict[str, User]:
    """The users of a file, by name.

    Raises:
        ConfigError: it cannot be read, or is no users file; names the field.
    """
    try:
        raw: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{VARIABLE}: cannot read {path}: {exc}; {_how()}") from None
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        raise ConfigError(f"{VARIABLE}: {path}{where} is not YAML") from None
    users = raw.get("users") if isinstance(raw, dict) else None
    if not isinstance(users, dict) or not users:
        raise ConfigError(f"{VARIABLE}: {path} names no users; {_how()}")
    for name in users:
        checked_name(name)
    try:
        return msgspec.convert(users, dict[str, User])
    except msgspec.ValidationError as exc:
        raise ConfigError(f"{VARIABLE}: {path}: {exc}") from None


def write_users(path: Path, users: dict[str, User]) -> None:
    """Put a users file in place, in one step and for its owner alone; raises ConfigError where that fails."""
    text = yaml.safe_dump({"users": msgspec.to_builtins(users)}, sort_keys=True, default_flow_style=False)
    try:
        handle, made = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(made).replace(path)
    except OSError as exc:
        raise ConfigError(f"{VARIABLE}: cannot write {path}: {exc.strerror}") from None


def checked_name(name: object) -> str:
    """A user's name; raises ConfigError for what could not stand in a label or a key."""
    if not isinstance(name, str) or _NAME(name) is None:
        raise ConfigError(
            f"{VARIABLE}: a user's name has 1 to 64 letters, digits and . _ @ + -, and no other character"
        )
    return name


def hash_password(password: str) -> str:
    """The Argon2id hash of a password; raises ConfigError where it is too short."""
    if len(password) < LEAST_CHARS:
        raise ConfigError(f"a password has at least {LEAST_CHARS} characters")
    return _HASHER.hash(password)


def new_token() -> tuple[str, str]:
    """A token, and what the users file keeps of it."""
    token = f"fsc_{secrets.token_urlsafe(_TOKEN_BYTES)}"
    return token, token_digest(token)


def token_digest(token: str) -> str:
    """What the users file keeps of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def _account(name: str, user: User) -> Account:
    return Account(name, user.role, hashlib.sha256(user.password.encode()).hexdigest()[:16])


def _how() -> str:
    return "make one with: fraudstream console-user add NAME --role analyst"


# What is verified where nobody has that name: nobody knows this password either.
_NOBODY: Final = _HASHER.hash(secrets.token_hex(16))
