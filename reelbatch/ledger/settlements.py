"""What became of videos: their states and files in the rows, and every credit to its place."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, and_, bindparam, func, or_, select, update

from reelbatch.domain import Batch, RowKey, RowState, RunId, Token
from reelbatch.ledger import accounts
from reelbatch.ledger.accounting import Attempted, BalanceChanges, known_attempts
from reelbatch.ledger.beside import did_not_fail
from reelbatch.ledger.due import REFUND_WITHIN, RENDERED_COLUMNS, WHERE_VIDEO, Rendered, RowId, row_values
from reelbatch.ledger.schema import attempts, batches, generations
from reelbatch.ledger.transitions import RENDERING, SETTLED, execute_each, in_states

_g = generations.c
FINAL = frozenset(SETTLED)
"""States that no later answer changes."""
_Ends = dict[Token, dict[str, Any]]


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
    """What settling a row came to, in credits. `final` is None where no one knows."""

    estimated: int
    charged: int
    final: int | None


_RENDER = RENDERING.update(*WHERE_VIDEO).values(error_code=None, error_message=None, waited_until=None)


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
    execute_each(connection, _RENDER, [row_values(row) for row in begun.values()])
    return moved


_STANDING = (
    select(_g.row_key, _g.generation, _g.video_id, _g.state)
    .where(_g.batch == bindparam("b_batch"), _g.row_key.in_(bindparam("b_keys", expanding=True)))
    .order_by(_g.row_key, _g.generation)  # everybody locks in this order
    .with_for_update()
)


def _locked(connection: Connection, rows: Sequence[Rendered]) -> dict[RowId, tuple[str, RowState]]:
    """Video and state of these rows now; no one else changes them until the commit."""
    found: dict[RowId, tuple[str, RowState]] = {}
    for batch in sorted({row.batch for row in rows}):
        keys = sorted({row.row_key for row in rows if row.batch == batch})
        for key, number, *standing in connection.execute(_STANDING, {"b_batch": batch, "b_keys": keys}):
            found[batch, key, number] = (standing[0], RowState(standing[1]))
    return found


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
    execute_each(connection, _FINISH, [{"b_token": token, **ends[token]} for token in sorted(ends)])
    _keep_odd(connection, items, known)
    sums.write(connection)
    complete = {item.row.token: item.credits_final for item in items if item.state is RowState.COMPLETE}
    accounts.see_settled(connection, {token: paid for token, paid in complete.items() if token and paid is not None})
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
        settled_at=bindparam("b_at", type_=attempts.c.settled_at.type),
    )
)
_ODD = update(attempts).where(attempts.c.token == bindparam("b_token")).values(odd_figure=bindparam("b_odd"))


def _keep_odd(connection: Connection, items: Sequence[Final], known: Collection[Token]) -> None:
    """Figures that were not believed are reported."""
    odd = {item.row.token: item.odd_figure for item in items if item.odd_figure and item.row.token in known}
    execute_each(connection, _ODD, [{"b_token": token, "b_odd": odd[token]} for token in sorted(filter(None, odd))])


def _settle_attempt(item: Final, known: dict[Token, Attempted], sums: BalanceChanges, ends: _Ends) -> Settlement:
    """The final figure on the attempt; the worst case of its batch changes by what that differs."""
    token = item.row.token
    before = known.get(token) if token else None
    # Its attempt is not in this table, or has another id, or none, by now: only the answer can tell.
    if token is None or before is None or before.video_id != item.row.video_id:
        return Settlement(0, 0, item.credits_final)
    final = item.credits_final
    if final is None and item.state is RowState.COMPLETE:
        final = before.spent if before.charged is not None or before.reserved else None
    after = before.ended(final, None if item.state is RowState.COMPLETE else item.at + REFUND_WITHIN)
    if after != before:
        known[token] = after
        sums.add(item.row.batch, _NO_RUN, before, after)
        waits = after.refund_until is not None and before.final is None and after.final != 0
        due_at = item.at if waits else None  # a refund that has come is not waited for
        ends[token] = {"b_final": after.final, "b_until": after.refund_until, "b_due_at": due_at, "b_at": item.at}
    return Settlement(before.reserved, after.money.charged, after.final)


def _lower(connection: Connection, items: Sequence[Final], ends: _Ends) -> None:
    """The figures of rows that had failed before; one that has another video by now is left alone."""
    rows = {item.row.token: item.row for item in items if item.row.token in ends}
    values = [{**row_values(row), "b_final": ends[token]["b_final"]} for token, row in rows.items() if token]
    if values:
        connection.execute(_LOWER, values)


_LOWER = (
    update(generations)
    .where(*WHERE_VIDEO, in_states(FINAL - {RowState.COMPLETE}))
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
            values.setdefault(item.state, []).append({**row_values(item.row), **_final_values(item, final)})
        moved.append(moves)
    for state, rows in values.items():
        execute_each(connection, _SETTLE[state], rows)
    return moved


_NO_RUN = RunId("")
"""Settling changes what a batch costs, not what a run has spent."""
_SETTLE = {
    state: move.update(*WHERE_VIDEO).values(
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
        video_bytes=None,
        video_seconds=None,
        video_frames=None,
        video_check=None,
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


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoFile:
    """What is known of a downloaded file; None: nothing."""

    bytes: int | None = None
    seconds: float | None = None
    frames: int | None = None
    check: str | None = None


@dataclass(frozen=True, slots=True)
class Filed:
    """A row's video lies at `path`, and no longer where it may have lain before."""

    row: Rendered
    path: str
    instead_of: str | None = None
    file: VideoFile = VideoFile()


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
        query = select(*RENDERED_COLUMNS, _g.video_path).where(
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
    values = row_values(item.row)
    found = {f"b_{name}": value for name, value in asdict(item.file).items()}
    if connection.execute(_FILE, {**values, **found, "b_path": item.path, "b_old": item.instead_of}).rowcount == 1:
        return True
    return connection.scalar(select(generations.c.video_path).where(*WHERE_VIDEO), values) == item.path


_FILE = (
    update(generations)
    .where(
        *WHERE_VIDEO,
        in_states({RowState.COMPLETE}),
        or_(_g.video_path.is_(None), _g.video_path == bindparam("b_old", type_=_g.video_path.type)),
    )
    .values(
        video_path=bindparam("b_path"),
        video_bytes=bindparam("b_bytes"),
        video_seconds=bindparam("b_seconds"),
        video_frames=bindparam("b_frames"),
        video_check=bindparam("b_check"),
    )
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
    """Whether another video was made for this row before; one that failed has left no file."""
    a = attempts.c
    own = and_(a.batch == row.batch, a.row_key == row.row_key, a.generation == row.generation)
    return _any(connection, select(a.token).where(own, a.video_id != row.video_id, did_not_fail()))


def _any(connection: Connection, query: Select[Any]) -> bool:
    return connection.execute(query.limit(1)).first() is not None


class Refund(NamedTuple):
    """What a look has found. Credits; `final` is the change of the final figure."""

    credits: int
    final: int


def record_refunds(connection: Connection, items: Sequence[Final]) -> list[Refund | None]:
    """Later answers about failed videos. For each what was given back since the last one; None: nothing."""
    return [_record_refund(connection, item) for item in items]


def _record_refund(connection: Connection, item: Final) -> Refund | None:
    token = item.row.token
    if token is None or (before := known_attempts(connection, [token]).get(token)) is None:
        return None
    record_finals(connection, [item])
    after = known_attempts(connection, [token])[token]
    return None if after == before else Refund(before.worst - after.worst, (after.final or 0) - (before.final or 0))
