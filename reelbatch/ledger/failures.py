"""Why rows failed, were given back or are not finished: each reason once, with how often, when last, and whose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, case, func, not_, or_, select

from reelbatch.domain import NEEDS_ATTENTION, UNSETTLED, Batch, RowKey, RowState
from reelbatch.ledger.dismissals import is_dismissed
from reelbatch.ledger.schema import attempts, generations, runs
from reelbatch.ledger.selection import last
from reelbatch.ledger.transitions import in_states


@dataclass(frozen=True, slots=True)
class Failure:
    """Rows in one state for one reason.

    Args:
        last_at: when it was met last; None: by the checks of the manifest, or a look at a video, which keep no time.
        row_keys: of the first rows, in the manifest's order.
    """

    state: RowState
    error_code: str | None
    error_message: str | None
    rows: int
    last_at: datetime | None
    row_keys: tuple[RowKey, ...]

    @property
    def is_given_back(self) -> bool:
        """Whether the rows wait to be sent: nothing was charged, and the same command tries them again."""
        return self.state is RowState.PENDING

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


def failures(connection: Connection, batch: Batch, kinds: int, keys: int) -> tuple[int, list[Failure]]:
    """How many reasons there are, and the newest of them, each with its first keys."""
    g, a, r = generations.c, attempts.c, runs.c
    reason = (g.state, g.error_code, g.error_message)
    sent_at = func.coalesce(a.ended_at, a.started_at, r.ended_at, r.started_at)
    met_at = func.max(case((not_(in_states(UNSETTLED)), func.coalesce(g.settled_at, sent_at))))
    found = (
        select(*reason, func.count(), met_at.label("met_at"))
        .select_from(generations.outerjoin(attempts, a.token == g.token).outerjoin(runs, r.run_id == g.run_id))
        .where(*_failed(batch))
        .group_by(*reason)
    )
    newest = found.order_by(met_at.desc().nulls_last(), func.count().desc(), *reason).limit(kinds)
    listed = [
        Failure(RowState(state), code, message, rows, at, _keys(connection, batch, (state, code, message), keys))
        for state, code, message, rows, at in connection.execute(newest)
    ]
    whole = len(listed)
    if whole == kinds:
        whole = connection.scalar(select(func.count()).select_from(found.subquery())) or 0
    return whole, listed


def _failed(batch: Batch) -> Sequence[ColumnElement[bool]]:
    """Rows of the manifest that need attention, or that wait or are unfinished for a reason; dismissed ones aside."""
    g = generations.c
    given_back = and_(in_states({RowState.PENDING}), or_(g.error_code.is_not(None), g.error_message.is_not(None)))
    return (
        g.batch == batch,
        or_(in_states(NEEDS_ATTENTION), given_back, and_(in_states(UNSETTLED), g.error_code.is_not(None))),
        g.in_manifest,
        last(),
        not_(is_dismissed()),
    )


def _keys(connection: Connection, batch: Batch, reason: Sequence[Any], limit: int) -> tuple[RowKey, ...]:
    g = generations.c
    same = [
        column.is_not_distinct_from(value)
        for column, value in zip((g.state, g.error_code, g.error_message), reason, strict=True)
    ]
    query = select(g.row_key).where(*_failed(batch), *same).order_by(g.row_number, g.row_key).limit(limit)
    return tuple(RowKey(key) for key in connection.scalars(query))
