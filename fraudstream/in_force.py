"""The settings in force, as lines that a `.env` file takes, secrets masked: `fraudstream config`."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from pydantic import SecretStr

from streams.settings import PREFIX, Settings

MASK = "********"

# Up to the last "@": a password may hold every other character.
_USER_PASSWORD = re.compile(r"(?<=://)([^:@/\s]*):(\S*)@")
_QUERY_PASSWORD = re.compile(r"(?i)([?&][^=&]*(?:password|secret|token)[^=&]*=)[^&\s]+")


def lines(settings: Settings) -> Iterator[str]:
    """One `FRAUD_X=value` line per setting; those that nobody set say that they are defaults."""
    for name in type(settings).model_fields:
        note = "" if name in settings.model_fields_set else "  # default"
        yield f"{PREFIX}{name.upper()}={_shown(name, getattr(settings, name))}{note}"


def _shown(name: str, value: object) -> str:
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
        # A URL is a secret for the password in it alone.
        if value and not (name.endswith("_url") and "://" in value):
            return MASK
    text = mask_url(str(value))
    return shlex.quote(text) if text else ""


def mask_url(text: str) -> str:
    """Hide the passwords inside the URLs of a text.

    >>> mask_url("redis://worker:s3cret@localhost:6379/0")
    'redis://worker:********@localhost:6379/0'
    """
    return _QUERY_PASSWORD.sub(rf"\g<1>{MASK}", _USER_PASSWORD.sub(rf"\g<1>:{MASK}@", text))


def settings_table() -> str:
    """Every variable with its default and meaning, as the Markdown table that stands in `docs/commands.md`."""
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = field.default.get_secret_value() if isinstance(field.default, SecretStr) else field.default
        rows.append(f"| `{PREFIX}{name.upper()}` | {f'`{default}`' if default != '' else ''} | {field.description} |")
    return "\n".join(rows)
