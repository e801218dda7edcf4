"""A staged manifest goes into the results table, span by span."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Connection,
    and_,
    bindparam,
    case,
    false,
    func,
    insert,
    literal,
    literal_column,
    not_,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from reelbatch.domain import FAILED, HELD, Batch, RowState
from reelbatch.ledger import transitions
from reelbatch.ledger.columns import CLEARED, REQUEST_COLUMNS
from reelbatch.ledger.orders import of_open_rerun
from reelbatch.ledger.paid_requests import HELD_CODE, Held
from reelbatch.ledger.schema import generations
from reelbatch.ledger.selection import Choice, OrderId, last
from reelbatch.ledger.staging import changed, gone, joined, made_again, staged
from reelbatch.ledger.transitions import in_states
from reelbatch.ledger.unchanged_rows import Kept

MERGE_ROWS = 100_000
"""Rows merged in one transaction, so that other workers wait for no more than that."""

_LINE = ("image_base", "image_stat", "image_bytes", "paid_as")
"""Beside the request: where its images are, how they were last seen, and who has paid for it."""


def spans(connection: Connection) -> Iterator[tuple[int, int]]:
    """Ranges of row numbers of about MERGE_ROWS each, covering everything staged."""
    lowest, highest = connection.execute(select(func.min(staged.c.row_number), func.max(staged.c.row_number))).one()
    if lowest is None:
        return
    for first in range(lowest, highest + 1, MERGE_ROWS):
        yield first, first + MERGE_ROWS - 1


def relist(connection: Connection, merge: Merge, span: tuple[int, int]) -> None:
    """Rows of `span` that the table has already: under their new numbers, and wanted again."""
    _move(connection, merge.batch, span, merge.base)
    _see_again(connection, merge, span)
    _unlist_overtaken(connection, merge.batch, span)


def unlist_gone(connection: Connection, batch: Batch, kept: Kept) -> None:
    """Rows that the manifest no longer has are left alone and never sent.

    Before its new rows are there: a row under its new key is held by what was paid for under the old one.
    """
    if not gone(connection, batch, kept.rows):
        return
    known = select(staged.c.row_key).where(staged.c.row_key == generations.c.row_key).exists()
    connection.execute(
        update(generations)
        .where(generations.c.batch == batch, generations.c.in_manifest, not_(known), not_(kept.condition()))
        .values(in_manifest=False)
    )


def hold(connection: Connection, batch: Batch, rows: Sequence[Held]) -> None:
    """Rows that were waiting already turn out to be paid for under another name."""
    g = generations.c
    waiting = and_(
        g.batch == batch,
        g.row_key == bindparam("b_key"),
        in_states({RowState.PENDING}),
        g.paid_as.is_(None),
        g.order_id.is_(None),
    )
    why = {"paid_as": bindparam("b_mark"), "error_code": HELD_CODE, "error_message": bindparam("b_message")}
    held = update(generations).where(waiting).values(why)
    if rows:
        told = ((row.row_key, row.paid.mark, row.paid.explanation) for row in rows)
        connection.execute(held, [dict(zip(("b_key", "b_mark", "b_message"), each, strict=True)) for each in told])


def _move(connection: Connection, batch: Batch, span: tuple[int, int], base: str) -> None:
    # Not as UPDATE … FROM: SQLite would then read the whole batch for every span.
    here = select(staged.c.row_key).where(staged.c.row_number.between(*span))
    number = select(func.min(staged.c.row_number)).where(staged.c.row_key == generations.c.row_key).scalar_subquery()
    connection.execute(
        update(generations)
        .where(
            generations.c.batch == batch,
            generations.c.row_key.in_(here),
            or_(
                not_(generations.c.in_manifest),
                generations.c.row_number != number,
                generations.c.image_base.is_distinct_from(base),
            ),
        )
        .values(in_manifest=True, row_number=number, image_base=base)
    )


def _see_again(connection: Connection, merge: Merge, span: tuple[int, int]) -> None:
    """Images that were touched and not replaced are as they were: no one has to hash them again.

    Only of the line that they were compared with: an earlier video of the row may have been made of another image.
    """
    g = generations.c
    connection.execute(
        update(generations)
        .where(
            g.batch == merge.batch,
            merge.choice.line(),
            g.row_key == staged.c.row_key,
            staged.c.row_number.between(*span),
            g.image_sha256.is_not(None),
            staged.c.image_sha256.is_(None),
            staged.c.image_stat.is_not(None),
            g.image_stat.is_distinct_from(staged.c.image_stat),
        )
        .values(image_stat=staged.c.image_stat, image_bytes=staged.c.image_bytes)
    )


def _unlist_overtaken(connection: Connection, batch: Batch, span: tuple[int, int]) -> None:
    """A row that a worker holds as it was: should that worker die, no one sends what the manifest no longer says."""
    connection.execute(
        update(generations)
        .where(
            generations.c.batch == batch,
            generations.c.row_key == staged.c.row_key,
            staged.c.row_number.between(*span),
            in_states(HELD),
            changed(),
        )
        .values(in_manifest=False)
    )


@dataclass(frozen=True, slots=True)
class Merge:
    """What a merge has to know of the batch. One that is `new` has no rows in the table yet."""

    batch: Batch
    base: str  # where the manifest's relative image paths start
    choice: Choice
    new: bool


def upsert(connection: Connection, merge: Merge, span: tuple[int, int]) -> None:
    """New rows of `span` into the results table; unpaid ones are replaced, paid ones left alone.

    A new batch has no rows there yet, so none is fine elsewhere: asking for each row would take a while.
    """
    batch = merge.batch
    elsewhere = false() if merge.new else _fine_elsewhere(batch)
    columns = ["batch", "row_key", "row_number", *REQUEST_COLUMNS, "fingerprint", "credits_estimated"]
    names = [*columns, "error_code", "error_message", "in_manifest", *_LINE]
    source = select(
        literal(batch),
        *(staged.c[name] for name in columns[1:]),
        *_fresh_error(),
        literal(value=True),
        *_fresh_line(merge.base),
    ).where(staged.c.row_number.between(*span), not_(elsewhere))
    dialect: Any = sqlite if connection.dialect.name == "sqlite" else postgresql
    statement = transitions.insert_fresh(dialect.insert(generations), names, source, _good())
    new = statement.excluded
    fresh = {name: getattr(new, name) for name in names[2:]}
    values = {**dict.fromkeys(CLEARED), **fresh, **_kept(new), "rerun_wanted": False}
    connection.execute(transitions.or_replace(statement, values, _replaceable(new, merge)))
    if merge.choice.further:
        _revise(connection, merge, span)


def _good() -> ColumnElement[bool]:
    """Whether the staged row passed its checks."""
    return staged.c.problem.is_(None)


def _fresh_error() -> list[Any]:
    """Error code and message of a row that was never sent, as staged."""
    good, held = _good(), staged.c.paid_as.is_not(None)
    return [
        case((not_(good), literal("invalid")), (held, literal(HELD_CODE)), else_=None),
        case((not_(good), staged.c.problem), (held, staged.c.error_message), else_=None),
    ]


def _fresh_line(base: str) -> list[Any]:
    return [literal(base), staged.c.image_stat, staged.c.image_bytes, staged.c.paid_as]


def _kept(stated: Any) -> dict[str, ColumnElement[Any]]:
    """Of a row that was tried and asks for the same: a video of that attempt may yet become known as the row's."""
    g = generations.c
    same = and_(g.fingerprint == stated.fingerprint, g.image_stat.is_not_distinct_from(stated.image_stat))
    tried = and_(in_states({RowState.PENDING, RowState.INVALID}), same)
    return {name: case((tried, g[name]), else_=None) for name in ("token", "request_sha256", "image_sha256")}


