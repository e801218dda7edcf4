"""Following videos: which are due, what was seen of them, and every credit to its place."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, and_, bindparam, case, func, select, tuple_, update

from reelbatch.domain import UNSETTLED, Batch, RowKey, RowState, Token, VideoId
from reelbatch.ledger.moves import RENDERING, SETTLED, in_states
from reelbatch.ledger.schema import attempts, batches, results

LONG_VIDEO_S = 30
"""Videos longer than this are polled half as often."""
FINAL = frozenset(SETTLED)
"""States that no later answer changes."""

RowId = tuple[Batch, RowKey]


class Rendered(NamedTuple):
    """A row and the video that it has at the API."""

    batch: Batch
    row_key: RowKey
    video_id: VideoId
    token: Token | None
    state: RowState

    @property
    def id(self) -> RowId:
        """The row's primary key."""
        return self.batch, self.row_key


_RENDERED_COLUMNS = (results.c.batch, results.c.row_key, results.c.video_id, results.c.token, results.c.state)


@dataclass(frozen=True, slots=True)
class TakeDue:
    """Up to `limit` rows that are due at `now`; they are due again at `again` (long videos: `again_long`)."""

    batches: tuple[Batch, ...]
    now: datetime
    limit: int
    again: datetime
    again_long: datetime


@dataclass(frozen=True, slots=True)
class Postponement:
    """A poll that failed: when to ask again, and where the fault lies with this row, what the API said."""

    row: Rendered
    due_at: datetime
    code: str | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Final:
    """A final answer. `credits_final` is None where the API named no figure."""

    row: Rendered
    state: RowState
    at: datetime
    credits_final: int | None = None
    fps: float | None = None
    width: int | None = None
    height: int | None = None
    code: str | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class Settlement:
    """What settling a row came to, in credits. `final` is None where nobody knows."""

    estimated: int
    charged: int
    final: int | None


def due(batch: Batch, now: datetime, limit: int) -> Select[Any]:
    """Keys of the rows that are due, oldest first; answered from the partial index `results_due`."""
    return (
        select(results.c.batch, results.c.row_key)
        .where(results.c.batch == batch, in_states(UNSETTLED), results.c.due_at <= now)
        .order_by(results.c.due_at)
        .limit(limit)
    )


def take_due(connection: Connection, items: Sequence[TakeDue]) -> list[list[Rendered]]:
    """Rows to ask about now. Pushing `due_at` as they are taken keeps a second settle from asking as well."""
    return [_take(connection, item) for item in items]


def _take(connection: Connection, item: TakeDue) -> list[Rendered]:
    found: list[Rendered] = []
    again = case((results.c.end_seconds > LONG_VIDEO_S, item.again_long), else_=item.again)
    for batch in item.batches:
        if len(found) >= item.limit:
            break
        keys = due(batch, item.now, item.limit - len(found)).with_for_update(skip_locked=True)
        taken = connection.execute(
            update(results)
            .where(tuple_(results.c.batch, results.c.row_key).in_(keys), in_states(UNSETTLED))
            .values(due_at=again)
            .returning(*_RENDERED_COLUMNS)
        )
        found += [Rendered(*row) for row in taken]
    return found


def schedule(connection: Connection, items: Sequence[tuple[Batch, datetime]]) -> list[int]:
    """Unsettled rows that have no time to be looked at get one. Answers with how many."""
    undated = update(results).where(in_states(UNSETTLED), results.c.due_at.is_(None))
    return [
        connection.execute(undated.where(results.c.batch == batch).values(due_at=now)).rowcount
        for batch, now in items
    ]


def next_due(connection: Connection, names: Sequence[Batch], besides: Collection[RowId]) -> datetime | None:
    """When the next unsettled row is due, not counting the rows `besides`; None where there is none."""
    times = [time for batch in names if (time := _next_due(connection, batch, besides)) is not None]
    return min(times, default=None)


def _next_due(connection: Connection, batch: Batch, besides: Collection[RowId]) -> datetime | None:
    query = (
        select(results.c.row_key, results.c.due_at)
        .where(results.c.batch == batch, in_states(UNSETTLED), results.c.due_at.is_not(None))
        .order_by(results.c.due_at)
        .limit(len(besides) + 1)
    )
    others = (due_at for key, due_at in connection.execute(query) if (batch, key) not in besides)
    return next(others, None)


