"""How long to leave the API alone: after errors that are its own, and for each row that it has trouble with."""

from __future__ import annotations

import asyncio
import random

LONGEST_WAIT_S = 60.0
_DOUBLINGS = 12


def backoff(wait_s: float, failures: int) -> float:
    """Seconds to wait after the n-th failure in a row: doubling, up to a minute, with jitter of a quarter."""
    longest = min(LONGEST_WAIT_S, wait_s * float(2 ** min(failures, _DOUBLINGS)))
    return longest * random.uniform(0.75, 1.0)


class SharedBackoff:
    """One pause for all polls. It grows with each round of failures and ends with the first good answer."""

    def __init__(self, wait_s: float) -> None:
        self._wait_s = wait_s
        self._rounds = 0
        self._until = 0.0
        self._good_at = float("-inf")

    @property
    def good_at(self) -> float:
        """When the API last answered well (loop time)."""
        return self._good_at

    def left_s(self) -> float:
        """Seconds until the next poll may start; 0 where it may start now."""
        return max(0.0, self._until - asyncio.get_running_loop().time())

    def on_success(self) -> None:
        """The API answered."""
        self._rounds = 0
        self._until = 0.0
        self._good_at = asyncio.get_running_loop().time()

    def failed(self, started: float) -> None:
        """A poll that began at `started` (loop time) failed; those under way together count once."""
        if started < self._until:
            return
        pause_s = backoff(self._wait_s, self._rounds)
        self._rounds += 1
        self._until = asyncio.get_running_loop().time() + pause_s
