"""A staged manifest goes into the results table, span by span."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, case, false, func, literal, not_, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from reelbatch.domain import FAILED, HELD, Batch, RowState
from reelbatch.ledger.kept import Kept
from reelbatch.ledger.moves import REGENERATED, in_states
from reelbatch.ledger.schema import results
from reelbatch.ledger.staging import (
    REQUEST_COLUMNS,
    Action,
    Regenerate,
    Remake,
    action,
    changed,
    joined,
    made_again,
    rows_of,
    rows_staged,
    staged,
)

MERGE_ROWS = 100_000
"""Rows merged in one transaction, so that other workers wait for no more than that."""

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


def last_made_again(connection: Connection, batch: Batch, regenerate: Regenerate, rows: int) -> int:
    """The row number up to which just `rows` finished videos are made again."""
    if rows <= 0:
        return 0
    candidates = select(staged.c.row_number).select_from(joined(batch)).where(made_again(regenerate))
    first = candidates.order_by(staged.c.row_number).limit(rows).subquery()
    return connection.scalar(select(func.max(first.c.row_number))) or 0


def waiting(connection: Connection, batch: Batch) -> int:
    """Rows of the manifest that are to be sent whatever is made again."""
    query = select(func.count()).select_from(joined(batch)).where(action(Regenerate.NONE) == Action.SEND.value)
    return connection.scalar(query) or 0


def spans(connection: Connection) -> Iterator[tuple[int, int]]:
    """Ranges of row numbers of about MERGE_ROWS each, covering everything staged."""
    lowest, highest = connection.execute(select(func.min(staged.c.row_number), func.max(staged.c.row_number))).one()
    if lowest is None:
        return
    for first in range(lowest, highest + 1, MERGE_ROWS):
        yield first, first + MERGE_ROWS - 1


def relist(connection: Connection, batch: Batch, span: tuple[int, int]) -> None:
    """Rows of `span` that the table has already: under their new numbers, and wanted again."""
    _move(connection, batch, span)
    _unlist_overtaken(connection, batch, span)


def unlist_gone(connection: Connection, batch: Batch, kept: Kept) -> None:
    """Rows that the manifest no longer has are left alone and never sent."""
    if rows_of(connection, batch) == rows_staged(connection) + kept.rows:
        return
    known = select(staged.c.row_key).where(staged.c.row_key == results.c.row_key).exists()
    connection.execute(
        update(results)
        .where(results.c.batch == batch, results.c.listed, not_(known), not_(kept.condition()))
        .values(listed=False)
    )


def _move(connection: Connection, batch: Batch, span: tuple[int, int]) -> None:
    # Not as UPDATE … FROM: SQLite would then read the whole batch for every span.
    here = select(staged.c.row_key).where(staged.c.row_number.between(*span))
    number = select(func.min(staged.c.row_number)).where(staged.c.row_key == results.c.row_key).scalar_subquery()
    connection.execute(
        update(results)
        .where(
            results.c.batch == batch,
            results.c.row_key.in_(here),
            or_(not_(results.c.listed), results.c.row_number != number),
        )
        .values(listed=True, row_number=number)
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
            changed(),
        )
        .values(listed=False)
    )


def upsert(connection: Connection, batch: Batch, span: tuple[int, int], remake: Remake, *, new: bool) -> None:
    """New rows of `span` into the results table; unpaid ones are replaced, paid ones left alone.

    A `new` batch has no rows there yet, so none is fine elsewhere: asking for each row would take a while.
    """
    elsewhere = false() if new else _fine_elsewhere(batch)
    state = case((staged.c.problem.is_(None), literal(RowState.PENDING.value)), else_=literal(RowState.INVALID.value))
    columns = ["batch", "row_key", "row_number", *REQUEST_COLUMNS, "fingerprint", "credits_estimated"]
    source = select(
        literal(batch),
        *(staged.c[name] for name in columns[1:]),
        state,
        case((staged.c.problem.is_(None), None), else_=literal("invalid")),
        staged.c.problem,
        literal(value=True),
    ).where(staged.c.row_number.between(*span), not_(elsewhere))
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
