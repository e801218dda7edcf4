"""Which videos are looked at when: those that render, failed ones whose refund is still to come, and no row's."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, Update, and_, bindparam, case, func, not_, or_, select, tuple_, update

from reelbatch.domain import UNSETTLED, Batch, RowKey, RowState, Token, VideoId
from reelbatch.ledger.accounts import Payer, may_have_paid
from reelbatch.ledger.render_times import RenderClass
from reelbatch.ledger.schema import attempts, batches, generations
from reelbatch.ledger.transitions import THIS_ROW, in_states

LONG_VIDEO_S = 30
"""Videos longer than this are polled half as often."""
REFUND_WITHIN = timedelta(days=1)
"""So long after its failure a video's refund is looked for."""
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
    submitted_at: datetime | None = None
    model: str | None = None
    resolution: str | None = None
    seconds: float | None = None

    @property
    def id(self) -> RowId:
        """The row's primary key."""
        return self.batch, self.row_key, self.generation

    @property
    def render_class(self) -> RenderClass:
        """Videos of one class take about as long to render."""
        return RenderClass(self.model, self.resolution, self.seconds)


_g = generations.c
_ROW = (_g.batch, _g.row_key, _g.video_id, _g.token, _g.state, _g.generation, _g.waited_until)
RENDERED_COLUMNS = (*_ROW, _g.submitted_at, _g.model, _g.resolution, _g.end_seconds)


class Look(NamedTuple):
    """Whether a row that is due is asked about now, and when it is due again."""

    now: bool
    next_at: datetime


class Taken(NamedTuple):
    """Rows to ask about now, and rows that were due and are put off, since their videos can't be finished yet."""

    rows: list[Rendered]
    put_off: list[Rendered]


@dataclass(frozen=True, slots=True)
class TakeDue:
    """Up to `limit` rows that are due at `now`; they are due again at `again` (long videos: `again_long`).

    What is due after `latest` too: no row is put off for so long, so some clock was ahead when its time was written.
    `look` knows better for some rows, whose renders take a known time; None from it: as stated here.
    """

    batches: tuple[Batch, ...]
    now: datetime
    limit: int
    again: datetime
    again_long: datetime
    latest: datetime | None = None
    look: Callable[[Rendered, datetime], Look | None] = lambda _row, _now: None


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


def take_due(connection: Connection, items: Sequence[TakeDue]) -> list[Taken]:
    """Rows to ask about now. Pushing `due_at` as they are taken keeps a second settle from asking as well."""
    return [_take(connection, item) for item in items]


def _take(connection: Connection, item: TakeDue) -> Taken:
    found: list[Rendered] = []
    for batch in item.batches:
        if len(found) >= item.limit:
            break
        if item.latest is not None:
            connection.execute(too_late(batch, item.latest).values(due_at=item.now))
        found += _take_of_batch(connection, item, batch, item.limit - len(found))
    looks = [(row, item.look(row, item.now)) for row in found]
    if sooner_or_later := [{**row_values(row), "b_due_at": look.next_at} for row, look in looks if look]:
        connection.execute(_POSTPONE, sooner_or_later)
    put_off = [row for row, look in looks if look is not None and not look.now]
    return Taken([row for row, look in looks if look is None or look.now], put_off)


def _take_of_batch(connection: Connection, item: TakeDue, batch: Batch, limit: int) -> list[Rendered]:
    again = case((generations.c.end_seconds > LONG_VIDEO_S, item.again_long), else_=item.again)
    keys = due(batch, item.now, limit).with_for_update(skip_locked=True).cte("due")
    taken = connection.execute(
        update(generations)
        .where(tuple_(_g.batch, _g.row_key, _g.generation).in_(select(keys)), in_states(UNSETTLED))
        .values(due_at=again)
        .returning(*RENDERED_COLUMNS)
    )
    return [Rendered(*row) for row in taken]


def schedule(connection: Connection, items: Sequence[tuple[Batch, datetime]]) -> list[int]:
    """Unsettled rows that have no time to be looked at get one. Return how many."""
    undated = update(generations).where(in_states(UNSETTLED), generations.c.due_at.is_(None))
    return [
        connection.execute(undated.where(generations.c.batch == batch).values(due_at=now)).rowcount
        for batch, now in items
    ]


def recall(connection: Connection, items: Sequence[tuple[Batch, datetime]]) -> list[int]:
    """Unsettled rows that no one waits for any longer are due now. Return how many."""
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


def batches_of(connection: Connection, payer: Payer | None, *, archived: bool = True) -> list[Batch]:
    """The table's batches; with `payer` only those that may be its own. `archived`: those that are, too."""
    query = select(batches.c.batch).order_by(batches.c.batch)
    if not archived:
        query = query.where(batches.c.archived_at.is_(None))
    own = query if payer is None else query.where(may_have_paid(payer))
    return [Batch(name) for name in connection.scalars(own)]


