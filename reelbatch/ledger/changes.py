"""What became of a batch since its last run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, func, select

from reelbatch.domain import Batch, RowState, RunId
from reelbatch.ledger.schema import generations, runs


@dataclass(frozen=True, slots=True)
class Changes:
    """Rows sent, and videos settled by their state, since the run before ended. `since` None: there was none."""

    since: datetime | None = None
    submitted: int = 0
    settled: Mapping[RowState, int] = field(default_factory=dict)


def changes_since_last_run(connection: Connection, batch: Batch, run_id: RunId) -> Changes:
    """Since the last run of the batch before `run_id`, by any user."""
    r, g = runs.c, generations.c
    began = select(r.started_at).where(r.run_id == run_id).scalar_subquery()
    before = select(func.max(r.ended_at)).where(r.batch == batch, r.run_id != run_id, r.ended_at <= began)
    since = connection.scalar(before)
    if since is None:
        return Changes()
    own = (g.batch == batch,)
    settled = select(g.state, func.count()).where(*own, g.settled_at > since).group_by(g.state).order_by(g.state)
    sent = connection.scalar(select(func.count()).select_from(generations).where(*own, g.submitted_at > since))
    return Changes(since, sent or 0, {RowState(state): rows for state, rows in connection.execute(settled)})