def unsettled(connection: Connection, names: Sequence[Batch]) -> int:
    """Rows whose videos are not finished."""
    query = select(func.count()).select_from(results).where(in_states(UNSETTLED))
    return sum(connection.scalar(query.where(results.c.batch == batch)) or 0 for batch in names)


def batches_of(connection: Connection, api: str | None) -> list[Batch]:
    """The table's batches; with `api` only those whose videos were made there."""
    query = select(batches.c.batch).order_by(batches.c.batch)
    return [Batch(name) for name in connection.scalars(query if api is None else query.where(batches.c.api == api))]


_WHERE_VIDEO = (
    results.c.batch == bindparam("b_batch"),
    results.c.row_key == bindparam("b_row_key"),
    results.c.video_id == bindparam("b_video_id"),
)


def _row_values(row: Rendered) -> dict[str, Any]:
    return {"b_batch": row.batch, "b_row_key": row.row_key, "b_video_id": row.video_id}


_RENDER = (
    update(results)
    .where(*_WHERE_VIDEO, RENDERING.expected)
    .values(state=RENDERING.target, error_code=None, error_message=None)
)
_POSTPONE = update(results).where(*_WHERE_VIDEO, in_states(UNSETTLED)).values(due_at=bindparam("b_due_at"))
_TROUBLE = _POSTPONE.values(error_code=bindparam("b_code"), error_message=bindparam("b_message"))


def record_rendering(connection: Connection, items: Sequence[Rendered]) -> list[bool]:
    """Rows whose videos have begun to render; False where the row was not queued any more."""
    return [connection.execute(_RENDER, _row_values(row)).rowcount == 1 for row in items]


def postpone(connection: Connection, items: Sequence[Postponement]) -> list[None]:
    """Look at these rows later; the state stays as it is."""
    for item in items:
        values = {**_row_values(item.row), "b_due_at": item.due_at}
        if item.code is None:
            connection.execute(_POSTPONE, values)
        else:
            connection.execute(_TROUBLE, {**values, "b_code": item.code, "b_message": item.message})
    return [None] * len(items)


def record_finals(connection: Connection, items: Sequence[Final]) -> list[Settlement | None]:
    """Write final answers: row, attempt and the batch's worst case in one transaction.

    The money follows the attempt, also where its row has moved on. Doing it twice changes nothing.

    Returns:
        For each item what it came to; None where the row was settled before or has another video by now.
    """
    # In one order for everybody: two settles that lock the same rows wait for each other in a row, not in a ring.
    ordered = sorted(range(len(items)), key=lambda index: items[index].row.id)
    answers = {index: _settle(connection, items[index]) for index in ordered}
    return [answers[index] for index in range(len(items))]


_SETTLE = {
    state: update(results)
    .where(*_WHERE_VIDEO, move.expected)
    .values(
        state=move.target,
        credits_final=bindparam("b_final"),
        fps=bindparam("b_fps"),
        width=bindparam("b_width"),
        height=bindparam("b_height"),
        error_code=bindparam("b_code"),
        error_message=bindparam("b_message"),
        settled_at=bindparam("b_at"),
        due_at=None,
        video_path=None,  # a file of an earlier video is not this one's
    )
    .returning(results.c.credits_estimated)
    for state, move in SETTLED.items()
}


def _settle(connection: Connection, item: Final) -> Settlement | None:
    attempt = _attempt(connection, item.row)
    final = item.credits_final
    if final is None and item.state is RowState.COMPLETE:
        final = attempt.known
    _settle_attempt(connection, item.row, attempt, final)
    row = connection.execute(
        _SETTLE[item.state], {**_row_values(item.row), **_final_values(item, final)}
    ).one_or_none()
    return None if row is None else Settlement(row.credits_estimated or 0, attempt.charged, final)


def _final_values(item: Final, final: int | None) -> dict[str, Any]:
    return {
        "b_final": final,
        "b_fps": item.fps,
        "b_width": item.width,
        "b_height": item.height,
        "b_code": item.code,
        "b_message": item.message,
        "b_at": item.at,
    }


