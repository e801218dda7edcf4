"""Following videos: which are due, what was seen of them, and every credit to its place."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, Update, and_, bindparam, case, func, not_, or_, select, tuple_, update

from reelbatch.domain import UNSETTLED, Batch, RowKey, RowState, RunId, Token, VideoId
from reelbatch.errors import StateConflict
from reelbatch.ledger import prices
from reelbatch.ledger.accounting import Attempted, BalanceChanges, known_attempts
from reelbatch.ledger.schema import attempts, batches, generations
from reelbatch.ledger.transitions import RENDERING, SETTLED, in_states

LONG_VIDEO_S = 30
"""Videos longer than this are polled half as often."""
FINAL = frozenset(SETTLED)
"""States that no later answer changes."""

REFUND_WITHIN = timedelta(days=1)
"""So long after its failure a video's refund is looked for."""

_Ends = dict[Token, dict[str, Any]]
RowId = tuple[Batch, RowKey, int]
"""Batch, key and generation."""


class Rendered(NamedTuple):
    """A row and the video that it has at the API."""

    batch: Batch
    row_key: RowKey
    video_id: VideoId
    token: Token | None
    state: RowState
    generation: int = 1
    waited_until: datetime | None = None  # set while the API says nothing of it that we know

    @property
    def id(self) -> RowId:
        """The row's primary key."""
        return self.batch, self.row_key, self.generation


_g = generations.c
_RENDERED_COLUMNS = (_g.batch, _g.row_key, _g.video_id, _g.token, _g.state, _g.generation, _g.waited_until)


@dataclass(frozen=True, slots=True)
class TakeDue:
    """Up to `limit` rows that are due at `now`; they are due again at `again` (long videos: `again_long`).

    What is due after `latest` too: no row is put off for so long, so some clock was ahead when its time was written.
    """

    batches: tuple[Batch, ...]
    now: datetime
    limit: int
    again: datetime
    again_long: datetime
    latest: datetime | None = None


@dataclass(frozen=True, slots=True)
class Postponement:
    """A poll that failed: when to ask again, and where the fault lies with this row, what the API said.

    `waited_until` counts where the row has none yet: the first trouble sets it.
    """

    row: Rendered
    due_at: datetime
    code: str | None = None
    message: str | None = None
    waited_until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Final:
    """A final answer. `credits_final` is None where the API named no figure that is believed; `odd_figure`: why."""

    row: Rendered
    state: RowState
    at: datetime
    credits_final: int | None = None
    odd_figure: str | None = None
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
        select(_g.batch, _g.row_key, _g.generation)
        .where(generations.c.batch == batch, in_states(UNSETTLED), generations.c.due_at <= now)
        .order_by(generations.c.due_at)
        .limit(limit)
    )


RAREST = timedelta(hours=1)
"""Between two looks at a video of which the API says nothing that is known."""


def too_late(batch: Batch, latest: datetime) -> Update:
    """The rows whose time lies further ahead than any is put; answered from the same index.

    Those that are not waited for are put off for longer.
    """
    own = (generations.c.batch == batch, in_states(UNSETTLED), generations.c.due_at > latest)
    put_off = and_(generations.c.waited_until.is_not(None), generations.c.due_at <= latest + RAREST)
    return update(generations).where(*own, not_(put_off))


def take_due(connection: Connection, items: Sequence[TakeDue]) -> list[list[Rendered]]:
    """Rows to ask about now. Pushing `due_at` as they are taken keeps a second settle from asking as well."""
    return [_take(connection, item) for item in items]


def _take(connection: Connection, item: TakeDue) -> list[Rendered]:
    found: list[Rendered] = []
    again = case((generations.c.end_seconds > LONG_VIDEO_S, item.again_long), else_=item.again)
    for batch in item.batches:
        if len(found) >= item.limit:
            break
        if item.latest is not None:
            connection.execute(too_late(batch, item.latest).values(due_at=item.now))
        keys = due(batch, item.now, item.limit - len(found)).with_for_update(skip_locked=True).cte("due")
        taken = connection.execute(
            update(generations)
            .where(tuple_(_g.batch, _g.row_key, _g.generation).in_(select(keys)), in_states(UNSETTLED))
            .values(due_at=again)
            .returning(*_RENDERED_COLUMNS)
        )
        found += [Rendered(*row) for row in taken]
    return found


def schedule(connection: Connection, items: Sequence[tuple[Batch, datetime]]) -> list[int]:
    """Unsettled rows that have no time to be looked at get one. Answers with how many."""
    undated = update(generations).where(in_states(UNSETTLED), generations.c.due_at.is_(None))
    return [
        connection.execute(undated.where(generations.c.batch == batch).values(due_at=now)).rowcount
        for batch, now in items
    ]


