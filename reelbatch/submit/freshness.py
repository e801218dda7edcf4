"""Whether an intent is still fresh: what leaves long after it was written down, someone may have decided about."""

from __future__ import annotations

from collections.abc import Callable

from reelbatch.machine import machine

Readings = tuple[float, ...]
"""What several clocks say at one moment, in seconds."""
Clocks = Callable[[], Readings]

LONGEST_S = 20.0


def read_clocks() -> Readings:
    """The monotonic clock, the one that goes on while the machine sleeps (where there is one), and the wall's."""
    here = machine.get()
    asleep_too = here.awake_or_asleep_s()
    return here.monotonic_s(), *(() if asleep_too is None else (asleep_too,)), here.wall_s()


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
