"""What the review page asks: rows by filter and order, a row's videos and attempts, and where the credits went."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple, Self

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    RowMapping,
    Select,
    and_,
    case,
    exists,
    func,
    literal,
    literal_column,
    or_,
    select,
)

from reelbatch.domain import DEFAULT_MODEL, NEVER_CHARGED, Batch, ReviewVerdict, RowKey, RowState, product_of
from reelbatch.ledger.columns import RESULT_COLUMNS
from reelbatch.ledger.engine import now
from reelbatch.ledger.schema import attempts, generations, runs
from reelbatch.ledger.selection import further, shown
from reelbatch.ledger.transitions import in_states, in_states_of

_g, _a = generations.c, attempts.c
_MOST_VARIANTS = 200
_SILENT = timedelta(minutes=2)
"""After so long without a sign of life a run is not shown as one that goes on."""
_COLUMNS = (*RESULT_COLUMNS, "in_manifest", "image_base", "paid_as")
_ATTEMPT = (
    "token",
    "generation",
    "started_at",
    "ended_at",
    "outcome",
    "http_status",
    "message",
    "video_id",
    "credits_reserved",
    "credits_charged",
    "credits_final",
)


class Reviewed(StrEnum):
    """Rows by what was said of their videos."""

    APPROVED = ReviewVerdict.APPROVED.value
    REJECTED = ReviewVerdict.REJECTED.value
    NONE = "none"  # a finished video of which nothing was said
    NOTED = "noted"


class CardOrder(StrEnum):
    """In which order rows are shown."""

    ROW = "row"
    COST = "cost"  # the dearest first
    TIME = "time"  # what changed last first


class Line(NamedTuple):
    """What a filter knows of one of a row's lines."""

    generation: int
    state: str
    error_code: str | None
    model: str
    video_id: str | None

    @classmethod
    def of(cls, line: RowMapping) -> Self:
        """As the table has it."""
        model = line["model"] or DEFAULT_MODEL
        return cls(line["generation"], line["state"], line["error_code"], model, line["video_id"])


@dataclass(frozen=True, slots=True, kw_only=True)
class CardFilter:
    """Which rows of a batch are shown. None: all."""

    batch: Batch
    state: RowState | None = None
    reviewed: Reviewed | None = None
    model: str | None = None
    error: str | None = None
    search: str = ""  # in keys and prompts

    def select(self, connection: Connection, *columns: Any) -> Select[Any]:
        """`columns` of these rows: of each the last line with an id, else its last."""
        query = select(*columns).select_from(generations).where(_g.batch == self.batch)
        if further(connection, self.batch):
            return query.where(shown(), *self._conditions(_any_line, _any_current))
        return query.where(*self._conditions(_one_line, _one_line))

    def _conditions(self, ever: _Row, today: _Row) -> list[ColumnElement[bool]]:
        found: list[ColumnElement[bool]] = []
        state, model, error = self.state, self.model, self.error
        if state is not None:
            found.append(today(lambda lines: in_states_of(lines, {state})))
        if self.reviewed is not None:
            found.append(_REVIEWED[self.reviewed])
        if model is not None:
            found.append(ever(lambda lines: literal(model) == _model(lines)))  # what earlier videos cost is shown too
        if error is not None:
            found.append(today(lambda lines: lines.c.error_code == error))
        if self.search:
            sought = (column.icontains(self.search, autoescape=True) for column in (_g.row_key, _g.prompt))
            found.append(or_(*sought))
        return found


_Condition = Callable[[FromClause], ColumnElement[bool]]
_Row = Callable[[_Condition], ColumnElement[bool]]


def _one_line(condition: _Condition) -> ColumnElement[bool]:
    """Of a row that has one line only."""
    return condition(generations)


def _any_line(condition: _Condition) -> ColumnElement[bool]:
    """Whether it holds of some line of a row."""
    line = generations.alias("line")
    return exists().where(line.c.batch == _g.batch, line.c.row_key == _g.row_key, condition(line))