class _Charge(NamedTuple):
    """What an attempt was charged; `known` is None where neither its answer nor the estimate gave a figure."""

    charged: int
    known: int | None


def _attempt(connection: Connection, row: Rendered) -> _Charge:
    columns = (attempts.c.credits_charged, attempts.c.credits_reserved)
    found = connection.execute(select(*columns).where(attempts.c.token == row.token)).one_or_none()
    if found is None:
        return _Charge(0, None)
    charged: int = found.credits_reserved if found.credits_charged is None else found.credits_charged
    return _Charge(charged, None if found.credits_charged is None and not charged else charged)


def _settle_attempt(connection: Connection, row: Rendered, attempt: _Charge, final: int | None) -> None:
    """The final figure on the attempt, once; the batch's worst case changes by what it differs from the charge."""
    if final is None:
        return
    own = and_(attempts.c.token == row.token, attempts.c.credits_final.is_(None))
    changed = connection.execute(update(attempts).where(own).values(credits_final=final)).rowcount
    if changed and final != attempt.charged:
        committed = batches.c.committed + (final - attempt.charged)
        connection.execute(update(batches).where(batches.c.batch == row.batch).values(committed=committed))


@dataclass(frozen=True, slots=True)
class Filed:
    """A row's video lies at `path`."""

    row: Rendered
    path: str


@dataclass(frozen=True, slots=True)
class WithoutFile:
    """Complete rows of `batch`, settled before `settled_by`, that were never downloaded; a page after `after`."""

    batch: Batch
    settled_by: datetime
    after: RowKey | None
    limit: int

    def query(self) -> Select[Any]:
        """The page, by row key."""
        here = and_(results.c.batch == self.batch, in_states({RowState.COMPLETE}), results.c.video_path.is_(None))
        # Always a bound on the key, so that the page is read from the primary key and nothing is sorted.
        later = results.c.row_key >= "" if self.after is None else results.c.row_key > self.after
        query = select(*_RENDERED_COLUMNS).where(here, later, results.c.settled_at <= self.settled_by)
        return query.order_by(results.c.row_key).limit(self.limit)


def without_file(connection: Connection, page: WithoutFile) -> list[Rendered]:
    """The rows of `page`."""
    return [Rendered(*row) for row in connection.execute(page.query())]


def record_files(connection: Connection, items: Sequence[Filed]) -> list[bool]:
    """Where videos lie now. False: the row has another file, or another video, by now; this file is one too many."""
    return [_record_file(connection, item) for item in items]


def _record_file(connection: Connection, item: Filed) -> bool:
    values = _row_values(item.row)
    if connection.execute(_FILE, {**values, "b_path": item.path}).rowcount == 1:
        return True
    return connection.scalar(select(results.c.video_path).where(*_WHERE_VIDEO), values) == item.path


_FILE = (
    update(results)
    .where(*_WHERE_VIDEO, in_states({RowState.COMPLETE}), results.c.video_path.is_(None))
    .values(video_path=bindparam("b_path"))
)


def case_variants(connection: Connection) -> frozenset[str]:
    """Row keys, in small letters, that stand in the table in more than one spelling (`Tea`, `TEA`)."""
    small = func.lower(results.c.row_key)
    spelled_twice = func.min(results.c.row_key) != func.max(results.c.row_key)
    return frozenset(connection.scalars(select(small).group_by(small).having(spelled_twice)))


def owned_elsewhere(connection: Connection, filed: Filed) -> bool:
    """Whether the row of another batch with the same key has this file."""
    others = select(batches.c.batch).where(batches.c.batch != filed.row.batch)
    same_key = and_(results.c.batch.in_(others), results.c.row_key == filed.row.row_key)
    return _any(connection, select(results.c.batch).where(same_key, results.c.video_path == filed.path))


def had_earlier_video(connection: Connection, row: Rendered) -> bool:
    """Whether another video was made for this row before."""
    own = and_(attempts.c.batch == row.batch, attempts.c.row_key == row.row_key)
    return _any(connection, select(attempts.c.token).where(own, attempts.c.video_id != row.video_id))


def _any(connection: Connection, query: Select[Any]) -> bool:
    return connection.execute(query.limit(1)).first() is not None
