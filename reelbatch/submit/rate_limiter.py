"""When creates may start where a rate is set: times from the results table, so that all workers share it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

_LOT_S = 0.1
"""A lot is as many creates as start in this time, so that a fast rate does not cost a transaction for each."""
_LATE_S = 0.1
"""A start that was not used in this time is lost: saved up, it would make a burst."""
_READY_S = 0.2
"""So much ahead of their starts creates may be made ready."""

TakeLot = Callable[[int, float], Awaitable[float | None]]
"""Given a number of creates and the seconds between two: in how many seconds the first may start; None: never."""


class RateLimiter:
    """Start times for creates, fetched in lots shortly before they are needed.

    Args:
        rate_limit: creates started per second at most, by all workers together.
        take_lot: asks the results table for a lot.
    """

    def __init__(self, rate_limit: float, take_lot: TakeLot) -> None:
        self._spacing_s = 1 / rate_limit
        self._lot_s = _LOT_S
        self._creates = 1  # in the next lot: twice as many where all were used, half as many where some were lost
        self._take_lot = take_lot
        self._times: deque[float] = deque()
        self._fetching: asyncio.Task[None] | None = None
        self.on_more: Callable[[], None] = lambda: None

    @property
    def may_prepare(self) -> int:
        """Creates that start soon enough to be made ready now."""
        return 1 + int(max(_READY_S, 2 * self._lot_s) / self._spacing_s)

    def next(self, now: float) -> float | None:
        """The next time at which a create may start (loop time); None while it is being asked for."""
        while self._times and self._times[0] < now - max(_LATE_S, self._lot_s):
            self._times.popleft()
            self._creates = 1
        if len(self._times) <= self._creates // 2 and self._fetching is None:
            self._fetching = asyncio.create_task(self._fetch())
        return self._times[0] if self._times else None

    def take(self) -> None:
        """Use the next time."""
        self._times.popleft()

    async def _fetch(self) -> None:
        creates, asked = self._creates, asyncio.get_running_loop().time()
        starts_in_s = await self._take_lot(creates, self._spacing_s)
        self._fetching = None
        if starts_in_s is None:
            return
        now = asyncio.get_running_loop().time()
        self._lot_s = max(_LOT_S, 2 * (now - asked))  # a table far away: fewer, larger lots
        self._creates = max(1, min(2 * creates, int(self._lot_s / self._spacing_s)))
        first = now + starts_in_s
        self._times.extend(first + number * self._spacing_s for number in range(creates))
        self.on_more()
