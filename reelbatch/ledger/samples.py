"""A sample over the kinds of video that are to be made, and what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from sqlalchemy import ColumnElement, Connection, Select, and_, func, not_, or_, select

from reelbatch.domain import HELD, Batch, RowKey, RowState, RunId
from reelbatch.ledger.parts import in_parts
from reelbatch.ledger.schema import attempts, generations, orders
from reelbatch.ledger.selection import Choice, OrderId, Scope, further
from reelbatch.ledger.transitions import in_states


class VideoKind(NamedTuple):
    """What a video's price depends on, as its row states it."""

    model: str | None
    resolution: str | None
    audio: bool | None
    end_seconds: float | None

    def __str__(self) -> str:
        """`kling-3.0 720p with audio, 5 s`."""
        named = (self.model or "default", self.resolution, "with audio" if self.audio else None)
        return f"{' '.join(filter(None, named))}, {self.end_seconds or 0:g} s"


@dataclass(frozen=True, slots=True)
class KindCount:
    """Rows of one kind. Credits are integers; `unknown`: rows that `credits_estimated` leaves out."""

    kind: VideoKind
    rows: int
    credits_estimated: int
    unknown: int


class Outcome(NamedTuple):
    """What became of a row: its state, and credits, None where they are not known."""

    kind: VideoKind
    state: RowState
    estimated: int | None
    final: int | None


class SampleCost(NamedTuple):
    """What of a sample is still to be sent. Credits are integers; `unknown`: rows that `credits` leaves out."""

    rows: int
    credits: int
    unknown: int

    @classmethod
    def of(cls, prices: Sequence[int | None]) -> Self:
        """Of rows at these prices; None: it is not known."""
        return cls(len(prices), sum(price or 0 for price in prices), prices.count(None))


_g = generations.c
_KIND = (_g.model, _g.resolution, _g.audio, _g.end_seconds)
DRAWN_BY = (*VideoKind._fields, "fingerprint", "row_key", "row_number", "credits_estimated")
"""Columns by which a sample is drawn."""


def kinds(connection: Connection, which: ColumnElement[bool]) -> list[KindCount]:
    """Rows by kind; the most frequent first."""
    estimated = func.coalesce(func.sum(_g.credits_estimated), 0)
    unknown = func.count() - func.count(_g.credits_estimated)
    query = select(*_KIND, func.count(), estimated, unknown).where(which).group_by(*_KIND)
    every = connection.execute(query)
    found = [KindCount(VideoKind(*kind), rows, int(credits_), none) for *kind, rows, credits_, none in every]
    return sorted(found, key=lambda count: (-count.rows, str(count.kind)))


def sample(connection: Connection, scope: Scope, rows: int) -> tuple[RowKey, ...]:
    """Keys of a random sample over all kinds, of the rows that a run of this scope may take, or that one took.

    It is the same each time, also once some or all of it is sent: rows are ordered by their fingerprints, which say
    nothing of what a row is like. A larger sample has the smaller one within it, as far as the kinds' shares let it.
    """
    ever = select(*(_g[name] for name in DRAWN_BY)).where(_ever(connection, scope))
    drawn = _drawn(connection, ever, rows)
    found = sorted((row.row_number, RowKey(row.row_key)) for row in drawn)
    return tuple(dict.fromkeys(key for _, key in found))


def unsent(connection: Connection, ever: Select[Any], rows: int) -> list[Any]:
    """Rows of the same sample that are to be sent, in their order, before a manifest is in the table.

    `ever`: rows that a run may take or that one took, by `DRAWN_BY`; `unsent`: whether they are to be sent.
    """
    drawn = (row for row in _drawn(connection, ever, rows) if row.unsent)
    return sorted(drawn, key=lambda row: row.row_number)


def _drawn(connection: Connection, ever: Select[Any], rows: int) -> list[Any]:
    """Rows of the sample."""
    c = ever.subquery().c
    kind = [c[name] for name in VideoKind._fields]
    counts = [
        (VideoKind(*key), size) for *key, size in connection.execute(select(*kind, func.count()).group_by(*kind))
    ]
    counts.sort(key=lambda count: (-count[1], str(count[0])))
    found: list[Any] = []
    for (key, _), wanted in zip(counts, shares([size for _, size in counts], rows), strict=True):
        same = (each.is_not_distinct_from(value) for each, value in zip(kind, key, strict=True))
        query = select(*c).where(*same).order_by(c.fingerprint, c.row_key)
        found += connection.execute(query.limit(wanted))
    return found


def _ever(connection: Connection, scope: Scope) -> ColumnElement[bool]:
    """Lines that a run of this scope may take, and those that one has taken."""
    choice = Choice(order=scope.order, further=further(connection, scope.batch))
    own = (_g.batch == scope.batch, _g.in_manifest, taken_as(choice))
    return or_(scope._replace(run_id=RunId("")).condition(), and_(*own))


def taken_as(choice: Choice) -> ColumnElement[bool]:
    """Lines that runs of this choice have taken, in their first attempt or a later one."""
    own = choice.line()
    if choice.order is not None:
        own = or_(choice.of_order(), and_(_g.order_id.is_(None), own, _taken_since(choice.order)))
    return and_(not_(in_states({RowState.PENDING, RowState.INVALID})), own)


def _taken_since(order: OrderId) -> ColumnElement[bool]:
    """Lines that are held now, or of which a request has left since the order was placed: new rows beside it."""
    a, o = attempts.c, orders.c
    placed_at = select(o.placed_at).where(o.order_id == order).scalar_subquery()
    own = (a.batch == _g.batch, a.row_key == _g.row_key, a.generation == _g.generation)
    return or_(in_states(HELD), select(a.token).where(*own, a.started_at >= placed_at).exists())


def shares(sizes: Sequence[int], rows: int) -> list[int]:
    """How many of `rows` each kind gets: one at least while there are any, the rest by its size."""
    rows = min(rows, sum(sizes))
    given = [int(place < rows) for place in range(len(sizes))]
    for _ in range(rows - sum(given)):
        # The kind that has the fewest for its size takes the next one.
        open_ = [place for place, size in enumerate(sizes) if given[place] < size]
        given[min(open_, key=lambda place: (given[place] + 1) / sizes[place])] += 1
    return given


def outcomes(connection: Connection, batch: Batch, row_keys: Sequence[RowKey]) -> list[Outcome]:
    """What became of these rows by now: of each its last generation."""
    query = select(*_KIND, _g.state, _g.credits_estimated, _g.credits_final, _g.row_key)
    query = query.where(_g.batch == batch, _g.in_manifest).order_by(_g.row_number, _g.generation)
    last = {
        key: Outcome(VideoKind(*values[:4]), RowState(values[4]), values[5], values[6])
        for some in in_parts(row_keys)
        for *values, key in connection.execute(query.where(_g.row_key.in_(some)))
    }
    return list(last.values())
