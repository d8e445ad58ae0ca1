"""Deaths in a row, each with a batch in hand: what comes again, cut otherwise, is answered as it was."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from typing import cast

import pytest
from confluent_kafka import Message

from streams.role import Chunk, at_once
from streams.roles import make_handler
from streams.settings import Settings, load_settings
from streams.turns import Again
from streams.watch.health import Health
from tests.oracles.traffic import awkward, wire
from tests.streams.pipeline import Pipeline
from tests.streams.test_score_exact import assert_answered, base_ms, by_source, lasting, oracle
from tests.topics import ends_of, read_messages, reader

PARTITIONS = 4


class Life:
    """One process after another over the same topic, store and committed offsets."""

    def __init__(self, settings: Settings, records: dict[int, list[Message]], dice: random.Random) -> None:
        self._settings, self._records, self._dice = settings, records, dice
        self._committed = dict.fromkeys(records, 0)

    @property
    def is_done(self) -> bool:
        return all(self._committed[p] == len(records) for p, records in self._records.items())

    async def live(self, batches: int) -> None:
        """Start, do so many batches, and die over the last one."""
        handler = make_handler("score", self._settings, Health("score"))
        again, position = Again(), self._committed.copy()
        await handler.start()
        again.begin(await handler.assigned({p: offset or None for p, offset in position.items()}))
        for left in range(batches, 0, -1):
            chunks = self._chunks(position)
            if not chunks:
                break
            rest = cast("Coroutine[None, None, None]", await handler.process(chunks, at_once))
            if left == 1 and self._dice.random() < 0.5:
                rest.close()  # nothing of it is published
                break
            await rest
            position.update({c.partition: (c.records[-1].offset() or 0) + 1 for c in chunks})
            if left > 1:
                self._committed.update(again.acknowledged(chunks))
        await handler.stop()

    def _chunks(self, position: dict[int, int]) -> list[Chunk]:
        cut = {
            p: records[position[p] : position[p] + self._dice.randint(0, 40)] for p, records in self._records.items()
        }
        return [Chunk("transactions", p, some) for p, some in cut.items() if some]


def test_deaths_in_a_row_change_no_answer(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in pipeline.variables.items():
        monkeypatch.setenv(name, value)
    events, dice = awkward(31, 800, 12, base_ms()), random.Random(1)
    pipeline.publish((e.card, wire(e)) for e in events)
    topic = f"{pipeline.prefix}transactions"
    records: dict[int, list[Message]] = {p: [] for p in range(PARTITIONS)}
    for message in read_messages(pipeline.bootstrap, topic, lambda found: len(found) >= len(events)):
        records[message.partition() or 0].append(message)
    life = Life(load_settings(None), records, dice)

    async def work() -> None:
        while not life.is_done:
            await life.live(dice.randint(1, 6))

    asyncio.run(work())
    wanted = oracle(events, PARTITIONS)
    with reader(pipeline.bootstrap) as consumer:
        published = sum(ends_of(consumer, f"{pipeline.prefix}processed_transactions").values())
    outcomes = by_source(pipeline.read("processed_transactions", published))
    assert outcomes.keys() == wanted.keys()
    assert published > 1.2 * len(events), "hardly anything came again"
    for place, (event, answer) in wanted.items():
        for got in outcomes[place]:
            assert_answered(got, event, answer)
            assert lasting(got) == lasting(outcomes[place][0])
