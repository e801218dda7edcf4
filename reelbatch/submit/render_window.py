"""How many videos may be unfinished at once: the plan's limit on concurrent generations."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from reelbatch.submit.concurrency import Stopped


class RenderSlot:
    """One create's place in the window; it stays taken when the create led to a video."""

    def __init__(self) -> None:
        self.has_video = False


class RenderWindow:
    """Lets a create start only while fewer than `limit` videos are unfinished. None: no limit.

    Videos that were submitted here are counted at once; `count` brings in what the results table says, where videos
    finish and other workers submit theirs.
    """

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self.unfinished = 0
        self.videos = 0
        """Submitted here so far; one that comes in while the table is read may be in that count or not."""
        self.stopped = False
        self._entered = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._wanted = asyncio.Event()

    @property
    def has_waiting(self) -> bool:
        """Whether a create waits for its place."""
        return bool(self._waiting)

    async def wanted(self, timeout_s: float) -> None:
        """Returns once a create waits for its place or no one enters any more, at the latest after `timeout_s`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._wanted.wait()

    def stop(self) -> None:
        """No one enters any more."""
        self.stopped = True
        self._wanted.set()
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_exception(Stopped())

    def count(self, unfinished: int) -> None:
        """That many videos are queued or rendering now."""
        self.unfinished = unfinished
        self._admit()

    def full(self) -> None:
        """Other workers have taken the places that seemed free; no one enters until the next count."""
        if self.limit is not None:
            self.unfinished = max(self.unfinished, self.limit)

    @asynccontextmanager
    async def place(self) -> AsyncIterator[RenderSlot]:
        """A place for one create.

        Raises:
            Stopped: no one enters any more.
        """
        await self._enter()
        place = RenderSlot()
        try:
            yield place
        finally:
            self._entered -= 1
            self.unfinished += place.has_video
            self.videos += place.has_video
            self._admit()

    async def _enter(self) -> None:
        if self.stopped:
            raise Stopped
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        self._wanted.set()
        self._admit()
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                self._entered -= 1
                self._admit()
            raise

    def _admit(self) -> None:
        while self._waiting and (self.limit is None or self.unfinished + self._entered < self.limit):
            future = self._waiting.popleft()
            if not future.done():
                self._entered += 1
                future.set_result(None)
        if not (self._waiting or self.stopped):
            self._wanted.clear()
