"""Logging of a process: JSON lines on stderr, readable ones on a terminal; no card number, no secret in either."""

from __future__ import annotations

import faulthandler
import logging
import re
import sys
import threading
from collections.abc import Collection, Mapping
from types import TracebackType
from typing import Any, Final, Literal, cast

import structlog

from features.hidden import hidden
from features.pan import scrub
from streams.watch.log_lines import LineHandler

Level = Literal["debug", "info", "warning", "error"]

# These say at `info` what our own events say better.
_QUIET: Final = ("aiokafka", "asyncio", "faust", "kafka", "mode", "opensearch", "redis", "urllib3")
# Deeper values, and longer texts, are cut: a line is for people, and a value may hold itself.
_DEPTH: Final = 6
_MOST_CHARS: Final = 16_384
# What straddles the cut must be recognised before it is cut.
_MARGIN: Final = 1_024
_USER_INFO: Final = re.compile(r"(?<=://)[^\s/@]+@")
_HIDDEN: Final = "****"


def configure_logging(level: Level = "info", secrets: Collection[str] = ()) -> None:
    """Send everything that is logged, by structlog or by the standard library, through one pipeline to stderr.

    Nothing that stderr does ends the process; lines that it does not take are counted
    (`fraud_log_lines_lost_total`).

    Args:
        level: least severity that is written; the libraries below us speak from `warning` on only.
        secrets: texts that must stand in no line: passwords and keys.
    """
    least = getattr(logging, level.upper())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = LineHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                # Exceptions are text by now, so what stands in them is scrubbed too.
                cast("structlog.typing.Processor", Scrubber(secrets)),
                _renderer(terminal=sys.stderr.isatty()),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(least)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(least, logging.WARNING))
    logging.captureWarnings(capture=True)
    faulthandler.enable()  # places in the code and no values: nothing to scrub
    # What nobody caught is logged like everything else, and so scrubbed like everything else.
    sys.excepthook = _log_uncaught
    threading.excepthook = lambda what: _log_uncaught(what.exc_type, what.exc_value, what.exc_traceback)
    sys.unraisablehook = lambda what: _log_uncaught(what.exc_type, what.exc_value, what.exc_traceback)


class Scrubber:
    """A structlog processor: whatever a value is, keys included, no card number and no secret of it is shown.

    Args:
        secrets: texts to hide besides; short ones are no secrets, and would hide half of every line.
    """

    def __init__(self, secrets: Collection[str] = ()) -> None:
        self._secrets = sorted({text for text in secrets if len(text) >= 6}, key=len, reverse=True)

    def __call__(self, _logger: object, _method: str, event: Mapping[str, object]) -> dict[str, object]:
        """The event with every value made safe to show."""
        return {self._text(name): self._safe(value, _DEPTH) for name, value in event.items()}

    def _safe(self, value: object, depth: int) -> object:
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int | float):
            text = self._text(repr(value))
            return value if text == repr(value) else text
        if depth and isinstance(value, Mapping):
            return {self._text(_shown(name)): self._safe(item, depth - 1) for name, item in value.items()}
        if depth and isinstance(value, list | tuple | set | frozenset):
            return [self._safe(item, depth - 1) for item in value]
        return self._text(_shown(value))

    def _text(self, text: str) -> str:
        shown = text[: _MOST_CHARS + _MARGIN]
        for secret in (*self._secrets, *hidden()):
            shown = shown.replace(secret, _HIDDEN)
        shown = _USER_INFO.sub(f"{_HIDDEN}@", scrub(shown))
        return shown if len(shown) <= _MOST_CHARS else f"{shown[:_MOST_CHARS]}... ({len(text)} characters)"


def _shown(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    return repr(value)


def _log_uncaught(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    logging.getLogger("fraudstream").critical("uncaught_exception", exc_info=(kind, error or kind(), trace))


def _renderer(*, terminal: bool) -> Any:  # noqa: ANN401 - structlog's renderers share no type
    if terminal:
        return structlog.dev.ConsoleRenderer()
    return structlog.processors.JSONRenderer()