def _any_current(condition: _Condition) -> ColumnElement[bool]:
    """The same without history: the further video that is in doubt counts, the one that has a successor does not."""
    return _any_line(lambda line: and_(condition(line), _is_current(line)))


def _is_current(lines: FromClause) -> ColumnElement[bool]:
    newer = generations.alias("newer")
    of_row = (newer.c.batch == lines.c.batch, newer.c.row_key == lines.c.row_key)
    return ~exists().where(*of_row, newer.c.generation > lines.c.generation, newer.c.video_id.is_not(None))


def _model(lines: FromClause) -> ColumnElement[str]:
    return func.coalesce(lines.c.model, DEFAULT_MODEL)


_REVIEWED = {
    Reviewed.APPROVED: _g.verdict == ReviewVerdict.APPROVED.value,
    Reviewed.REJECTED: _g.verdict == ReviewVerdict.REJECTED.value,
    Reviewed.NONE: and_(_g.verdict.is_(None), in_states({RowState.COMPLETE})),
    Reviewed.NOTED: _g.verdict_note.is_not(None),
}
_EXPECTED = case((in_states(NEVER_CHARGED), 0), else_=_g.credits_estimated)
_COST = func.coalesce(_g.credits_final, _g.credits_charged, _EXPECTED, -1)
_CHANGED = func.coalesce(_g.settled_at, _g.submitted_at)
_ORDERS: dict[CardOrder, tuple[Any, ...]] = {
    CardOrder.ROW: (),
    CardOrder.COST: (_COST.desc(),),
    CardOrder.TIME: (case((_CHANGED.is_(None), 1), else_=0), _CHANGED.desc()),  # databases differ on where null goes
}


def count(connection: Connection, wanted: CardFilter) -> int:
    """How many rows the filter lets through."""
    return connection.scalar(wanted.select(connection, func.count())) or 0


def cards(
    connection: Connection, wanted: CardFilter, order: CardOrder, first: int, limit: int
) -> list[dict[str, Any]]:
    """A window of these rows; `lines`: all that each has in `generations`, first to last, where there are several."""
    columns = [_g[name] for name in _COLUMNS]
    query = wanted.select(connection, *columns).order_by(*_ORDERS[order], _g.row_number, _g.row_key)
    found = connection.execute(query.offset(first).limit(limit)).mappings()
    return _with_lines(connection, wanted.batch, [dict(row) for row in found])


