"""How long each stage of a batch takes: a stop watch that costs less than a microsecond a stage."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Final

import structlog
from prometheus_client import CollectorRegistry

from streams.role import Chunk
from streams.watch.histogram import LATENCY_S, Histogram

SCORE_STAGES: Final = (
    "deliver", "decode", "read", "windows", "features", "model", "rules", "reasons", "encode", "turn", "commit",
    "publish",
)  # fmt: skip
INDEX_STAGES: Final = ("deliver", "decode", "write")


class Stages:
    """The stop watch of one role, used by its event loop alone.

        stages.begin(chunks, now_ms)
        ...
        stages.lap("decode")

    Args:
        registry: where `fraud_stage_seconds` is collected.
        names: the stages of the role.

    Attributes:
        taken_s: seconds by stage of the batch in hand, or of the last one.
    """

    def __init__(self, registry: CollectorRegistry, names: Sequence[str]) -> None:
        self._histogram = Histogram(
            "fraud_stage_seconds", "one stage of one batch", LATENCY_S, registry, label="stage", values=names
        )
        self.taken_s: dict[str, float] = {}
        self._since_s = 0.0

    def begin(self, chunks: Sequence[Chunk], now_ms: int | None = None) -> None:
        """A batch is in hand; its oldest record has waited since the broker took it (`deliver`).

        Args:
            chunks: the batch.
            now_ms: epoch milliseconds; None: the clock.
        """
        now = time.time_ns() // 1_000_000 if now_ms is None else now_ms
        oldest_ms = min([chunk.records[0].timestamp()[1] for chunk in chunks if chunk.records], default=now)
        self.taken_s = {"deliver": max(now - oldest_ms, 0) / 1000}
        self._since_s = perf_counter()

    def lap(self, stage: str) -> None:
        """The time since the last lap went into this stage; a stage that is repeated adds up."""
        now_s = perf_counter()
        self.taken_s[stage] = self.taken_s.get(stage, 0.0) + now_s - self._since_s
        self._since_s = now_s

    def skip(self) -> None:
        """The time since the last lap went into no stage (a rebuild, say)."""
        self._since_s = perf_counter()

    def done(self, taken_s: Mapping[str, float]) -> None:
        """A batch is done: count its stages."""
        self._histogram.observe_each(taken_s)


def log_batch(
    log: structlog.stdlib.BoundLogger, taken_s: Mapping[str, float], chunks: Sequence[Chunk], **what: object
) -> None:
    """One line a batch at debug: what it became, milliseconds by stage, and its offsets.

    Args:
        log: of the role's module.
        taken_s: seconds by stage.
        chunks: the batch.
        what: what it became.
    """
    if not logging.getLogger().isEnabledFor(logging.DEBUG):
        return
    log.debug(
        "batch",
        records=sum(len(chunk.records) for chunk in chunks),
        **what,
        ms={stage: round(seconds * 1000, 3) for stage, seconds in taken_s.items()},
        offsets={c.partition: [c.records[0].offset(), c.records[-1].offset()] for c in chunks if c.records},
    )
