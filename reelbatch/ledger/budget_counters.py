"""What an account's requests of a period have cost: counted with every change, so that no one adds up the attempts.

A counter is there from the first time that a budget asks for its period. Attempts count in the period in which they
were started, and so do their refunds and doubts, however late they come.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import BigInteger, Connection, and_, bindparam, delete, insert, select, text, update

from reelbatch.domain import Batch, Period
from reelbatch.ledger.engine import is_postgres
from reelbatch.ledger.schema import batches, budgets

_KEPT = timedelta(days=1)


class Counted(NamedTuple):
    """Credits, but for `unknown`: requests that cost something, or may, and no one knows how much."""

    worst_case: int = 0  # charged + reserved + in doubt, refunds taken off
    reserved: int = 0  # requests under way
    unknown: int = 0


class Change(NamedTuple):
    """By how much the sums change, for an attempt that was started at `at`."""

    at: datetime
    by: Counted


_b = budgets.c
_OWN = and_(
    *(each == bindparam(f"b_{each.name}", type_=each.type) for each in (_b.api, _b.account, _b.starts_at, _b.ends_at))
)
_FIND = select(*(_b[name] for name in Counted._fields)).where(_OWN)
_LOCK = _FIND.with_for_update()
_OF_BATCHES = (
    select(batches.c.batch, _b.api, _b.account, _b.starts_at, _b.ends_at)
    .join(batches, and_(batches.c.api == _b.api, batches.c.account == _b.account))
    .where(batches.c.batch.in_(bindparam("names", expanding=True)))
    .order_by(_b.api, _b.account, _b.starts_at, _b.ends_at)  # everybody locks in this order
    .with_for_update(of=budgets)
)
_ADD = (
    update(budgets)
    .where(_OWN)
    .values({name: _b[name] + bindparam(f"b_{name}", type_=BigInteger) for name in Counted._fields})
)


def add(connection: Connection, changes: Mapping[Batch, Sequence[Change]]) -> None:
    """Bring changes into the counters of the periods that they belong to, where there are such."""
    names = [batch for batch, some in changes.items() if some]
    if not names:
        return
    for batch, api, account, *edges in connection.execute(_OF_BATCHES, {"names": names}).all():
        period = Period(*edges)
        parts = [change.by for change in changes[batch] if period.starts_at <= change.at < period.ends_at]
        sums = Counted(*map(sum, zip(*parts, strict=True))) if parts else Counted()
        if any(sums):
            connection.execute(_ADD, {**_values(api, account, period), **_sums(sums)})


def find(connection: Connection, api: str, account: str, period: Period) -> Counted | None:
    """What is counted of a period; None where it is not counted yet."""
    found = connection.execute(_FIND, _values(api, account, period)).one_or_none()
    return None if found is None else Counted(*found)


def lock(connection: Connection, api: str, account: str, period: Period) -> Counted | None:
    """The same; no one else adds to it until the commit."""
    found = connection.execute(_LOCK, _values(api, account, period)).one_or_none()
    return None if found is None else Counted(*found)


def shut_out(connection: Connection) -> None:
    """No one else looks for counters to add to until the commit: between a sum and its counter, nothing is lost."""
    if is_postgres(connection.engine):  # SQLite has one writer at a time
        connection.execute(text("LOCK TABLE budgets IN EXCLUSIVE MODE"))


def begin(connection: Connection, api: str, account: str, period: Period, sums: Counted) -> None:
    """A new counter; those that no one asks for any more go."""
    over = and_(_b.api == api, _b.account == account, _b.ends_at < period.starts_at - _KEPT)
    connection.execute(delete(budgets).where(over))
    key = {"api": api, "account": account, **period._asdict()}
    connection.execute(insert(budgets).values({**key, **sums._asdict()}))


def forget(connection: Connection, api: str, account: str) -> None:
    """More attempts belong to the account than were counted: with the next question it is counted anew."""
    shut_out(connection)
    connection.execute(delete(budgets).where(_b.api == api, _b.account == account))


def _values(api: str, account: str, period: Period) -> dict[str, object]:
    return {"b_api": api, "b_account": account, "b_starts_at": period.starts_at, "b_ends_at": period.ends_at}


def _sums(sums: Counted) -> dict[str, int]:
    return {f"b_{name}": value for name, value in sums._asdict().items()}
