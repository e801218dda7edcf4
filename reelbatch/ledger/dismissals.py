"""Failed rows that someone dismissed: they stay as they are, and count for nothing.

A dismissal holds for one failure, named by the attempt that failed, or by the request that failed its checks. A row
that was corrected or sent again, and fails anew, counts again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, case, false, func, insert, not_, select, true, tuple_

from reelbatch.domain import FAILED, Batch, RowKey, RowState
from reelbatch.ledger.schema import decisions, generations
from reelbatch.ledger.selection import last
from reelbatch.ledger.transitions import in_states

DISMISSED = "dismissed"
RECALLED = "recalled"  # a dismissal that was taken back
MAY_BE_DISMISSED = FAILED | {RowState.INVALID}
"""Not rows in doubt, which may have been charged: `reconcile` clears them up."""


@dataclass(frozen=True, slots=True)
class Dismissal:
    """Who dismisses which rows, or takes that back."""

    batch: Batch
    row_keys: Sequence[RowKey]
    who: str
    at: datetime


def _failure() -> ColumnElement[str]:
    """What a dismissal is about: the row's last attempt, else the request that was never sent."""
    return func.coalesce(generations.c.token, generations.c.fingerprint)


def _standing() -> ColumnElement[bool]:
    """Decisions to dismiss that were not taken back."""
    later = decisions.alias("recalled")
    recalled = select(later.c.undoes).where(later.c.undoes.is_not(None))
    return and_(decisions.c.verdict == DISMISSED, decisions.c.decision.not_in(recalled))


def is_dismissed() -> ColumnElement[bool]:
    """Of `generations`: the row failed, and someone dismissed just that.

    The decisions are gathered once. As CASE: of `NOT … IN` SQLite looks for nulls through all of them, for each row.
    """
    d, g = decisions.c, generations.c
    dismissed = select(d.batch, d.row_key, d.token).where(_standing())
    own = and_(in_states(MAY_BE_DISMISSED), tuple_(g.batch, g.row_key, _failure()).in_(dismissed))
    return case((own, true()), else_=false())


def counts_of_dismissed(connection: Connection, batch: Batch) -> dict[RowState, int]:
    """Rows that stand dismissed, by state; those that left the manifest count for nothing anyway."""
    if not _any(connection, batch):  # as mostly: nothing need be looked through
        return {}
    g = generations.c
    own = (g.batch == batch, g.in_manifest, is_dismissed(), last())
    found = select(g.state, func.count()).where(*own).group_by(g.state)
    return {RowState(state): rows for state, rows in connection.execute(found)}


def _any(connection: Connection, batch: Batch) -> bool:
    d = decisions.c
    said = select(d.decision).where(d.batch == batch, d.verdict == DISMISSED).limit(1)
    return connection.scalar(said) is not None


def not_to_dismiss(connection: Connection, batch: Batch, keys: Iterable[RowKey]) -> dict[RowKey, RowState]:
    """Of these rows, those that did not fail, with their states."""
    g = generations.c
    own = (g.batch == batch, g.row_key.in_(list(keys)), not_(in_states(MAY_BE_DISMISSED)), last())
    return {RowKey(key): RowState(state) for key, state in connection.execute(select(g.row_key, g.state).where(*own))}


def dismiss(connection: Connection, item: Dismissal) -> int:
    """Dismiss failed rows; returns how many were not dismissed before."""
    g = generations.c
    own = (g.batch == item.batch, g.row_key.in_(list(item.row_keys)), in_states(MAY_BE_DISMISSED), last())
    failures = select(g.row_key, _failure()).where(*own, not_(is_dismissed())).order_by(g.row_number)
    found = connection.execute(failures).all()
    entries = [{**_entry(item, key, failure), "verdict": DISMISSED} for key, failure in found]
    if entries:
        connection.execute(insert(decisions), entries)
    return len(entries)


def recall(connection: Connection, item: Dismissal) -> int:
    """Take dismissals of rows back; returns of how many."""
    d = decisions.c
    own = (d.batch == item.batch, d.row_key.in_(list(item.row_keys)), _standing())
    found = connection.execute(select(d.row_key, d.token, d.decision).where(*own).order_by(d.decision)).all()
    entries = [
        {**_entry(item, key, failure), "verdict": RECALLED, "undoes": number} for key, failure, number in found
    ]
    if entries:
        connection.execute(insert(decisions), entries)
    return len({key for key, *_ in found})


def _entry(item: Dismissal, key: RowKey, failure: str) -> dict[str, object]:
    return {
        "decided_at": item.at,
        "decided_by": item.who,
        "batch": item.batch,
        "row_key": key,
        "token": failure,
    }
