"""How long videos took to render, by what they are: learned from those that this table has seen finish."""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from statistics import median

from sqlalchemy import Connection, select

from reelbatch.domain import RowState
from reelbatch.ledger.schema import batches, generations

Kind = tuple[str | None, int | None]
"""Model and estimated credits: videos of one kind have about the same length and size."""
_LOOKED_AT = 1000
_FEWEST = 3
_LONGEST = timedelta(minutes=30)
"""What took longer was not watched: someone ran `settle` later."""


def render_times(connection: Connection) -> dict[Kind, float]:
    """The median of seconds from the answer to create to the end that was seen, of kinds with some such videos."""
    g = generations.c
    query = (
        select(g.model, g.credits_estimated, g.submitted_at, g.settled_at)
        .where(g.batch.in_(select(batches.c.batch)), g.state == RowState.COMPLETE)
        .where(g.submitted_at.is_not(None), g.settled_at.is_not(None))
        .limit(_LOOKED_AT)
    )
    seen: dict[Kind, list[float]] = defaultdict(list)
    for model, price, submitted, settled in connection.execute(query):
        if timedelta(0) <= settled - submitted <= _LONGEST:
            seen[model, price].append((settled - submitted).total_seconds())
    return {kind: median(times) for kind, times in seen.items() if len(times) >= _FEWEST}
