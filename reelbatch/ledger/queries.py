"""Questions to the results table: counts, credits, failed rows."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, and_, bindparam, case, func, not_, or_, select

from reelbatch.domain import NEEDS_ATTENTION, SUMS, Batch, Credits, RowKey, RowState, RunId
from reelbatch.ledger.accounting import Ending
from reelbatch.ledger.beside import beside
from reelbatch.ledger.columns import RESULT_COLUMNS
from reelbatch.ledger.dismissals import is_dismissed
from reelbatch.ledger.paid_requests import Held, PaidAs
from reelbatch.ledger.parts import in_parts
from reelbatch.ledger.schema import attempts, batches, generations, results
from reelbatch.ledger.selection import further, last, superseded
from reelbatch.ledger.transitions import in_states


def batch_names(connection: Connection) -> list[Batch]:
    """Every batch of the table."""
    return [Batch(name) for name in connection.scalars(select(batches.c.batch).order_by(batches.c.batch))]


def current_batches(connection: Connection) -> list[Batch]:
    """Those that are not archived: what a command means that names none."""
    own = select(batches.c.batch).where(batches.c.archived_at.is_(None))
    return [Batch(name) for name in connection.scalars(own.order_by(batches.c.batch))]


def counts(connection: Connection, batch: Batch) -> dict[RowState, int]:
    """Rows by state; states without rows are left out."""
    # One state at a time: groups are compared row by row, which takes twice as long.
    own = select(func.count()).where(generations.c.batch == batch, generations.c.state == bindparam("of"))
    history = superseded(connection, batch)
    found = {
        state: (connection.scalar(own, {"of": state.value}) or 0) - history.get(state, 0)
        for state in sorted(RowState)
    }
    return {state: rows for state, rows in found.items() if rows}


def counts_of_gone(connection: Connection, batch: Batch) -> dict[RowState, int]:
    """Of `counts`, the rows that the manifest no longer has."""
    g = generations.c
    query = select(g.state, func.count()).where(g.batch == batch, not_(g.in_manifest), last()).group_by(g.state)
    return {RowState(state): rows for state, rows in connection.execute(query)}


def held(connection: Connection, batch: Batch, limit: int) -> tuple[int, list[Held]]:
    """Rows that wait because their request is paid for under another name: how many, and the first of them."""
    g = generations.c
    own = (g.batch == batch, in_states({RowState.PENDING}), g.paid_as.is_not(None), g.in_manifest)
    query = select(g.row_key, g.row_number, g.paid_as).where(*own).order_by(g.row_number).limit(limit)
    rows = [Held(key, number, _paid_as(connection, mark)) for key, number, mark in connection.execute(query).all()]
    whole = len(rows)
    if whole == limit:
        whole = connection.scalar(select(func.count()).select_from(generations).where(*own)) or 0
    return whole, rows


def _paid_as(connection: Connection, mark: str) -> PaidAs:
    batch, key = json.loads(mark)
    r = results.c
    query = select(r.state, r.video_id).where(r.batch == batch, r.row_key == key)
    state, video_id = connection.execute(query).one_or_none() or (RowState.COMPLETE, None)
    return PaidAs(Batch(batch), RowKey(key), RowState(state), video_id)


def credits_of(connection: Connection, batch: Batch) -> Credits:
    """The batch's money: every POST that was ever made for it, by the running sums."""
    columns = (batches.c[name] for name in SUMS)
    found = connection.execute(select(*columns).where(batches.c.batch == batch)).one_or_none()
    return Credits.of(found or [0] * len(SUMS))


def added_up(connection: Connection, batch: Batch) -> Credits:
    """The same, added up from the attempts: what the running sums have to be equal to."""
    return Credits.of(connection.execute(select(*sums_of_attempts()).where(attempts.c.batch == batch)).one())


