"""Logging of a process: JSON lines on stderr, readable ones on a terminal; never a card number in either."""

from __future__ import annotations

import logging
import sys
from typing import Any, Literal, cast

import structlog

from features.pan import scrub_event

Level = Literal["debug", "info", "warning", "error"]

# These say at `info` what our own events say better.
_QUIET = ("aiokafka", "asyncio", "faust", "kafka", "mode", "opensearch", "urllib3")


def configure_logging(level: Level = "info") -> None:
    """Send everything that is logged, by structlog or by the standard library, through one pipeline to stderr.

    Args:
        level: least severity that is written; the libraries below us speak from `warning` on only.
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
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                # Exceptions are text by now, so what stands in them is scrubbed too.
                cast("structlog.typing.Processor", scrub_event),
                _renderer(terminal=sys.stderr.isatty()),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(least)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(least, logging.WARNING))


def _renderer(*, terminal: bool) -> Any:  # noqa: ANN401 - structlog's renderers share no type
    if terminal:
        return structlog.dev.ConsoleRenderer()
    return structlog.processors.JSONRenderer()
