"""Whether an intent is still fresh: what leaves long after it was written down, someone may have decided about."""

from __future__ import annotations

import time
from collections.abc import Callable

Readings = tuple[float, ...]
"""What several clocks say at one moment, in seconds."""
Clocks = Callable[[], Readings]

LONGEST_S = 20.0
_BOOT_CLOCK: int | None = getattr(time, "CLOCK_BOOTTIME", None)


def read_clocks() -> Readings:
    """The monotonic clock, the one that goes on while the machine sleeps (where there is one), and the wall's."""
    asleep_too = () if _BOOT_CLOCK is None else (time.clock_gettime(_BOOT_CLOCK),)
    return time.monotonic(), *asleep_too, time.time()


class Freshness:
    """How long after its intent a request may leave: a third of a lease, so well before others take over.

    The clock that says the most counts. Between two readings one may have stood still (a sleeping machine's
    monotonic clock) or have been set back; all of them together would have to be wrong for an old intent to leave.

    Args:
        lease_s: after this many seconds without a sign of life a worker counts as dead.
        clocks: where the time comes from.
    """

    def __init__(self, lease_s: float, clocks: Clocks = read_clocks) -> None:
        self._limit_s = min(LONGEST_S, lease_s / 3)
        self.now = clocks

    def is_over(self, since: Readings) -> bool:
        """Whether what was written down at `since` may not leave any more."""
        return max(now - then for then, now in zip(since, self.now(), strict=True)) > self._limit_s
