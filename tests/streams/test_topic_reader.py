"""Reading aside: it waits for Kafka, but not for longer than somebody waits for it."""

from __future__ import annotations

import asyncio

import pytest

from features.errors import ServerUnavailable
from local.ports import HOST, free_port
from streams.repair.topic_reader import Span, in_thread, reading


def test_who_gives_up_is_not_held_by_a_kafka_that_is_away() -> None:
    async def scene() -> None:
        with reading({"bootstrap.servers": f"{HOST}:{free_port()}"}, "nowhere") as reader:
            reader.begin([Span(0, 0, 5)])

            def read() -> None:
                while not reader.done():
                    reader.take()

            for work in (read, lambda: reader.bounds(0)):
                waiting = asyncio.ensure_future(in_thread(work))
                done, _ = await asyncio.wait({waiting}, timeout=1)
                assert not done
                waiting.cancel()
                with pytest.raises((asyncio.CancelledError, ServerUnavailable)):
                    await asyncio.wait_for(waiting, 20)

    asyncio.run(scene())