WHERE_VIDEO = (*THIS_ROW, generations.c.video_id == bindparam("b_video_id"))
"""The row that a statement's parameters name, as long as it has that video."""


def row_values(row: Rendered) -> dict[str, Any]:
    """The parameters of WHERE_VIDEO."""
    key = {"b_batch": row.batch, "b_row_key": row.row_key, "b_generation": row.generation}
    return {**key, "b_video_id": row.video_id}


_UNDERSTOOD = update(generations).where(*WHERE_VIDEO, in_states(UNSETTLED), _g.waited_until.is_not(None))
_UNDERSTOOD = _UNDERSTOOD.values(error_code=None, error_message=None, waited_until=None)
_POSTPONE = update(generations).where(*WHERE_VIDEO, in_states(UNSETTLED)).values(due_at=bindparam("b_due_at"))
_TROUBLE = _POSTPONE.values(
    error_code=bindparam("b_code"),
    error_message=bindparam("b_message"),
    waited_until=func.coalesce(_g.waited_until, bindparam("b_waited_until", type_=_g.waited_until.type)),
)


def record_understood(connection: Connection, items: Sequence[Rendered]) -> list[None]:
    """The API says again how these rows stand; they stand as they did."""
    if items:
        rows = sorted(items, key=lambda row: row.id)  # everybody locks in this order
        connection.execute(_UNDERSTOOD, [row_values(row) for row in rows])
    return [None] * len(items)


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
    values = {**row_values(item.row), "b_due_at": item.due_at}
    if item.code is None:
        return values
    return {**values, "b_code": item.code, "b_message": item.message, "b_waited_until": item.waited_until}


def rarer(now: datetime, since: datetime, shortest: timedelta) -> timedelta:
    """How long until something is looked at again that has not come right `since`: a quarter of that, to an hour.

    It needs no counter: in whichever process someone looks, the looks become rarer.
    """
    return min(RAREST, max(shortest, (now - since) / 4))


@dataclass(frozen=True, slots=True)
class TakeUnrefunded:
    """Up to `limit` failed videos whose refund is looked for by `now`; two looks are at least `shortest` apart.

    So are videos that no row accepted, for their final figure.
    """

    batches: tuple[Batch, ...]
    now: datetime
    limit: int
    shortest: timedelta


_a = attempts.c
_TAKEN = update(attempts).where(_a.token == bindparam("b_token"), _a.refund_due_at.is_not(None))
_TAKEN = _TAKEN.values(refund_due_at=bindparam("b_due_at"))


def take_unrefunded(connection: Connection, items: Sequence[TakeUnrefunded]) -> list[list[Rendered]]:
    """Videos to ask about now. Pushing the time as they are taken keeps a second settle from asking as well."""
    return [_take_refunds(connection, item) for item in items]


def _take_refunds(connection: Connection, item: TakeUnrefunded) -> list[Rendered]:
    found: list[Rendered] = []
    for batch in item.batches:
        query = (
            select(_a.row_key, _a.generation, _a.video_id, _a.token, _a.refund_until, _a.ended_at)
            .where(_a.batch == batch, _a.refund_due_at <= item.now)
            .order_by(_a.refund_due_at)
            .limit(item.limit - len(found))
            .with_for_update(skip_locked=True)
        )
        taken = connection.execute(query).all()
        if taken:
            values = [{"b_token": each.token, "b_due_at": _next_look(item, each)} for each in taken]
            connection.execute(_TAKEN, values)
        found += [Rendered(batch, row[0], row[2], row[3], RowState.ERROR, row[1]) for row in taken]
        if len(found) >= item.limit:
            break
    return found


def _next_look(item: TakeUnrefunded, video: Any) -> datetime:
    since = video.ended_at if video.refund_until is None else video.refund_until - REFUND_WITHIN
    return item.now + rarer(item.now, since or item.now, item.shortest)


class RefundLook(NamedTuple):
    """An answer was given about the failed video of an attempt, asked for at `at`.

    `unknown`: the API does not know the video.
    """

    token: Token | None
    at: datetime
    unknown: bool = False


_OVER = _a.refund_until <= bindparam("b_at")
_GONE = and_(_a.refund_until.is_(None), _a.ended_at <= bindparam("b_known_until"))
_ENDED = update(attempts).where(_a.token == bindparam("b_token"), or_(_OVER, _GONE)).values(refund_due_at=None)


def end_refund_looks(connection: Connection, items: Sequence[RefundLook]) -> list[None]:
    """No look follows the first one that was answered when the time was over.

    Of a video that no row accepted it is over when the API has not known it for so long.
    """
    if items:
        values = [(each, each.at - REFUND_WITHIN if each.unknown else None) for each in items]
        looks = [{"b_token": each.token, "b_at": each.at, "b_known_until": until} for each, until in values]
        connection.execute(_ENDED, looks)
    return [None] * len(items)