def _with_lines(connection: Connection, batch: Batch, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found: dict[str, list[Line]] = {}
    if further(connection, batch):
        own = (_g.batch == batch, _g.row_key.in_([row["row_key"] for row in rows]))
        query = select(_g.row_key, _g.generation, _g.state, _g.error_code, _g.model, _g.video_id).where(*own)
        for line in connection.execute(query.order_by(_g.row_key, _g.generation)).mappings():
            found.setdefault(line["row_key"], []).append(Line.of(line))
    several = {key: lines for key, lines in found.items() if len(lines) > 1}
    return [{**row, "lines": several.get(row["row_key"], [])} for row in rows]


def _pairs(connection: Connection, query: Select[str, int]) -> dict[str, int]:
    return {name: rows for name, rows in connection.execute(query)}  # noqa: C416 - rows are no tuples to mypy


def videos(connection: Connection, batch: Batch, row_key: RowKey) -> list[dict[str, Any]]:
    """Every line of a row, first to last."""
    query = select(*(_g[name] for name in _COLUMNS)).where(_g.batch == batch, _g.row_key == row_key)
    found = connection.execute(query.order_by(_g.generation)).mappings().all()
    lines = [Line.of(line) for line in found] if len(found) > 1 else []
    return [{**line, "lines": lines} for line in found]


def variants(connection: Connection, batch: Batch, row_key: RowKey) -> list[dict[str, Any]]:
    """The other variants of a row's product, each with the video that is shown of it; `TEA#b` beside `TEA#a`."""
    product = product_of(row_key)
    if product is None:
        return []
    columns = [_g[name] for name in _COLUMNS]
    query = CardFilter(batch=batch).select(connection, *columns).order_by(_g.row_number, _g.row_key)
    alike = query.where(_g.row_key.startswith(f"{product}#", autoescape=True), _g.row_key != row_key)
    found = connection.execute(alike.limit(_MOST_VARIANTS)).mappings()
    own = [dict(row) for row in found if product_of(row["row_key"]) == product]
    return _with_lines(connection, batch, own)


def row_attempts(connection: Connection, batch: Batch, row_key: RowKey) -> list[dict[str, Any]]:
    """Every request that was made for a row, first to last."""
    query = select(*(_a[name] for name in _ATTEMPT)).where(_a.batch == batch, _a.row_key == row_key)
    return [dict(line) for line in connection.execute(query.order_by(_a.started_at, _a.token)).mappings()]


@dataclass(frozen=True, slots=True)
class Facets:
    """What can be filtered by, with the rows of each."""

    models: dict[str, int]
    errors: dict[str, int]
    reviewed: dict[Reviewed, int]


def facets(connection: Connection, batch: Batch) -> Facets:
    """Of a whole batch, whatever is filtered by now."""
    rows = func.count(_g.row_key.distinct())
    models = select(_model(generations).label("model"), rows).where(_g.batch == batch)
    errors = select(_g.error_code, rows).where(_g.batch == batch, _g.error_code.is_not(None))
    if further(connection, batch):
        errors = errors.where(_is_current(generations))
    reviewed = {each: count(connection, CardFilter(batch=batch, reviewed=each)) for each in Reviewed}
    return Facets(
        _pairs(connection, models.group_by(literal_column("model")).order_by(literal_column("model"))),
        _pairs(connection, errors.group_by(_g.error_code).order_by(_g.error_code)),
        reviewed,
    )


@dataclass(frozen=True, slots=True)
class Spent:
    """Credits that all requests until `at` had cost."""

    at: datetime
    credits: int


def spending(connection: Connection, batch: Batch, points: int) -> list[Spent]:
    """The curve of a batch's credits, refunds taken off, at up to `points` (2 or more) times; empty without any."""
    paid = (_a.batch == batch, _a.video_id.is_not(None))
    first, last = connection.execute(select(func.min(_a.started_at), func.max(_a.started_at)).where(*paid)).one()
    if first is None:
        return []
    step = max((last - first) / points, timedelta(milliseconds=1))
    ends = [first + step * number for number in range(1, points)]
    interval = case(*((_a.started_at < end, number) for number, end in enumerate(ends)), else_=len(ends))
    query = select(interval.label("interval"), func.sum(_paid())).where(*paid).group_by(literal_column("interval"))
    sums = {int(number): int(credits_ or 0) for number, credits_ in connection.execute(query)}
    curve, total = [Spent(first, 0)], 0
    for number in sorted(sums):
        if number and number - 1 not in sums:  # nothing was sent meanwhile: the curve is level until then
            curve.append(Spent(first + step * number, total))
        total += sums[number]
        curve.append(Spent(min(first + step * (number + 1), last), total))
    return curve


def _paid() -> ColumnElement[Any]:
    """What a request with an id costs, as `queries.added_up` counts it."""
    answered = func.coalesce(_a.credits_charged, _a.credits_reserved)
    larger = case((answered > _a.credits_reserved, answered), else_=_a.credits_reserved)
    return case((_a.credits_final.is_not(None), _a.credits_final), else_=larger)


def is_running(connection: Connection, batch: Batch) -> bool:
    """Whether a run of the batch goes on: it has not ended, and gave a sign of life."""
    alive = runs.c.heartbeat_at >= now(connection) - _SILENT
    query = select(runs.c.run_id).where(runs.c.batch == batch, runs.c.ended_at.is_(None), alive).limit(1)
    return connection.execute(query).first() is not None
