"""Reading a manifest into the results table, set by set: stage it, compare it, merge it.

The manifest goes into a temporary table, so its size is bounded by disk and not by memory, and the comparison
with the results table is one query.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Connection,
    and_,
    case,
    column,
    func,
    literal,
    literal_column,
    not_,
    or_,
    select,
    table,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from reelbatch.domain import FAILED, HELD, Batch, Row, RowKey, RowState
from reelbatch.ledger.moves import REGENERATED, in_states
from reelbatch.ledger.schema import results

MERGE_ROWS = 50_000
"""Rows merged in one transaction, so that other workers wait for no more than that."""

_REQUEST_COLUMNS = (
    "image_path",
    "prompt",
    "end_seconds",
    "resolution",
    "model",
    "audio",
    "name",
    "end_image_path",
    "request_width",
    "request_height",
)
_STAGED_COLUMNS = (
    "row_key",
    "row_number",
    *_REQUEST_COLUMNS,
    "fingerprint",
    "credits_estimated",
    "problem",
    "unseen",
)
_OF_A_VIDEO = (
    "video_id",
    "estimated_frame_cost",
    "credits_charged",
    "credits_final",
    "fps",
    "width",
    "height",
    "token",
    "run_id",
    "submitted_at",
    "settled_at",
    "video_path",
    "due_at",
)
staged = table("staged", *(column(name) for name in _STAGED_COLUMNS))


class Regenerate(StrEnum):
    """Which rows that already have a video are made again."""

    NONE = "none"
    CHANGED = "changed"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Remake:
    """Which finished videos are made again, and up to which row number (None: all of them)."""

    which: Regenerate = Regenerate.NONE
    up_to: int | None = None


class Action(StrEnum):
    """What `generate` does with a row of the manifest."""

    SEND = "send"
    INVALID = "invalid"
    SKIP = "skip"  # has its video, unchanged
    CHANGED = "changed"  # has its video, but the manifest says something else now
    FAILED = "failed"  # left for rerun
    IN_DOUBT = "in_doubt"
    HELD = "held"  # another worker has it


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A key that more than one row of the manifest carries."""

    row_key: RowKey
    row_numbers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ActionCount:
    """How many rows of one model meet one action, and what they should cost."""

    action: Action
    model: str | None
    rows: int
    credits_estimated: int
    unknown: int  # rows whose rate is not known


def create(connection: Connection) -> None:
    """Make the empty temporary table."""
    types = {name: results.c[name].type for name in results.columns.keys()}  # noqa: SIM118 - a column collection
    types["unseen"] = Boolean()
    definitions = ", ".join(f"{name} {_sql_type(types.get(name), connection)}" for name in _STAGED_COLUMNS)
    connection.exec_driver_sql(f"CREATE TEMPORARY TABLE staged ({definitions})")
    if connection.dialect.name != "sqlite":  # a slow store may let the transaction wait for longer than others may
        connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")


def _sql_type(type_: Any, connection: Connection) -> str:
    return "TEXT" if type_ is None else str(type_.compile(connection.dialect))


def drop(connection: Connection) -> None:
    """End of the session's copy."""
    connection.exec_driver_sql("DROP TABLE IF EXISTS staged")


def fill(connection: Connection, rows: Iterable[Row]) -> None:
    """Add `rows`; plain tuples in bulk, since a million of them come by."""
    values = [(row.row_key, row.row_number, *row.request, *row[3:]) for row in rows]
    if connection.dialect.name == "sqlite":
        if values:
            marks = ", ".join("?" for _ in _STAGED_COLUMNS)
            connection.exec_driver_sql(f"INSERT INTO staged VALUES ({marks})", values)  # noqa: S608 - only marks
        return
    with connection.connection.cursor() as cursor, cursor.copy("COPY staged FROM STDIN") as copy:  # type: ignore[attr-defined] # psycopg's
        for value in values:
            copy.write_row(value)


def index(connection: Connection) -> None:
    """Once everything is staged: what the comparison looks rows up by."""
    connection.exec_driver_sql("CREATE INDEX staged_key ON staged (row_key)")
    connection.exec_driver_sql("CREATE INDEX staged_number ON staged (row_number)")
    if connection.dialect.name != "sqlite":
        connection.exec_driver_sql("ANALYZE staged")  # nobody else does that for a temporary table


