"""The money of attempts: what each may have cost, and what an answer changes in the sums beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from enum import StrEnum
from itertools import chain
from typing import NamedTuple, Self

from sqlalchemy import BigInteger, Connection, and_, bindparam, or_, select, update

from reelbatch.domain import Batch, Request, RunId, Token, VideoId
from reelbatch.ledger import budget_counters
from reelbatch.ledger.budget_counters import Change, Counted
from reelbatch.ledger.columns import REQUEST_COLUMNS
from reelbatch.ledger.parts import in_parts
from reelbatch.ledger.schema import attempts, batches, generations, runs


class Ending(StrEnum):
    """How an attempt ended, as the table keeps it."""

    SUBMITTED = "submitted"
    RETRY = "retry"
    REJECTED = "rejected"
    IN_DOUBT = "in_doubt"
    HALTED = "halted"
    WITHDRAWN = "withdrawn"  # the request never left


class Money(NamedTuple):
    """What a batch's attempts add up to, in credits: the running sums in `batches`."""

    estimated: int = 0  # attempts that have an id, as estimated before they were sent
    charged: int = 0  # what the creates charged; until settled no less than was estimated
    final: int = 0  # settled figures
    refunded: int = 0  # charged minus final, where settled
    reserved: int = 0  # requests under way
    in_doubt: int = 0
    unknown: int = 0  # attempts that cost something, or may, and no one knows how much
    worst_case: int = 0  # charged + reserved + in doubt, refunds taken off: the worst case


class Attempted(NamedTuple):
    """What the table knows of one attempt; credits are integers."""

    reserved: int
    outcome: str | None = None
    video_id: VideoId | None = None
    charged: int | None = None
    final: int | None = None
    refund_until: datetime | None = None  # of a failed video: how long its refund is waited for, at most
    unrated: bool = False  # no one knew what it costs when it was sent, so nothing is reserved
    at: datetime | None = None  # when it was started: the budget's period that it counts in

    @property
    def open(self) -> bool:
        """Whether it may have been charged without anyone knowing."""
        return self.video_id is None and self.outcome in {None, Ending.IN_DOUBT}

    @property
    def held(self) -> int:
        """Credits held back because it may have been charged."""
        return self.reserved if self.open else 0

    @property
    def spent(self) -> int:
        """What it counts as until it is settled: the larger of what was reserved and what the API answered."""
        return 0 if self.video_id is None else max(self.reserved, self.charged or 0)

    @property
    def _charged(self) -> int:
        """Once it is settled, the answer counts as it is; the reservation where the API named no figure."""
        if self.video_id is None or self.final is None:
            return self.spent
        return self.reserved if self.charged is None else self.charged

    @property
    def unknown(self) -> bool:
        """Whether it may have cost something, and no one knows how much."""
        may_cost = self.open or self.video_id is not None
        return may_cost and self.unrated and self.charged is None and self.final is None

    @property
    def worst(self) -> int:
        """Its part of the batch's worst case."""
        return self.held + (self.spent if self.final is None else self.final)

    @property
    def money(self) -> Money:
        """Its part of the batch's money."""
        held, charged, final = self.held, self._charged, self.final
        return Money(
            estimated=0 if self.video_id is None else self.reserved,
            charged=charged,
            final=final or 0,
            refunded=0 if final is None else charged - final,
            reserved=held if self.outcome is None else 0,
            in_doubt=0 if self.outcome is None else held,
            unknown=int(self.unknown),
            worst_case=self.worst,
        )

    def ended(self, final: int | None, refund_until: datetime | None) -> Self:
        """With the `final` figure; the first one counts, and after it only a failed video's refund.

        `refund_until`: of a failed video, how long a refund is waited for. It stays, as the mark of a failure.
        A lower figure is a refund; a higher one is an older answer that came late.
        """
        if self.final is None:
            if final is None and self.refund_until is not None:
                return self
            return self._replace(final=final, refund_until=self.refund_until or refund_until)
        if final is None or None in {self.refund_until, refund_until} or final >= self.final:
            return self
        return self._replace(final=final)


def known_attempts(connection: Connection, tokens: Iterable[Token]) -> dict[Token, Attempted]:
    """What is known of these attempts; their rows are locked until the commit."""
    found = connection.execute(_KNOWN, {"tokens": list(tokens)})
    return {Token(token): Attempted(*values) for token, *values in found}