def credits_by_model(connection: Connection, batch: Batch) -> dict[str, Credits]:
    """The same for each model, added up from the attempts; one counts for the model that its row states now."""
    r, a = generations.c, attempts.c
    own_row = and_(r.batch == a.batch, r.row_key == a.row_key, r.generation == a.generation)
    model = func.coalesce(generations.c.model, "default").label("model")
    query = (
        select(model, *sums_of_attempts())
        .select_from(attempts.outerjoin(generations, own_row))
        .where(attempts.c.batch == batch)
    )
    return {name: Credits.of(sums) for name, *sums in connection.execute(query.group_by(model).order_by(model))}


def sums_of_attempts() -> list[Any]:
    """What attempts add up to, as expressions in the order of `SUMS`."""
    a = attempts.c
    has_id = a.video_id.is_not(None)
    held = and_(~has_id, or_(a.outcome.is_(None), a.outcome == Ending.IN_DOUBT.value))
    settled = a.credits_final.is_not(None)
    answered = func.coalesce(a.credits_charged, a.credits_reserved)
    larger = case((answered > a.credits_reserved, answered), else_=a.credits_reserved)
    charged = case((and_(has_id, settled), answered), (has_id, larger), else_=0)
    not_known = and_(or_(has_id, held), a.unrated, a.credits_charged.is_(None), ~settled)
    return [
        _sum(case((has_id, a.credits_reserved), else_=0)),
        _sum(charged),
        _sum(a.credits_final),
        _sum(case((settled, charged - a.credits_final), else_=0)),
        _sum(case((and_(held, a.outcome.is_(None)), a.credits_reserved), else_=0)),
        _sum(case((and_(held, a.outcome.is_not(None)), a.credits_reserved), else_=0)),
        _sum(case((not_known, 1), else_=0)),
    ]


def _sum(expression: Any) -> Any:
    return func.coalesce(func.sum(expression), 0)


@dataclass(frozen=True, slots=True)
class OddFigure:
    """A figure of the API that was not believed, and why."""

    row_key: RowKey
    why: str


def odd_figures(
    connection: Connection, batch: Batch, limit: int, run_id: RunId | None = None
) -> tuple[int, list[OddFigure]]:
    """Requests of a batch, or of one run, of which a figure was not believed: how many, and the first of them."""
    a = attempts.c
    own = [a.batch == batch, a.odd_figure.is_not(None), *([] if run_id is None else [a.run_id == run_id])]
    query = select(a.row_key, a.odd_figure).where(*own).order_by(a.started_at).limit(limit)
    found = [OddFigure(RowKey(key), why) for key, why in connection.execute(query)]
    if len(found) < limit:
        return len(found), found
    return connection.scalar(select(func.count()).select_from(attempts).where(*own)) or 0, found


def last_settled(connection: Connection, batch: Batch) -> datetime | None:
    """When a video of the batch was settled last."""
    at: datetime | None = connection.scalar(
        select(func.max(generations.c.settled_at)).where(generations.c.batch == batch)
    )
    return at


def worst_case(connection: Connection, batch: Batch) -> int:
    """The running worst case that a cap is reserved against."""
    return connection.scalar(select(batches.c.worst_case).where(batches.c.batch == batch)) or 0


def not_downloaded(connection: Connection, batch: Batch) -> int:
    """Rows whose last video is finished and in no file."""
    r = results.c
    query = select(func.count()).select_from(results)
    own = (r.batch == batch, r.state == RowState.COMPLETE.value, r.video_path.is_(None))
    return connection.scalar(query.where(*own)) or 0


class RowEnd(NamedTuple):
    """Where a row stands, and why."""

    state: RowState
    error_code: str | None
    error_message: str | None


def end_of(connection: Connection, batch: Batch, row_key: RowKey) -> RowEnd:
    """Where a row stands, by its last generation."""
    g = generations.c
    query = select(g.state, g.error_code, g.error_message).where(g.batch == batch, g.row_key == row_key, last())
    state, code, message = connection.execute(query).one()
    return RowEnd(RowState(state), code, message)