def recall(connection: Connection, items: Sequence[tuple[Batch, datetime]]) -> list[int]:
    """Unsettled rows that nobody waits for any longer are due now. Answers with how many."""
    return [
        connection.execute(
            update(generations)
            .where(_g.batch == batch, in_states(UNSETTLED), _g.due_at > now, _g.waited_until <= now)
            .values(due_at=now)
        ).rowcount
        for batch, now in items
    ]


def next_due(
    connection: Connection, names: Sequence[Batch], besides: Collection[RowId], now: datetime
) -> datetime | None:
    """When the next row that is waited for is due, not counting the rows `besides`; None where there is none."""
    times = [time for batch in names if (time := _next_due(connection, batch, besides, now)) is not None]
    return min(times, default=None)


def _next_due(connection: Connection, batch: Batch, besides: Collection[RowId], now: datetime) -> datetime | None:
    waited_for = or_(_g.waited_until.is_(None), _g.waited_until > now)
    query = (
        select(_g.row_key, _g.generation, _g.due_at)
        .where(generations.c.batch == batch, in_states(UNSETTLED), generations.c.due_at.is_not(None), waited_for)
        .order_by(generations.c.due_at)
        .limit(len(besides) + 1)
    )
    others = (due_at for key, number, due_at in connection.execute(query) if (batch, key, number) not in besides)
    return next(others, None)


def unsettled(connection: Connection, names: Sequence[Batch]) -> int:
    """Rows whose videos are not finished."""
    query = select(func.count()).select_from(generations).where(in_states(UNSETTLED))
    return sum(connection.scalar(query.where(generations.c.batch == batch)) or 0 for batch in names)


def batches_of(connection: Connection, api: str | None) -> list[Batch]:
    """The table's batches; with `api` only those whose videos were made there."""
    query = select(batches.c.batch).order_by(batches.c.batch)
    return [Batch(name) for name in connection.scalars(query if api is None else query.where(batches.c.api == api))]


_WHERE_VIDEO = (
    generations.c.batch == bindparam("b_batch"),
    generations.c.row_key == bindparam("b_row_key"),
    generations.c.generation == bindparam("b_generation"),
    generations.c.video_id == bindparam("b_video_id"),
)


def _row_values(row: Rendered) -> dict[str, Any]:
    key = {"b_batch": row.batch, "b_row_key": row.row_key, "b_generation": row.generation}
    return {**key, "b_video_id": row.video_id}


_RENDER = RENDERING.update(*_WHERE_VIDEO).values(error_code=None, error_message=None, waited_until=None)
_UNDERSTOOD = update(generations).where(*_WHERE_VIDEO, in_states(UNSETTLED), _g.waited_until.is_not(None))
_UNDERSTOOD = _UNDERSTOOD.values(error_code=None, error_message=None, waited_until=None)
_POSTPONE = update(generations).where(*_WHERE_VIDEO, in_states(UNSETTLED)).values(due_at=bindparam("b_due_at"))
_TROUBLE = _POSTPONE.values(
    error_code=bindparam("b_code"),
    error_message=bindparam("b_message"),
    waited_until=func.coalesce(_g.waited_until, bindparam("b_waited_until", type_=_g.waited_until.type)),
)


def record_rendering(connection: Connection, items: Sequence[Rendered]) -> list[bool]:
    """Rows whose videos have begun to render; False where the row was not queued any more."""
    standing = _locked(connection, items)
    begun: dict[RowId, Rendered] = {}
    moved = []
    for row in items:
        video_id, state = standing.get(row.id, (None, None))
        moved.append(row.id not in begun and video_id == row.video_id and state in RENDERING.sources)
        if moved[-1]:
            begun[row.id] = row
    _execute_all(connection, _RENDER, [_row_values(row) for row in begun.values()])
    return moved


def record_understood(connection: Connection, items: Sequence[Rendered]) -> list[None]:
    """The API says again how these rows stand; they stand as they did."""
    if items:
        rows = sorted(items, key=lambda row: row.id)  # everybody locks in this order
        connection.execute(_UNDERSTOOD, [_row_values(row) for row in rows])
    return [None] * len(items)


_STANDING = (
    select(_g.row_key, _g.generation, _g.video_id, _g.state)
    .where(_g.batch == bindparam("b_batch"), _g.row_key.in_(bindparam("b_keys", expanding=True)))
    .order_by(_g.row_key, _g.generation)  # everybody locks in this order
    .with_for_update()
)


def _locked(connection: Connection, rows: Sequence[Rendered]) -> dict[RowId, tuple[str, RowState]]:
    """Video and state of these rows now; nobody else changes them until the commit."""
    found: dict[RowId, tuple[str, RowState]] = {}
    for batch in sorted({row.batch for row in rows}):
        keys = sorted({row.row_key for row in rows if row.batch == batch})
        for key, number, *standing in connection.execute(_STANDING, {"b_batch": batch, "b_keys": keys}):
            found[batch, key, number] = (standing[0], RowState(standing[1]))
    return found