# Statements that every group of writes needs are built once: building one takes longer than running it.
_a = attempts.c
_KNOWN = (
    select(
        _a.token,
        _a.credits_reserved,
        _a.outcome,
        _a.video_id,
        _a.credits_charged,
        _a.credits_final,
        _a.refund_until,
        _a.unrated,
        _a.started_at,
    )
    .where(_a.token.in_(bindparam("tokens", expanding=True)))
    .order_by(_a.token)
    .with_for_update()
)
_ADD_TO_BATCH = (
    update(batches)
    .where(batches.c.batch == bindparam("b_batch"))
    .values({name: batches.c[name] + bindparam(f"b_{name}", type_=BigInteger) for name in Money._fields})
)
_ADD_TO_RUN = (
    update(runs)
    .where(runs.c.run_id == bindparam("b_run_id"))
    .values(
        reserved=runs.c.reserved + bindparam("b_held", type_=BigInteger),
        spent=runs.c.spent + bindparam("b_spent", type_=BigInteger),
    )
)


class BalanceChanges:
    """Changes to the running sums of batches, budgets and runs, gathered and written once.

    They are differences between what an attempt was worth before and after, so the same answer twice, or one that
    comes after its credits were given back, leaves the sums equal to what the attempts add up to.
    """

    def __init__(self) -> None:
        self._batches: dict[Batch, Money] = {}
        self._budgets: dict[Batch, list[Change]] = {}
        self._runs: dict[RunId, tuple[int, int]] = {}

    def add(self, batch: Batch, run_id: RunId, before: Attempted | None, after: Attempted) -> None:
        """An attempt went from `before` (None: not there) to `after`."""
        was = before or Attempted(0)
        known = self._batches.get(batch, Money())
        change = Money(*(a - b for a, b in zip(after.money, was.money, strict=True)))
        self._batches[batch] = Money(*map(sum, zip(known, change, strict=True)))
        counted = Counted(change.worst_case, change.reserved, change.unknown)
        if after.at is not None and any(counted):
            self._budgets.setdefault(batch, []).append(Change(after.at, counted))
        held, spent = self._runs.get(run_id, (0, 0))
        self._runs[run_id] = (held + after.held - was.held, spent + after.spent - was.spent)

    def write(self, connection: Connection) -> None:
        """Bring the changes into the table."""
        for batch, change in sorted(self._batches.items()):
            if any(change):
                values = {f"b_{name}": value for name, value in change._asdict().items()}
                connection.execute(_ADD_TO_BATCH, {"b_batch": batch, **values})
        budget_counters.add(connection, self._budgets)
        for run_id, (held, spent) in sorted(self._runs.items()):
            if held or spent:
                connection.execute(_ADD_TO_RUN, {"b_run_id": run_id, "b_held": held, "b_spent": spent})


def rate(connection: Connection, batch: Batch, estimate: Callable[[Request], int | None]) -> int:
    """Requests of unknown rate that have, or may have, cost something count with `estimate` from now on.

    It returns the credits of a request, or None where they are still not known.

    Returns:
        How many requests that was.
    """
    g, a = generations.c, attempts.c
    own = and_(g.batch == a.batch, g.row_key == a.row_key, g.generation == a.generation)
    may_cost = or_(a.video_id.is_not(None), a.outcome.is_(None), a.outcome == Ending.IN_DOUBT.value)
    query = (
        select(a.token, a.run_id, *(g[name] for name in REQUEST_COLUMNS))
        .select_from(attempts.join(generations, own))
        .where(a.batch == batch, a.unrated, a.credits_charged.is_(None), a.credits_final.is_(None), may_cost)
    )
    found = [
        (Token(token), RunId(run), estimate(Request(*asked))) for token, run, *asked in connection.execute(query)
    ]
    sums, rated = BalanceChanges(), {token: (run, known) for token, run, known in found if known is not None}
    tokens = in_parts(sorted(rated))  # everybody locks in this order
    known = chain.from_iterable(known_attempts(connection, some).items() for some in tokens)
    for token, before in known:
        run_id, credits_ = rated[token]
        counted = {"credits_reserved": credits_, "unrated": False}
        connection.execute(update(attempts).where(a.token == token).values(counted))
        own_row = and_(g.batch == batch, g.token == token)
        connection.execute(update(generations).where(own_row).values(credits_estimated=credits_))
        sums.add(batch, run_id, before, before._replace(reserved=credits_, unrated=False))
    sums.write(connection)
    return len(rated)
