"""Looks that are taken again: ever more rarely, and at videos that failed until their refund is seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, select, update

from reelbatch.domain import Batch, RowState
from reelbatch.ledger.accounting import known_attempts
from reelbatch.ledger.schema import attempts
from reelbatch.ledger.settlements import RAREST, REFUND_WITHIN, Final, Rendered, record_finals


def rarer(now: datetime, since: datetime, shortest: timedelta) -> timedelta:
    """How long until something is looked at again that has not come right `since`: a quarter of that, to an hour.

    It needs no counter: in whichever process somebody looks, the looks become rarer.
    """
    return min(RAREST, max(shortest, (now - since) / 4))


@dataclass(frozen=True, slots=True)
class TakeUnrefunded:
    """Up to `limit` failed videos whose refund is looked for by `now`; two looks are at least `shortest` apart."""

    batches: tuple[Batch, ...]
    now: datetime
    limit: int
    shortest: timedelta


class Refund(NamedTuple):
    """What a look has found. Credits; `final` is the change of the final figure."""

    credits: int
    final: int


_a = attempts.c
_TAKEN = update(attempts).where(_a.token == bindparam("b_token"), _a.refund_due_at.is_not(None))
_TAKEN = _TAKEN.values(refund_due_at=bindparam("b_due_at"))


def take_unrefunded(connection: Connection, items: Sequence[TakeUnrefunded]) -> list[list[Rendered]]:
    """Videos to ask about now. Pushing the time as they are taken keeps a second settle from asking as well."""
    return [_take(connection, item) for item in items]


def _take(connection: Connection, item: TakeUnrefunded) -> list[Rendered]:
    found: list[Rendered] = []
    for batch in item.batches:
        query = (
            select(_a.row_key, _a.generation, _a.video_id, _a.token, _a.refund_until)
            .where(_a.batch == batch, _a.refund_due_at <= item.now)
            .order_by(_a.refund_due_at)
            .limit(item.limit - len(found))
            .with_for_update(skip_locked=True)
        )
        taken = connection.execute(query).all()
        if taken:
            values = [{"b_token": each.token, "b_due_at": _next_look(item, each.refund_until)} for each in taken]
            connection.execute(_TAKEN, values)
        found += [Rendered(batch, row[0], row[2], row[3], RowState.ERROR, row[1]) for row in taken]
        if len(found) >= item.limit:
            break
    return found


def _next_look(item: TakeUnrefunded, until: datetime) -> datetime | None:
    """None after the last look, which is the first one that comes when the time is over."""
    if item.now >= until:
        return None
    return item.now + rarer(item.now, until - REFUND_WITHIN, item.shortest)


def record_refunds(connection: Connection, items: Sequence[Final]) -> list[Refund | None]:
    """Later answers about failed videos. For each what was given back since the last one; None: nothing."""
    return [_record_refund(connection, item) for item in items]


def _record_refund(connection: Connection, item: Final) -> Refund | None:
    token = item.row.token
    if token is None or (before := known_attempts(connection, [token]).get(token)) is None:
        return None
    record_finals(connection, [item])
    after = known_attempts(connection, [token])[token]
    return None if after == before else Refund(before.worst - after.worst, (after.final or 0) - (before.final or 0))