def _execute_all(connection: Connection, statement: Update, values: list[dict[str, Any]]) -> None:
    if values and connection.execute(statement, values).rowcount != len(values):
        raise StateConflict("rows changed although they were locked")


def postpone(connection: Connection, items: Sequence[Postponement]) -> list[None]:
    """Look at these rows later; the state stays as it is."""
    items_in_order = sorted(items, key=lambda item: item.row.id)  # everybody locks in this order
    for statement, chosen in (
        (_POSTPONE, [item for item in items_in_order if item.code is None]),
        (_TROUBLE, [item for item in items_in_order if item.code is not None]),
    ):
        if chosen:
            connection.execute(statement, [_postponed_values(item) for item in chosen])
    return [None] * len(items)


def _postponed_values(item: Postponement) -> dict[str, Any]:
    values = {**_row_values(item.row), "b_due_at": item.due_at}
    if item.code is None:
        return values
    return {**values, "b_code": item.code, "b_message": item.message, "b_waited_until": item.waited_until}


def record_finals(connection: Connection, items: Sequence[Final]) -> list[Settlement | None]:
    """Write final answers: attempts, the batches' worst case and rows in one transaction.

    The money follows the attempt, also where its row has moved on, and a failed video's refund, also where that comes
    later. Doing it twice changes nothing.

    Returns:
        For each item what it came to; None where the row was settled before or has another video by now.
    """
    known = known_attempts(connection, [item.row.token for item in items if item.row.token])
    sums, ends = BalanceChanges(), _Ends()
    settlements = [_settle_attempt(item, known, sums, ends) for item in items]
    _execute_all(connection, _FINISH, [{"b_token": token, **ends[token]} for token in sorted(ends)])
    _keep_odd(connection, items, known)
    sums.write(connection)
    complete = {item.row.token: item.credits_final for item in items if item.state is RowState.COMPLETE}
    prices.see_settled(connection, {token: paid for token, paid in complete.items() if token and paid is not None})
    moved = _settle_rows(connection, items, [settlement.final for settlement in settlements])
    _lower(connection, [item for item, done in zip(items, moved, strict=True) if not done], ends)
    return [settlement if done else None for settlement, done in zip(settlements, moved, strict=True)]


_FINISH = (
    update(attempts)
    .where(attempts.c.token == bindparam("b_token"))
    .values(
        credits_final=bindparam("b_final"),
        refund_until=bindparam("b_until", type_=attempts.c.refund_until.type),
        refund_due_at=bindparam("b_due_at", type_=attempts.c.refund_due_at.type),
    )
)


_ODD = update(attempts).where(attempts.c.token == bindparam("b_token")).values(odd_figure=bindparam("b_odd"))


def _keep_odd(connection: Connection, items: Sequence[Final], known: Collection[Token]) -> None:
    """Figures that were not believed are reported."""
    odd = {item.row.token: item.odd_figure for item in items if item.odd_figure and item.row.token in known}
    _execute_all(connection, _ODD, [{"b_token": token, "b_odd": odd[token]} for token in sorted(filter(None, odd))])


def _settle_attempt(item: Final, known: dict[Token, Attempted], sums: BalanceChanges, ends: _Ends) -> Settlement:
    """The final figure on the attempt; the worst case of its batch changes by what that differs."""
    token = item.row.token
    before = known.get(token) if token else None
    # Its attempt is not in this table, or its id was taken back meanwhile: only the answer can tell.
    if token is None or before is None or before.video_id is None:
        return Settlement(0, 0, item.credits_final)
    final = item.credits_final
    if final is None and item.state is RowState.COMPLETE:
        final = before.spent if before.charged is not None or before.reserved else None
    after = before.ended(final, None if item.state is RowState.COMPLETE else item.at + REFUND_WITHIN)
    if after != before:
        known[token] = after
        sums.add(item.row.batch, _NO_RUN, before, after)
        until = after.refund_until
        ends[token] = {"b_final": after.final, "b_until": until, "b_due_at": None if until is None else item.at}
    return Settlement(before.reserved, after.money.charged, final)


def _lower(connection: Connection, items: Sequence[Final], ends: _Ends) -> None:
    """The figures of rows that had failed before; one that has another video by now is left alone."""
    rows = {item.row.token: item.row for item in items if item.row.token in ends}
    values = [{**_row_values(row), "b_final": ends[token]["b_final"]} for token, row in rows.items() if token]
    if values:
        connection.execute(_LOWER, values)


_LOWER = (
    update(generations)
    .where(*_WHERE_VIDEO, in_states(FINAL - {RowState.COMPLETE}))
    .values(credits_final=bindparam("b_final"))
)


