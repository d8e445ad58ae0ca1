"""The `score` role: transactions in, outcomes out.

A batch goes: decode -> read histories -> windows -> features -> model -> decision -> commit histories -> publish
outcomes, dead letters and reroutes, every one confirmed -> (delivery) commit offsets. Nothing is acknowledged before it
is published, and a batch that comes again after a crash is answered with what was answered first.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import structlog

from features.decode import Decoder
from features.errors import DecodeError, FraudstreamError
from sinks.publisher import Publisher
from streams.answers import Answers
from streams.intake import Incoming, Intake, Reach, Reader, offset_of, reaches_of
from streams.policy.files import SAMPLE
from streams.policy.reload import Reloader
from streams.role import Chunk, Told, Turn
from streams.scorer import Scored, Scorer
from streams.watch.metrics import ScoreMetrics
from streams.watch.stages import log_batch

log = structlog.get_logger(__name__)

DEADLINE: Final = "deadline"
_FRAMES: Final = 6


class ScoreHandler:
    """Scores batches; the module's first lines give the order of the steps.

    Delivery: at least once, with effects that repeat as they were. A
    batch that fails is halved until the record is found that fails by itself; that one becomes a dead letter. Where
    even a sample fails, the fault is ours and the process ends.

    Args:
        reader: decodes and finds homes.
        scorer: scores what is at home.
        reloader: keeps what decides up to date.
        publisher: confirmed publish.
        deadline_ms: how long scoring a batch may take before its outcomes say so; 0: as long as it likes.
        metrics: counters of this process.
    """

    def __init__(
        self, *, reader: Reader, scorer: Scorer, reloader: Reloader, publisher: Publisher, deadline_ms: int,
        metrics: ScoreMetrics, monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._reader, self._scorer, self._reloader, self._publisher = reader, scorer, reloader, publisher
        self._deadline_s, self._metrics, self._monotonic_s = deadline_ms / 1000, metrics, monotonic_s

    async def start(self) -> None:
        """Meet Redis and Kafka, or say that they are away."""
        await self._scorer.start()
        await self._reloader.start()
        self._publisher.start()

    async def assigned(self, positions: dict[int, int | None]) -> Mapping[int, int]:
        """Claim the partitions and mend what Redis lost of them; returns how far Redis has applied them."""
        self._reloader.assigned(positions)
        return await self._scorer.assigned(positions)

    async def process(self, chunks: Sequence[Chunk], turn: Turn) -> Awaitable[Told] | None:
        """Score a batch; everything that it became is published by what is returned."""
        self._reloader.check()
        return await self._process(chunks, reaches_of(chunks), turn)

    def hurry(self) -> None:
        """Load model, rules and challenger anew."""
        self._reloader.hurry()

    async def stop(self) -> None:
        """Close connections."""
        await self._reloader.stop()
        await self._scorer.stop()
        self._publisher.close()

    async def _process(self, chunks: Sequence[Chunk], whole: Mapping[int, Reach], turn: Turn) -> Awaitable[Told] | None:
        """`process`, of a batch or a part of it."""
        try:
            intake, scored = await self._answers(chunks, whole, turn)
        except (FraudstreamError, MemoryError):
            raise
        except Exception as exc:  # noqa: BLE001 - whatever a record can make go wrong: it is looked for, or raised again
            await self._narrow_down(chunks, whole, turn, exc)
            return None
        return self._publish(chunks, intake, scored, self._metrics.stages.taken_s)

    async def _answers(self, chunks: Sequence[Chunk], whole: Mapping[int, Reach], turn: Turn) -> tuple[Intake, Scored]:
        began_s = self._monotonic_s()
        self._metrics.stages.begin(chunks)
        intake = self._reader.read(chunks)
        self._metrics.stages.lap("decode")
        scored = await self._scorer.score(reaches_of(chunks), whole, intake.incoming, turn)
        if self._deadline_s and self._monotonic_s() - began_s > self._deadline_s:
            scored = self._scorer.flagged(scored, DEADLINE)
        return intake, scored

    async def _narrow_down(
        self, chunks: Sequence[Chunk], whole: Mapping[int, Reach], turn: Turn, problem: Exception
    ) -> None:
        """Process the halves of a batch that failed; a single record has a second chance before it is condemned."""
        count = sum(len(chunk.records) for chunk in chunks)
        log.warning("batch_failed", records=count, problem=type(problem).__name__, at=_places(problem))
        if count > 1:
            for half in _halves(chunks, count // 2):
                if (rest := await self._process(half, whole, turn)) is not None:
                    (await rest)()
            return
        try:
            intake, scored = await self._answers(chunks, whole, turn)
        except (FraudstreamError, MemoryError):
            raise
        except Exception as exc:  # noqa: BLE001 - as above
            await turn()
            await self._condemn(chunks[0], exc)
            return
        (await self._publish(chunks, intake, scored, self._metrics.stages.taken_s))()

    async def _publish(
        self, chunks: Sequence[Chunk], intake: Intake, scored: Scored, taken_s: dict[str, float]
    ) -> Told:
        began_s = self._monotonic_s()
        await self._publisher.publish(intake.records + scored.records)
        taken_s["publish"] = self._monotonic_s() - began_s

        def tell() -> None:
            self._metrics.batch(taken_s, scored.answers.tally(), intake)
            log_batch(log, taken_s, chunks, outcomes=len(scored.answers), dead=intake.dead, rerouted=intake.rerouted)

        return tell

    async def _condemn(self, chunk: Chunk, problem: Exception) -> None:
        """Dead-letter the one record of a chunk, if it is the record's fault."""
        self._scorer.prove(Incoming(Decoder(None).decode(SAMPLE), chunk.partition, 0, 1_700_000_000_000))
        (message,) = chunk.records
        offset, what = offset_of(message), type(problem).__name__
        log.error("poison", partition=chunk.partition, offset=offset, problem=what, at=_places(problem))
        error = DecodeError("poison", f"scoring it fails: {what}")
        letter = self._reader.dead(message, chunk.partition, error)
        await self._publisher.publish([letter])
        await self._scorer.pass_over(chunk.partition, offset)
        self._metrics.batch({}, Answers(None, {}).tally(), Intake([], {"poison": 1}, 0, [letter]))


def _places(problem: BaseException) -> list[str]:
    """Where it was raised, outermost first; not what it says, for the text of an unknown error may quote the record."""
    frames = traceback.extract_tb(problem.__traceback__)
    return [f"{Path(frame.filename).stem}.{frame.name}:{frame.lineno}" for frame in frames[-_FRAMES:]]


def _halves(chunks: Sequence[Chunk], first: int) -> tuple[list[Chunk], list[Chunk]]:
    """The first so many records, and the others; each half in order."""
    before: list[Chunk] = []
    after: list[Chunk] = []
    for chunk in chunks:
        cut = min(first, len(chunk.records))
        first -= cut
        if cut:
            before.append(Chunk(chunk.topic, chunk.partition, chunk.records[:cut]))
        if cut < len(chunk.records):
            after.append(Chunk(chunk.topic, chunk.partition, chunk.records[cut:]))
    return before, after
