"""What the table knows of one account's balance: who read it when, and what its batches have moved since."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, and_, func, or_, select

from reelbatch.domain import Batch, Request, RowKey, RowState, RunId, Token
from reelbatch.ledger.accounting import Ending
from reelbatch.ledger.accounts import Payer, PriceClass, class_of
from reelbatch.ledger.columns import REQUEST_COLUMNS
from reelbatch.ledger.schema import attempts, batches, generations, runs

_a, _g = attempts.c, generations.c
_HAS_ID = _a.video_id.is_not(None)
_UNDER_WAY = and_(_a.video_id.is_(None), _a.outcome.is_(None))


class BalancePoint(NamedTuple):
    """The balance that a run began with. `period_end`: of the account's subscription at that time."""

    run_id: RunId
    balance: int
    at: datetime
    period_end: datetime | None


class Flows(NamedTuple):
    """What requests that left since have moved, in credits."""

    videos: int
    charged: int
    final: int
    without_figure: int  # videos of which the API named no figure that is believed


class OpenEnds(NamedTuple):
    """What may still move the balance."""

    unsettled: int  # videos whose final figure, or refund, is yet to come
    under_way: int  # requests


class Unclear(NamedTuple):
    """What no one can place before or after a moment."""

    under_way: int  # requests that were answered after it
    changed_later: int  # videos from before it that were refunded, or got another figure, after it


@dataclass(frozen=True, slots=True, kw_only=True)
class DoubtfulRequest:
    """A request that may have been charged. `row_in_doubt` False: its row has moved on."""

    batch: Batch
    row_key: RowKey
    token: Token
    started_at: datetime
    credits_reserved: int
    unrated: bool
    row_in_doubt: bool
    kind: PriceClass


def balance_points(connection: Connection, payer: Payer) -> list[BalancePoint]:
    """The balances that runs of this account began with, the newest first."""
    r = runs.c
    query = (
        select(r.run_id, r.balance, r.balance_at, r.period_end)
        .select_from(runs.join(batches, batches.c.batch == r.batch))
        .where(batches.c.api == payer.api, r.account == payer.account, r.balance.is_not(None))
        .order_by(r.balance_at.desc(), r.run_id)
    )
    return [BalancePoint(*found) for found in connection.execute(query)]


def flows_since(connection: Connection, of: Sequence[Batch], since: datetime) -> Flows:
    """What videos of requests that left since have cost; one without the first figure was charged the final one."""
    answered = func.coalesce(_a.credits_charged, _a.credits_final, 0)
    sums = (func.coalesce(func.sum(each), 0) for each in (answered, func.coalesce(_a.credits_final, answered)))
    missing = func.count().filter(or_(_a.credits_charged.is_(None), _a.odd_figure.is_not(None)))
    query = select(func.count(), *sums, missing).where(_a.batch.in_(of), _HAS_ID, _a.started_at >= since)
    return Flows(*map(int, connection.execute(query).one()))


def open_ends(connection: Connection, of: Sequence[Batch]) -> OpenEnds:
    """What is still to come of all that these batches have asked for."""
    unsettled = and_(_HAS_ID, or_(_a.credits_final.is_(None), _a.refund_due_at.is_not(None)))
    counts = (func.count().filter(each) for each in (unsettled, _UNDER_WAY))
    found: tuple[int, int] = tuple(connection.execute(select(*counts).where(_a.batch.in_(of))).one())
    return OpenEnds(*found)


def unclear_at(connection: Connection, of: Sequence[Batch], moment: datetime) -> Unclear:
    """What makes a balance of this moment say less than it seems to."""
    # A worker that died answers no more: what it left in doubt without an end was over before.
    under_way = or_(_UNDER_WAY, _a.ended_at > moment)
    changed = and_(_HAS_ID, _a.settled_at > moment, _a.credits_final.is_distinct_from(_a.credits_charged))
    counts = (func.count().filter(each) for each in (under_way, changed))
    query = select(*counts).where(_a.batch.in_(of), _a.started_at < moment)
    found: tuple[int, int] = tuple(connection.execute(query).one())
    return Unclear(*found)


def doubtful(connection: Connection, of: Sequence[Batch]) -> list[DoubtfulRequest]:
    """Requests that may have been charged, the oldest first."""
    known = (_a.batch, _a.row_key, _a.token, _a.started_at, _a.credits_reserved, _a.unrated)
    in_doubt = and_(_g.state == RowState.IN_DOUBT.value, _g.token == _a.token)
    row = and_(_g.batch == _a.batch, _g.row_key == _a.row_key, _g.generation == _a.generation)
    payer = func.coalesce(batches.c.account, batches.c.key_hash, "")
    query = (
        select(*known, in_doubt, batches.c.api, payer, *(_g[name] for name in REQUEST_COLUMNS))
        .select_from(attempts.join(generations, row).join(batches, batches.c.batch == _a.batch))
        .where(_a.batch.in_(of), ~_HAS_ID, _a.outcome == Ending.IN_DOUBT.value)
        .order_by(_a.started_at, _a.token)
    )
    return [_doubtful(*found) for found in connection.execute(query)]


def _doubtful(*found: Any) -> DoubtfulRequest:
    batch, key, token, started_at, reserved, unrated, in_doubt, api, account, *asked = found
    return DoubtfulRequest(
        batch=Batch(batch),
        row_key=RowKey(key),
        token=Token(token),
        started_at=started_at,
        credits_reserved=reserved,
        unrated=unrated,
        row_in_doubt=bool(in_doubt),
        kind=class_of(api, account, Request(*asked)),
    )