def _settle_rows(connection: Connection, items: Sequence[Final], finals: Sequence[int | None]) -> list[bool]:
    """Which of the rows reached their final state by these answers."""
    standing = _locked(connection, [item.row for item in items])
    values: dict[RowState, list[dict[str, Any]]] = {}
    moved = []
    for item, final in zip(items, finals, strict=True):
        video_id, state = standing.get(item.row.id, (None, None))
        moves = video_id == item.row.video_id and state in SETTLED[item.state].sources
        if moves:
            standing[item.row.id] = item.row.video_id, item.state
            values.setdefault(item.state, []).append({**_row_values(item.row), **_final_values(item, final)})
        moved.append(moves)
    for state, rows in values.items():
        _execute_all(connection, _SETTLE[state], rows)
    return moved


_NO_RUN = RunId("")
"""Settling changes what a batch costs, not what a run has spent."""

_SETTLE = {
    state: move.update(*_WHERE_VIDEO).values(
        credits_final=bindparam("b_final"),
        fps=bindparam("b_fps"),
        width=bindparam("b_width"),
        height=bindparam("b_height"),
        error_code=bindparam("b_code"),
        error_message=bindparam("b_message"),
        settled_at=bindparam("b_at"),
        due_at=None,
        waited_until=None,
        video_path=None,  # a file of an earlier video is not this one's
    )
    for state, move in SETTLED.items()
}


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


@dataclass(frozen=True, slots=True)
class Filed:
    """A row's video lies at `path`, and no longer where it may have lain before."""

    row: Rendered
    path: str
    instead_of: str | None = None


class Finished(NamedTuple):
    """A complete row and where its video lies; None: it was never downloaded."""

    row: Rendered
    path: str | None


@dataclass(frozen=True, slots=True)
class FinishedPage:
    """Complete rows of `batch`, settled before `settled_by`; a page after `after`."""

    batch: Batch
    settled_by: datetime
    after: tuple[RowKey, int] | None  # key and generation
    limit: int

    def query(self) -> Select[Any]:
        """The page, by row key and generation."""
        here = and_(generations.c.batch == self.batch, in_states({RowState.COMPLETE}))
        # Always a bound on the key, so that the page is read from the primary key and nothing is sorted.
        key, number = self.after or ("", 0)
        later = and_(_g.row_key >= key, or_(_g.row_key > key, _g.generation > number))
        query = select(*_RENDERED_COLUMNS, _g.video_path).where(
            here, later, generations.c.settled_at <= self.settled_by
        )
        return query.order_by(_g.row_key, _g.generation).limit(self.limit)


def finished(connection: Connection, page: FinishedPage) -> list[Finished]:
    """The rows of `page`."""
    return [Finished(Rendered(*row), path) for *row, path in connection.execute(page.query())]


def record_files(connection: Connection, items: Sequence[Filed]) -> list[bool]:
    """Where videos lie now. False: the row has another file, or another video, by now; this file is one too many."""
    return [_record_file(connection, item) for item in items]


def _record_file(connection: Connection, item: Filed) -> bool:
    values = _row_values(item.row)
    if connection.execute(_FILE, {**values, "b_path": item.path, "b_old": item.instead_of}).rowcount == 1:
        return True
    return connection.scalar(select(generations.c.video_path).where(*_WHERE_VIDEO), values) == item.path


_FILE = (
    update(generations)
    .where(
        *_WHERE_VIDEO,
        in_states({RowState.COMPLETE}),
        or_(_g.video_path.is_(None), _g.video_path == bindparam("b_old", type_=_g.video_path.type)),
    )
    .values(video_path=bindparam("b_path"))
)


def case_variants(connection: Connection) -> frozenset[str]:
    """Row keys, in small letters, that stand in the table in more than one spelling (`Tea`, `TEA`)."""
    small = func.lower(generations.c.row_key)
    spelled_twice = func.min(generations.c.row_key) != func.max(generations.c.row_key)
    return frozenset(connection.scalars(select(small).group_by(small).having(spelled_twice)))


def owned_elsewhere(connection: Connection, filed: Filed) -> bool:
    """Whether the row of another batch with the same key has this file."""
    others = select(batches.c.batch).where(batches.c.batch != filed.row.batch)
    same_key = and_(generations.c.batch.in_(others), generations.c.row_key == filed.row.row_key)
    return _any(connection, select(generations.c.batch).where(same_key, generations.c.video_path == filed.path))


def had_earlier_video(connection: Connection, row: Rendered) -> bool:
    """Whether another video was made for this row before."""
    a = attempts.c
    own = and_(a.batch == row.batch, a.row_key == row.row_key, a.generation == row.generation)
    return _any(connection, select(attempts.c.token).where(own, attempts.c.video_id != row.video_id))


def _any(connection: Connection, query: Select[Any]) -> bool:
    return connection.execute(query.limit(1)).first() is not None