def rows(batch: Batch | None = None) -> Select[Any]:
    """The exported columns of all rows, in the manifest's order."""
    query = select(*(results.c[name] for name in RESULT_COLUMNS))
    if batch is not None:
        query = query.where(results.c.batch == batch)
    return query.order_by(results.c.batch, results.c.row_number, results.c.row_key)


def first_rows(connection: Connection, batch: Batch, limit: int) -> list[dict[str, Any]]:
    """The batch's first rows, all exported columns; of a row that has more than one video, each of them."""
    found = [dict(row) for row in connection.execute(rows(batch).limit(limit)).mappings()]
    keys = [row["row_key"] for row in found]
    paid = [dict.fromkeys(RESULT_COLUMNS) | video for video in beside(connection, batch, keys)]
    if further(connection, batch):
        found = _every_line(connection, batch, keys)
    place = {key: number for number, key in enumerate(keys)}
    return sorted([*found, *paid], key=lambda line: place[line["row_key"]])


def _every_line(connection: Connection, batch: Batch, keys: list[RowKey]) -> list[dict[str, Any]]:
    g = generations.c
    query = select(*(g[name] for name in RESULT_COLUMNS)).where(g.batch == batch).order_by(g.generation)
    parts = (connection.execute(query.where(g.row_key.in_(some))).mappings() for some in in_parts(keys))
    return [dict(line) for part in parts for line in part]


_FAILED_COLUMNS = ("row_number", "row_key", "image_path", "state", "error_code", "error_message", "token", "prompt")


def _failed(*states: RowState) -> Select[Any]:
    """Rows of manifests in these states that were not dismissed, in their order."""
    g = generations.c
    columns = (*_FAILED_COLUMNS, "video_id", "video_path")
    query = select(*(g[name] for name in columns)).where(in_states(states), g.in_manifest, not_(is_dismissed()))
    return query.order_by(g.batch, g.row_number)


def failed(connection: Connection, batch: Batch, limit: int) -> list[dict[str, Any]]:
    """The first rows that need someone's attention, by their last video."""
    query = _failed(*NEEDS_ATTENTION).where(generations.c.batch == batch, last()).limit(limit)
    return [dict(row) for row in connection.execute(query).mappings()]


def failed_as(
    connection: Connection, batch: Batch, limit: int, states: Collection[RowState]
) -> tuple[int, list[dict[str, Any]]]:
    """Those in these states: how many, and the first of them."""
    return _first(connection, _failed(*states).where(generations.c.batch == batch, last()), limit)


def finished(connection: Connection, names: Sequence[Batch], limit: int) -> list[dict[str, Any]]:
    """The rows of these batches whose videos were finished last, the newest first."""
    g = generations.c
    columns = (g.row_key, g.image_path, g.prompt, g.video_id, g.video_path, g.credits_final, g.row_number)
    own = (g.batch.in_(names), in_states({RowState.COMPLETE}), last())
    query = select(*columns).where(*own).order_by(g.settled_at.desc(), g.row_number).limit(limit)
    return [dict(row) for row in connection.execute(query).mappings()]


@dataclass(frozen=True, slots=True)
class SettledAs:
    """Videos of some batches that were settled since a time; the first `limit` of them are shown."""

    batches: tuple[Batch, ...]
    since: datetime
    limit: int


def failed_since(connection: Connection, which: SettledAs) -> tuple[int, list[dict[str, Any]]]:
    """Rows whose videos were settled as failed or canceled: how many, and the first of them."""
    own = (generations.c.batch.in_(which.batches), generations.c.settled_at >= which.since)
    query = _failed(RowState.ERROR, RowState.CANCELED).add_columns(generations.c.batch)
    return _first(connection, query.where(*own), which.limit)


def _first(connection: Connection, query: Select[Any], limit: int) -> tuple[int, list[dict[str, Any]]]:
    rows = [dict(row) for row in connection.execute(query.limit(limit)).mappings()]
    if len(rows) < limit:
        return len(rows), rows
    counted = select(func.count()).select_from(query.order_by(None).subquery())
    return connection.scalar(counted) or 0, rows
