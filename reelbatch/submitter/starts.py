"""When creates may start where a rate is set: times from the results table, so that all workers share it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

_LOT_S = 0.1
"""A lot is as many creates as start in this time, so that a fast rate does not cost a transaction for each."""
_LATE_S = 0.1
"""A start that was not used in this time is lost: saved up, it would make a burst."""

TakeLot = Callable[[int, float], Awaitable[float | None]]
"""Given a number of creates and the seconds between two: in how many seconds the first may start; None: never."""


class Starts:
    """Start times for creates, fetched in lots shortly before they are needed.

    Args:
        rate_limit: creates started per second at most, by all workers together.
        take_lot: asks the results table for a lot.
    """

    def __init__(self, rate_limit: float, take_lot: TakeLot) -> None:
        self._spacing_s = 1 / rate_limit
        self._lot = max(1, int(rate_limit * _LOT_S))
        self._take_lot = take_lot
        self._times: deque[float] = deque()
        self._fetching: asyncio.Task[None] | None = None
        self.on_more: Callable[[], None] = lambda: None

    def next(self, now: float, wanted: int) -> float | None:
        """The next time at which a create may start (loop time); None while it is being asked for."""
        while self._times and self._times[0] < now - _LATE_S:
            self._times.popleft()
        if len(self._times) <= self._lot // 2 and wanted > len(self._times) and self._fetching is None:
            self._fetching = asyncio.create_task(self._fetch(min(self._lot, wanted)))
        return self._times[0] if self._times else None

    def take(self) -> None:
        """Use the next time."""
        self._times.popleft()

    async def _fetch(self, creates: int) -> None:
        starts_in_s = await self._take_lot(creates, self._spacing_s)
        self._fetching = None
        if starts_in_s is None:
            return
        first = asyncio.get_running_loop().time() + starts_in_s
        self._times.extend(first + number * self._spacing_s for number in range(creates))
        self.on_more()
