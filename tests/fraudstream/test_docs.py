"""The documentation of the command line says what the code does."""

from __future__ import annotations

from pathlib import Path

import pytest

from features import errors
from fraudstream.in_force import settings_table
from local.errors import LocalStackError
from local.generator import GeneratorError
from local.producer import PublishingError
from tests.fraudstream.test_cli import all_commands

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = (ROOT / "docs" / "commands.md").read_text()


def all_errors(root: type[Exception]) -> list[type[Exception]]:
    return [root, *(error for child in root.__subclasses__() for error in all_errors(child))]


def test_every_setting_stands_in_the_table_as_the_code_declares_it():
    assert settings_table() in COMMANDS, f"docs/commands.md needs this table:\n{settings_table()}"


@pytest.mark.parametrize("words", all_commands(), ids=" ".join)
def test_every_command_is_listed(words):
    assert f"| `fraudstream {' '.join(words)}` |" in COMMANDS


@pytest.mark.parametrize(
    "error", [*all_errors(errors.FraudstreamError), LocalStackError, GeneratorError, PublishingError]
)
def test_every_exit_code_is_explained(error):
    assert f"\n| {error.exit_code} |" in COMMANDS


def test_the_licence_is_the_one_that_the_package_declares():
    licence = (ROOT / "LICENSE").read_text()

    assert "Apache License" in licence
    assert "Version 2.0, January 2004" in licence
    assert "END OF TERMS AND CONDITIONS" in licence
