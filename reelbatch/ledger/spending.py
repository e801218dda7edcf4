"""What was spent by day, month, model or batch: the attempts of all batches added up, archived ones too.

Whatever it is sorted by, a request belongs to one line, so the lines add up to the batches' own sums.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, and_, case, func, literal_column, select

from reelbatch.domain import Batch, Credits
from reelbatch.ledger.queries import sums_of_attempts
from reelbatch.ledger.schema import attempts, generations

_a = attempts.c


class Wanted(NamedTuple):
    """Which requests: those that left from `since` on and before `until`; None: all."""

    batch: Batch | None = None
    since: datetime | None = None
    until: datetime | None = None


def span(connection: Connection, wanted: Wanted) -> tuple[datetime, datetime] | None:
    """When the first and the last request left; None where there is none."""
    first, last = connection.execute(_chosen(select(func.min(_a.started_at), func.max(_a.started_at)), wanted)).one()
    return None if first is None else (first, last)


def total(connection: Connection, wanted: Wanted) -> Credits:
    """Of all requests together."""
    return Credits.of(connection.execute(_chosen(select(*sums_of_attempts()), wanted)).one())


def by_batch(connection: Connection, wanted: Wanted) -> dict[str, Credits]:
    """Of each batch."""
    return _grouped(connection, select(_a.batch, *sums_of_attempts()), _a.batch, wanted)


def by_model(connection: Connection, wanted: Wanted) -> dict[str, Credits]:
    """Of each model; a request counts for the one that its row states now."""
    g = generations.c
    own = and_(g.batch == _a.batch, g.row_key == _a.row_key, g.generation == _a.generation)
    model = func.coalesce(g.model, "default").label("model")
    query = select(model, *sums_of_attempts()).select_from(attempts.outerjoin(generations, own))
    return _grouped(connection, query, model, wanted)


def by_period(connection: Connection, wanted: Wanted, edges: Sequence[datetime]) -> dict[int, Credits]:
    """Of each period: number n begins at `edges[n]` and ends where the next one begins; none left before the first.

    A request counts, with its refund and its doubt, for the period in which it left.
    """
    if len(edges) == 1:  # by a constant nothing can be grouped
        return {0: total(connection, wanted)}
    number = _number(edges, 0).label("period")
    return _grouped(connection, select(number, *sums_of_attempts()), number, wanted)


def _number(edges: Sequence[datetime], first: int) -> Any:
    """The number of the period that a request is in, by halving: as few comparisons for ten years as SQL can do."""
    if len(edges) == 1:
        return literal_column(str(first))
    middle = len(edges) // 2
    earlier, later = _number(edges[:middle], first), _number(edges[middle:], first + middle)
    return case((_a.started_at < edges[middle], earlier), else_=later)


def _grouped(connection: Connection, query: Select[Any], key: Any, wanted: Wanted) -> dict[Any, Credits]:
    found = connection.execute(_chosen(query, wanted).group_by(key).order_by(key))
    return {name: Credits.of(sums) for name, *sums in found}


def _chosen(query: Select[Any], wanted: Wanted) -> Select[Any]:
    if wanted.batch is not None:
        query = query.where(_a.batch == wanted.batch)
    if wanted.since is not None:
        query = query.where(_a.started_at >= wanted.since)
    if wanted.until is not None:
        query = query.where(_a.started_at < wanted.until)
    return query
