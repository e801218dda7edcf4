"""Stops a run that fails in the same way over and over."""

from __future__ import annotations

from reelbatch.outcome import Kind, Outcome


class Breaker:
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