def duplicate_keys(connection: Connection, limit: int = 100) -> list[Duplicate]:
    """Keys that stand in more than one row, the first `limit` of them in the manifest's order."""
    doubled = (
        select(staged.c.row_key, func.min(staged.c.row_number).label("first"))
        .group_by(staged.c.row_key)
        .having(func.count() > 1)
        .order_by("first")
        .limit(limit)
        .subquery()
    )
    pairs = connection.execute(
        select(doubled.c.row_key, staged.c.row_number)
        .join(staged, staged.c.row_key == doubled.c.row_key)
        .order_by(doubled.c.first, staged.c.row_number)
    )
    numbers: dict[str, list[int]] = {}
    for key, number in pairs:
        numbers.setdefault(key, []).append(number)
    return [Duplicate(RowKey(key), tuple(rows)) for key, rows in numbers.items()]


def same_requests(connection: Connection) -> list[tuple[int, int]]:
    """Pairs (first, another) of rows that ask for the same under different keys; the first 20."""
    first = func.min(staged.c.row_number)
    last = func.max(staged.c.row_number)
    rows = connection.execute(
        select(first, last)
        .where(staged.c.problem.is_(None))
        .group_by(staged.c.fingerprint)
        .having(func.count() > 1)
        .order_by(first)
        .limit(20)
    )
    return [(a, b) for a, b in rows]


def _joined(batch: Batch) -> Any:
    return staged.outerjoin(results, and_(results.c.batch == batch, results.c.row_key == staged.c.row_key))


def _changed() -> ColumnElement[bool]:
    return results.c.fingerprint != staged.c.fingerprint


def _action(regenerate: Regenerate) -> ColumnElement[str]:
    """DESIGN's table of what happens to a row that the results table already has, as one CASE."""
    sendable = case((staged.c.problem.is_not(None), literal(Action.INVALID.value)), else_=literal(Action.SEND.value))
    return case(
        (results.c.state.is_(None), sendable),
        (in_states({RowState.PENDING, RowState.INVALID}), sendable),
        (in_states(HELD), literal(Action.HELD.value)),
        (results.c.state == RowState.IN_DOUBT, literal(Action.IN_DOUBT.value)),
        (and_(in_states(FAILED), not_(_changed())), literal(Action.FAILED.value)),
        (in_states(FAILED), sendable),
        (_made_again(regenerate), literal(Action.SEND.value)),
        (_changed(), literal(Action.CHANGED.value)),
        else_=literal(Action.SKIP.value),
    )


def _made_again(regenerate: Regenerate) -> ColumnElement[bool]:
    """Finished videos that are made again; one that still renders is left, so that its cost is settled first."""
    again = {
        Regenerate.NONE: literal(value=False),
        Regenerate.CHANGED: _changed(),
        Regenerate.ALL: literal(value=True),
    }[regenerate]
    return and_(in_states(REGENERATED.sources), again, staged.c.problem.is_(None))


def last_made_again(connection: Connection, batch: Batch, regenerate: Regenerate, rows: int) -> int:
    """The row number up to which just `rows` finished videos are made again."""
    if rows <= 0:
        return 0
    candidates = select(staged.c.row_number).select_from(_joined(batch)).where(_made_again(regenerate))
    first = candidates.order_by(staged.c.row_number).limit(rows).subquery()
    return connection.scalar(select(func.max(first.c.row_number))) or 0


def waiting(connection: Connection, batch: Batch) -> int:
    """Rows of the manifest that are to be sent whatever is made again."""
    action = _action(Regenerate.NONE)
    query = select(func.count()).select_from(_joined(batch)).where(action == Action.SEND.value)
    return connection.scalar(query) or 0


def compare(connection: Connection, batch: Batch, regenerate: Regenerate) -> list[ActionCount]:
    """What `generate` would do, counted by action and model."""
    action = _action(regenerate).label("action")
    unknown = func.sum(case((staged.c.credits_estimated.is_(None), 1), else_=0))
    query = (
        select(
            action,
            staged.c.model,
            func.count(),
            func.coalesce(func.sum(staged.c.credits_estimated), 0),
            unknown,
        )
        .select_from(_joined(batch))
        .group_by(literal_column("1"), staged.c.model)
        .order_by(literal_column("1"), staged.c.model)
    )
    return [
        ActionCount(Action(name), model, rows, int(credits_), int(no_rate))
        for name, model, rows, credits_, no_rate in connection.execute(query)
    ]


def gone(connection: Connection, batch: Batch) -> int:
    """Rows of the results table that the manifest no longer has."""
    known = select(staged.c.row_key).where(staged.c.row_key == results.c.row_key).exists()
    query = select(func.count()).select_from(results).where(results.c.batch == batch, not_(known))
    return connection.scalar(query) or 0


