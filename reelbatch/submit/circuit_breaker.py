"""Stop a run that fails in the same way over and over, or holds it while row after row goes into doubt."""

from __future__ import annotations

import asyncio

from reelbatch.client.outcome import Kind, Outcome
from reelbatch.submit.concurrency import ConcurrencyLimiter

_PROBES = 3


class CircuitBreaker:
    """Opens after `limit` identical failures in a row with no success between them."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._last: tuple[str | None, str | None] | None = None
        self._count = 0

    def learn(self, outcome: Outcome) -> bool:
        """Take in a row's final outcome; True when the run should stop."""
        if outcome.kind is Kind.SUBMITTED:
            self._last, self._count = None, 0
            return False
        if outcome.kind not in {Kind.REJECTED, Kind.RETRY}:
            return False
        failure = (outcome.code, outcome.message)
        self._count = self._count + 1 if failure == self._last else 1
        self._last = failure
        return self._count >= self._limit


class DoubtBreaker:
    """Keeps an outage from putting all rows in doubt.

    After `limit` rows in doubt with no success between, nothing new leaves until all in flight have ended. Then
    single rows leave: the first after `wait_s`, each later one after twice the wait before. The first success lets
    all leave again; the third single row in doubt ends the run.
    """

    def __init__(self, limiter: ConcurrencyLimiter, limit: int, wait_s: float) -> None:
        self._limiter = limiter
        self._limit = limit
        self._wait_s = wait_s
        self._in_a_row = 0
        self._lost_probes = 0
        self._is_probing = False
        self._timer: asyncio.TimerHandle | None = None
        limiter.on_empty = self._wait

    def learn(self, kind: Kind) -> bool:
        """Take in what a create ended in; True when the run should stop."""
        if kind is Kind.IN_DOUBT:
            return self._doubt()
        if kind is Kind.SUBMITTED and self._in_a_row:
            self._reset()
        return False

    def _doubt(self) -> bool:
        self._in_a_row += 1
        if self._is_probing:
            self._is_probing = False
            self._lost_probes += 1
        if self._in_a_row >= self._limit:
            self._limiter.hold(0)
        return self._lost_probes >= _PROBES

    def _wait(self) -> None:
        if self._timer is None:
            wait_s = self._wait_s * 2**self._lost_probes
            self._timer = asyncio.get_running_loop().call_later(wait_s, self._probe)

    def _probe(self) -> None:
        self._timer = None
        self._is_probing = True
        self._limiter.hold(1)

    def _reset(self) -> None:
        self._in_a_row = self._lost_probes = 0
        self._is_probing = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._limiter.hold(None)