def _revise(connection: Connection, merge: Merge, span: tuple[int, int]) -> None:
    """What is to be made again and was not sent yet: as the manifest states it now. What is fine elsewhere stays."""
    g = generations.c
    code, message = _fresh_error()
    line = dict(zip(_LINE, _fresh_line(merge.base), strict=True))
    request = {name: staged.c[name] for name in (*REQUEST_COLUMNS, "fingerprint", "credits_estimated")}
    unsent = in_states({RowState.PENDING, RowState.INVALID})
    connection.execute(
        transitions.update_fresh(
            _good(),
            g.batch == merge.batch,
            g.generation > literal_column("1"),
            g.row_key == staged.c.row_key,
            staged.c.row_number.between(*span),
            or_(unsent, and_(in_states(FAILED), changed())),
            last(),
            not_(of_open_rerun()),
            not_(and_(staged.c.unseen, in_states({RowState.PENDING}), g.fingerprint == staged.c.fingerprint)),
        ).values(
            {
                **dict.fromkeys(CLEARED),
                **_kept(staged.c),
                **request,
                **line,
                "error_code": code,
                "error_message": message,
                "order_id": case((merge.choice.of_open_order(), g.order_id), else_=None),
                "rerun_wanted": and_(g.rerun_wanted, g.fingerprint == staged.c.fingerprint),
            }
        )
    )


def _fine_elsewhere(batch: Batch) -> ColumnElement[bool]:
    """Rows whose images this machine can't see, but the one that put them into the table could: they stay pending."""
    waiting_ = select(generations.c.row_key).where(
        generations.c.batch == batch,
        generations.c.row_key == staged.c.row_key,
        in_states({RowState.PENDING}),
        generations.c.fingerprint == staged.c.fingerprint,
    )
    return and_(staged.c.unseen, waiting_.exists())


def _replaceable(new: Any, merge: Merge) -> ColumnElement[bool]:
    g = generations.c
    changed_ = or_(g.fingerprint != new.fingerprint, _replaced_image())
    unsent = in_states({RowState.PENDING, RowState.INVALID})
    differs = or_(
        g.fingerprint != new.fingerprint,
        g.state != new.state,
        g.credits_estimated.is_distinct_from(new.credits_estimated),
        g.error_message.is_distinct_from(new.error_message),
        g.image_stat.is_distinct_from(new.image_stat),
    )
    conditions = or_(and_(unsent, differs), and_(in_states(FAILED), changed_))
    return and_(conditions, last()) if merge.choice.further else conditions


def _replaced_image() -> ColumnElement[bool]:
    """Of the row that is inserted; as text, since SQLAlchemy would take `excluded` for a table of its own."""
    there = "SELECT 1 FROM staged WHERE staged.row_key = excluded.row_key AND staged.image_sha256 IS NOT NULL"
    return literal_column(f"(EXISTS ({there}))", Boolean())


def place_order(connection: Connection, merge: Merge, order: OrderId) -> None:
    """A further line for every row that is to be made again."""
    g = generations.c
    columns = ["row_key", "row_number", *REQUEST_COLUMNS, "fingerprint", "credits_estimated"]
    source = select(
        literal(merge.batch),
        *(staged.c[name] for name in columns),
        *_fresh_error(),
        literal(value=True),
        *_fresh_line(merge.base),
        g.generation + 1,
        literal(order),
    ).select_from(joined(merge.batch, merge.choice))
    last_columns = ["error_code", "error_message", "in_manifest", *_LINE, "generation", "order_id"]
    names = ["batch", *columns, *last_columns]
    again = source.where(made_again(merge.choice))
    connection.execute(transitions.insert_fresh(insert(generations), names, again, _good()))