def spans(connection: Connection) -> Iterator[tuple[int, int]]:
    """Ranges of row numbers of about MERGE_ROWS each, covering everything staged."""
    last = connection.scalar(select(func.max(staged.c.row_number))) or 0
    for first in range(1, last + 1, MERGE_ROWS):
        yield first, first + MERGE_ROWS - 1


def merge(connection: Connection, batch: Batch, span: tuple[int, int], remake: Remake) -> None:
    """Bring the rows of `span` into the results table: new ones in, unpaid ones replaced, paid ones left alone."""
    _relist(connection, batch, span)
    _unlist_overtaken(connection, batch, span)
    _upsert(connection, batch, span, remake)


def unlist_gone(connection: Connection, batch: Batch) -> None:
    """Rows that the manifest no longer has are left alone and never sent."""
    known = select(staged.c.row_key).where(staged.c.row_key == results.c.row_key).exists()
    connection.execute(
        update(results).where(results.c.batch == batch, results.c.listed, not_(known)).values(listed=False)
    )


def _relist(connection: Connection, batch: Batch, span: tuple[int, int]) -> None:
    moved = or_(not_(results.c.listed), results.c.row_number != staged.c.row_number)
    connection.execute(
        update(results)
        .where(
            results.c.batch == batch,
            results.c.row_key == staged.c.row_key,
            staged.c.row_number.between(*span),
            moved,
        )
        .values(listed=True, row_number=staged.c.row_number)
    )


def _unlist_overtaken(connection: Connection, batch: Batch, span: tuple[int, int]) -> None:
    """A row that a worker holds as it was: should that worker die, nobody sends what the manifest no longer says."""
    connection.execute(
        update(results)
        .where(
            results.c.batch == batch,
            results.c.row_key == staged.c.row_key,
            staged.c.row_number.between(*span),
            in_states(HELD),
            _changed(),
        )
        .values(listed=False)
    )


def _upsert(connection: Connection, batch: Batch, span: tuple[int, int], remake: Remake) -> None:
    state = case((staged.c.problem.is_(None), literal(RowState.PENDING.value)), else_=literal(RowState.INVALID.value))
    columns = ["batch", "row_key", "row_number", *_REQUEST_COLUMNS, "fingerprint", "credits_estimated"]
    source = select(
        literal(batch),
        *(staged.c[name] for name in columns[1:]),
        state,
        case((staged.c.problem.is_(None), None), else_=literal("invalid")),
        staged.c.problem,
        literal(value=True),
    ).where(staged.c.row_number.between(*span), not_(_fine_elsewhere(batch)))
    dialect: Any = sqlite if connection.dialect.name == "sqlite" else postgresql
    statement = dialect.insert(results).from_select(
        [*columns, "state", "error_code", "error_message", "listed"], source
    )
    new = statement.excluded
    fresh = {name: getattr(new, name) for name in (*columns[2:], "state", "error_code", "error_message", "listed")}
    cleared = dict.fromkeys(_OF_A_VIDEO)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[results.c.batch, results.c.row_key],
            set_={**fresh, **cleared, "rerun_wanted": False},
            where=_replaceable(new, remake),
        )
    )


def _fine_elsewhere(batch: Batch) -> ColumnElement[bool]:
    """Rows whose images this machine can't see, but the one that put them into the table could: they stay pending."""
    waiting_ = select(results.c.row_key).where(
        results.c.batch == batch,
        results.c.row_key == staged.c.row_key,
        in_states({RowState.PENDING}),
        results.c.fingerprint == staged.c.fingerprint,
    )
    return and_(staged.c.unseen, waiting_.exists())


def _replaceable(new: Any, remake: Remake) -> ColumnElement[bool]:
    changed = results.c.fingerprint != new.fingerprint
    unsent = in_states({RowState.PENDING, RowState.INVALID})
    differs = or_(
        changed,
        results.c.state != new.state,
        results.c.credits_estimated.is_distinct_from(new.credits_estimated),
        results.c.error_message.is_distinct_from(new.error_message),
    )
    conditions = [and_(unsent, differs), and_(in_states(FAILED), changed)]
    finished = and_(in_states(REGENERATED.sources), new.state == RowState.PENDING)
    if remake.up_to is not None:
        finished = and_(finished, new.row_number <= remake.up_to)
    if remake.which is Regenerate.CHANGED:
        conditions.append(and_(finished, changed))
    elif remake.which is Regenerate.ALL:
        conditions.append(finished)
    return or_(*conditions)
