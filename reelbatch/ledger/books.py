"""The money of attempts: what each may have cost, and what an answer changes in the sums beside it."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

from sqlalchemy import BigInteger, Connection, bindparam, select, update

from reelbatch.domain import Batch, RunId, Token, VideoId
from reelbatch.ledger.schema import attempts, batches, runs


class Ending(StrEnum):
    """How an attempt ended, as the table keeps it."""

    SUBMITTED = "submitted"
    RETRY = "retry"
    REJECTED = "rejected"
    IN_DOUBT = "in_doubt"
    HALTED = "halted"
    WITHDRAWN = "withdrawn"  # the request never left


class Attempted(NamedTuple):
    """What the table knows of one attempt; credits are integers."""

    reserved: int
    outcome: str | None = None
    video_id: VideoId | None = None
    charged: int | None = None
    final: int | None = None

    @property
    def open(self) -> bool:
        """Whether it may have been charged without anybody knowing."""
        return self.video_id is None and self.outcome in {None, Ending.IN_DOUBT}

    @property
    def held(self) -> int:
        """Credits held back because it may have been charged."""
        return self.reserved if self.open else 0

    @property
    def spent(self) -> int:
        """Credits that it was charged; the reservation where the API named no figure."""
        if self.video_id is None:
            return 0
        return self.reserved if self.charged is None else self.charged

    @property
    def worst(self) -> int:
        """Its part of the batch's worst case."""
        return self.held + (self.spent if self.final is None else self.final)


def known_attempts(connection: Connection, tokens: Iterable[Token]) -> dict[Token, Attempted]:
    """What is known of these attempts; their rows are locked until the commit."""
    found = connection.execute(_KNOWN, {"tokens": list(tokens)})
    return {Token(token): Attempted(*values) for token, *values in found}


# Statements that every group of writes needs are built once: building one takes longer than running it.
_a = attempts.c
_KNOWN = (
    select(_a.token, _a.credits_reserved, _a.outcome, _a.video_id, _a.credits_charged, _a.credits_final)
    .where(_a.token.in_(bindparam("tokens", expanding=True)))
    .order_by(_a.token)
    .with_for_update()
)
_ADD_TO_BATCH = (
    update(batches)
    .where(batches.c.batch == bindparam("b_batch"))
    .values(committed=batches.c.committed + bindparam("b_change", type_=BigInteger))
)
_ADD_TO_RUN = (
    update(runs)
    .where(runs.c.run_id == bindparam("b_run_id"))
    .values(
        reserved=runs.c.reserved + bindparam("b_held", type_=BigInteger),
        spent=runs.c.spent + bindparam("b_spent", type_=BigInteger),
    )
)


class Sums:
    """Changes to the running sums of batches and runs, gathered and written once.

    They are differences between what an attempt was worth before and after, so the same answer twice, or one that
    comes after its credits were given back, leaves the sums equal to what the attempts add up to.
    """

    def __init__(self) -> None:
        self._batches: dict[Batch, int] = {}
        self._runs: dict[RunId, tuple[int, int]] = {}

    def add(self, batch: Batch, run_id: RunId, before: Attempted | None, after: Attempted) -> None:
        """An attempt went from `before` (None: not there) to `after`."""
        was = before or Attempted(0)
        self._batches[batch] = self._batches.get(batch, 0) + after.worst - was.worst
        held, spent = self._runs.get(run_id, (0, 0))
        self._runs[run_id] = (held + after.held - was.held, spent + after.spent - was.spent)

    def write(self, connection: Connection) -> None:
        """Bring the changes into the table."""
        for batch, change in sorted(self._batches.items()):
            if change:
                connection.execute(_ADD_TO_BATCH, {"b_batch": batch, "b_change": change})
        for run_id, (held, spent) in sorted(self._runs.items()):
            if held or spent:
                connection.execute(_ADD_TO_RUN, {"b_run_id": run_id, "b_held": held, "b_spent": spent})
