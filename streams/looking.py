"""Look at something every so often, or at once when somebody is in a hurry, until stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress


class Looking:
    """Calls `look` again and again, one call at a time.

    Args:
        look: what it raises ends the looking, and is raised by `check`.
        every_s: seconds from the end of one look to the next.
    """

    def __init__(self, look: Callable[[], Awaitable[None]], every_s: float) -> None:
        self._look, self._every_s = look, every_s
        self._hurried = asyncio.Event()
        self._stopping = False
        self._task: asyncio.Task[None] | None = None

    def start(self, name: str) -> None:
        """Look from now on, in a task of this name."""
        self._task = asyncio.create_task(self._look_on(), name=name)

    def hurry(self) -> None:
        """Look now."""
        self._hurried.set()

    def check(self) -> None:
        """Raise what ended the looking, if anything did."""
        if self._task is not None and self._task.done():
            self._task.result()

    async def stop(self) -> None:
        """Look no more; a look that is under way comes to its end.

        Not by cancelling: `asyncio.wait_for` may lose a cancellation that comes together with a hurry, and what a look
        does in a thread would go on without it.
        """
        self._stopping = True
        self._hurried.set()
        if self._task is not None:
            await self._task

    async def _look_on(self) -> None:
        while not self._stopping:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._hurried.wait(), self._every_s)
            self._hurried.clear()
            if not self._stopping:
                await self._look()
