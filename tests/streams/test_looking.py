"""Looking comes to its end whenever it is stopped, also in the very moment in which somebody is in a hurry."""

from __future__ import annotations

import asyncio

import pytest

from streams.looking import Looking


def test_a_hurry_and_a_stop_together_end_it_and_a_look_under_way_is_finished():
    looked: list[str] = []

    async def drive() -> None:
        begun = asyncio.Event()

        async def look() -> None:
            looked.append("begun")
            begun.set()
            await asyncio.sleep(0)
            looked.append("done")

        looking = Looking(look, 3_600)
        looking.start("test")
        await asyncio.sleep(0)
        looking.hurry()
        await begun.wait()
        looking.hurry()
        await looking.stop()
        looking.check()

    asyncio.run(asyncio.wait_for(drive(), 10))

    assert looked == ["begun", "done"]


def test_what_a_look_raises_is_raised_by_check():
    async def look() -> None:
        raise ValueError("broken")

    async def drive() -> None:
        looking = Looking(look, 0)
        looking.start("test")
        while True:
            looking.check()
            await asyncio.sleep(0)

    with pytest.raises(ValueError, match="broken"):
        asyncio.run(asyncio.wait_for(drive(), 10))
