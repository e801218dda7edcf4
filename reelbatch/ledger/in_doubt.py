"""Rows in doubt: what is known of them, what someone found out, and taking that back if nothing was sent since."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, DateTime, Select, Table, and_, insert, not_, or_, select, update

from reelbatch.domain import Batch, RowKey, RowState, RunId, Token, VideoId
from reelbatch.ledger import earlier_attempts
from reelbatch.ledger.accounting import BalanceChanges, known_attempts
from reelbatch.ledger.attempts import Answer, Ending, record_answers
from reelbatch.ledger.schema import attempts, decisions, generations, orders, results
from reelbatch.ledger.transitions import FOUND_UNDONE, NOT_CREATED, NOT_CREATED_UNDONE, Move, in_states

NOT_CREATED_OUTCOME = "not_created"


class Verdict(StrEnum):
    """What became of an attempt in doubt."""

    FOUND = "found"  # there is a video
    NOT_CREATED = "not_created"  # there is none, and nothing was charged
    UNDONE = "undone"  # what was said last is taken back


@dataclass(frozen=True, slots=True)
class Doubt:
    """A row in doubt, and the attempt that may have been charged. Credits are integers."""

    batch: Batch
    row_key: RowKey
    row_number: int
    token: Token  # the video's name, if there is a video, ends in it
    since: datetime
    credits_reserved: int
    name: str | None
    message: str | None
    run_id: RunId
    generation: int
    image_path: str
    prompt: str | None


@dataclass(frozen=True, slots=True)
class Answered:
    """A row in doubt that was answered all the same: the status, and the body, which may name an id."""

    doubt: Doubt
    status: int | None
    body: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What someone decided about a row in doubt."""

    doubt: Doubt
    verdict: Verdict
    who: str
    at: datetime
    token: Token
    video_id: VideoId | None = None
    credits_charged: int | None = None
    command: str | None = None  # what one command decides is taken back together


def doubts(connection: Connection, batch: Batch | None = None) -> list[Doubt]:
    """All rows in doubt, in the manifest's order."""
    return [Doubt(*row) for row in connection.execute(_in_doubt(batch))]


def answered(connection: Connection, batch: Batch) -> list[Answered]:
    """Rows in doubt whose answers were kept."""
    a = attempts.c
    query = _in_doubt(batch).add_columns(a.http_status, a.raw_body).where(a.raw_body.is_not(None))
    return [Answered(Doubt(*row), status, body) for *row, status, body in connection.execute(query)]


def _in_doubt(batch: Batch | None) -> Select[Any]:
    r, a = generations.c, attempts.c
    row = (r.batch, r.row_key, r.row_number, r.token)
    request = (a.run_id, r.generation, r.image_path, r.prompt)
    query = (
        select(*row, a.started_at, a.credits_reserved, r.name, r.error_message, *request)
        .select_from(generations.join(attempts, a.token == r.token))
        .where(in_states({RowState.IN_DOUBT}))
        .order_by(r.batch, r.row_number, r.row_key)
    )
    return query if batch is None else query.where(r.batch == batch)


def tokens_of(connection: Connection, doubt: Doubt) -> set[Token]:
    """The marks of every attempt at this row: an earlier one may be the video that is found."""
    a = attempts.c
    query = select(a.token).where(
        a.batch == doubt.batch, a.row_key == doubt.row_key, a.generation == doubt.generation
    )
    return {Token(token) for token in connection.scalars(query)}


def owners_of(connection: Connection, video_id: VideoId) -> list[tuple[Batch, RowKey]]:
    """The rows that have this id, or once had it."""
    a = attempts.c
    query = select(a.batch, a.row_key).where(a.video_id == video_id).order_by(a.started_at)
    return [(Batch(batch), RowKey(key)) for batch, key in connection.execute(query)]


def state_of(connection: Connection, batch: Batch, row_key: RowKey) -> str | None:
    """Where a row stands as `results` shows it; None where there is no such row."""
    r = results.c
    return connection.scalar(select(r.state).where(r.batch == batch, r.row_key == row_key))


def decide(connection: Connection, items: Sequence[Decision]) -> list[bool]:
    """Carry decisions out and keep them; False where the row was no longer in doubt about that attempt."""
    done = []
    for item in items:
        before = snapshot(connection, _row(item.doubt), item.token)
        done.append(_found(connection, item) if item.verdict is Verdict.FOUND else _not_created(connection, item))
        connection.execute(insert(decisions).values(_entry(item, before if done[-1] else None)))
    return done


def _row(of: Doubt | Made) -> ColumnElement[bool]:
    g = generations.c
    return and_(g.batch == of.batch, g.row_key == of.row_key, g.generation == of.generation)


def _entry(item: Decision, before: str | None) -> dict[str, object]:
    return {
        "decided_at": item.at,
        "decided_by": item.who,
        "batch": item.doubt.batch,
        "row_key": item.doubt.row_key,
        "token": item.token,
        "verdict": item.verdict.value,
        "video_id": item.video_id,
        "command": item.command,
        "before": before,
    }


def _found(connection: Connection, item: Decision) -> bool:
    # The run that made this attempt, which may be an earlier one than the row is in doubt about.
    run_id = connection.scalar(select(attempts.c.run_id).where(attempts.c.token == item.token))
    answer = Answer(
        batch=item.doubt.batch,
        row_key=item.doubt.row_key,
        run_id=item.doubt.run_id if run_id is None else RunId(run_id),
        token=item.token,
        at=item.at,
        ending=Ending.SUBMITTED,
        reserved=item.doubt.credits_reserved,
        generation=item.doubt.generation,
        video_id=item.video_id,
        credits_charged=item.credits_charged,
    )
    return record_answers(connection, [answer])[0]


def _not_created(connection: Connection, item: Decision) -> bool:
    moved = connection.execute(
        NOT_CREATED.update(_row(item.doubt), generations.c.token == item.token).values(
            error_code=None, error_message=None, run_id=None
        )
    )
    if moved.rowcount != 1:
        return False
    before = known_attempts(connection, [item.token])[item.token]
    ended = {"outcome": NOT_CREATED_OUTCOME, "ended_at": item.at}
    connection.execute(update(attempts).where(attempts.c.token == item.token).values(ended))
    sums = BalanceChanges()
    sums.add(item.doubt.batch, item.doubt.run_id, before, before._replace(outcome=NOT_CREATED_OUTCOME))
    sums.write(connection)
    line = earlier_attempts.Line(item.doubt.batch, item.doubt.row_key, item.doubt.generation)
    earlier_attempts.accept(connection, {line: item.at})
    return True


_OF_ROW = (
    "error_code",
    "error_message",
    "run_id",
    "rerun_wanted",
    "submitted_at",
    "due_at",
    "credits_charged",
    "estimated_frame_cost",
)
_OF_ATTEMPT = ("outcome", "ended_at", "http_status", "message", "raw_body", "video_id", "credits_charged", "same_as")


class Made(NamedTuple):
    """A decision that its row accepted, and the attempt that it was about."""

    decision: int
    batch: Batch
    row_key: RowKey
    token: Token
    verdict: str
    video_id: VideoId | None
    before: str
    decided_at: datetime
    run_id: RunId
    generation: int


@dataclass(frozen=True, slots=True)
class Undo:
    """Someone takes a decision back."""

    made: Made
    who: str
    at: datetime


def snapshot(connection: Connection, row: ColumnElement[bool], token: Token) -> str:
    """What a decision changes of the row and its attempt, as JSON."""
    parts = {"row": (generations, row, _OF_ROW), "attempt": (attempts, attempts.c.token == token, _OF_ATTEMPT)}
    found = {name: _values(connection, *part) for name, part in parts.items()}
    return json.dumps(found, default=datetime.isoformat)


def _values(connection: Connection, of: Table, where: ColumnElement[bool], names: Sequence[str]) -> dict[str, Any]:
    return dict(connection.execute(select(*(of.c[name] for name in names)).where(where)).mappings().one())


def _read(of: Table, values: Mapping[str, Any]) -> dict[str, Any]:
    """The reverse of `snapshot` for the columns of one table."""
    return {
        name: datetime.fromisoformat(value) if value and isinstance(_kind(of, name), DateTime) else value
        for name, value in values.items()
    }


def _kind(of: Table, name: str) -> Any:
    kind: Any = of.c[name].type
    return getattr(kind, "impl", kind)


def last_made(connection: Connection, batch: Batch, row_key: RowKey | None = None) -> list[Made]:
    """The last decision that was not taken back yet: of a row, or of the batch all that one command decided."""
    d, a, later = decisions.c, attempts.c, decisions.alias("later")
    said = (d.decision, d.batch, d.row_key, d.token, d.verdict, d.video_id, d.before, d.decided_at)
    stands = not_(select(later.c.decision).where(later.c.undoes == d.decision).exists())
    query = (
        select(*said, a.run_id, a.generation, d.command)
        .join_from(decisions, attempts, a.token == d.token)
        .where(d.batch == batch, d.before.is_not(None), stands)
        .order_by(d.decision.desc())
    )
    if row_key is not None:
        query = query.where(d.row_key == row_key).limit(1)
    found = connection.execute(query).all()
    return [Made(*made[:-1]) for made in found if made.command == found[0].command]


def undo(connection: Connection, items: Sequence[Undo]) -> list[str | None]:
    """Put rows in doubt again as they were, with their attempts and money; returns what stood in the way."""
    return [_undo(connection, item) for item in items]


def _undo(connection: Connection, item: Undo) -> str | None:
    made, before = item.made, json.loads(item.made.before)
    known = known_attempts(connection, [made.token])[made.token]
    way = _WAYS[made.verdict]
    if _answered_since(connection, made):
        return f"its attempt was answered since ({known.outcome}); what the API said stands"
    fresh = {"token": made.token, "video_id": None, "paid_as": None}
    back = way.move.update(_row(made), way.unsent(made))
    if connection.execute(back.values({**_read(generations, before["row"]), **fresh})).rowcount != 1:
        return _why_not(connection, made)
    attempt = _read(attempts, before["attempt"])
    connection.execute(update(attempts).where(attempts.c.token == made.token).values(attempt))
    was = known._replace(outcome=attempt["outcome"], video_id=attempt["video_id"], charged=attempt["credits_charged"])
    sums = BalanceChanges()
    sums.add(made.batch, made.run_id, known, was)
    sums.write(connection)
    connection.execute(insert(decisions).values(_entry_of_undo(item)))
    return None


def _answered_since(connection: Connection, made: Made) -> bool:
    """Whether the attempt is not as the decision left it: what the API said by itself is not taken back."""
    return connection.scalar(select(attempts.c.ended_at).where(attempts.c.token == made.token)) != made.decided_at


def _entry_of_undo(item: Undo) -> dict[str, Any]:
    made = item.made
    about = {"batch": made.batch, "row_key": made.row_key, "token": made.token, "video_id": made.video_id}
    return {
        **about,
        "decided_at": item.at,
        "decided_by": item.who,
        "verdict": Verdict.UNDONE.value,
        "undoes": made.decision,
    }


def _not_sent_again(made: Made) -> ColumnElement[bool]:
    """The row's last attempt is the one decided about; a line replaced by the manifest has forgotten its token."""
    own, other = attempts.alias("own"), attempts.alias("other")
    later = select(other.c.token).where(
        own.c.token == made.token,
        other.c.batch == made.batch,
        other.c.row_key == made.row_key,
        other.c.generation == made.generation,
        other.c.started_at > own.c.started_at,
    )
    g = generations.c
    return or_(g.token == made.token, and_(g.token.is_(None), not_(later.exists())))


def _still_that_video(made: Made) -> ColumnElement[bool]:
    """The id is the row's, and its order open: what a closed one left behind, no one would ever send."""
    g = generations.c
    is_open = select(orders.c.order_id).where(orders.c.order_id == g.order_id, orders.c.closed_at.is_(None))
    own = and_(g.token == made.token, g.video_id == made.video_id)
    return and_(own, or_(g.order_id.is_(None), is_open.exists()))


class _Way(NamedTuple):
    """How a decision is taken back."""

    move: Move
    unsent: Callable[[Made], ColumnElement[bool]]


_WAYS: Mapping[str, _Way] = {
    "not_created": _Way(NOT_CREATED_UNDONE, _not_sent_again),
    "found": _Way(FOUND_UNDONE, _still_that_video),
}


def _why_not(connection: Connection, made: Made) -> str:
    g = generations.c
    found = connection.execute(select(g.state, g.token, g.order_id).where(_row(made))).one_or_none()
    if found is None:
        return "what was to be made anew was dropped since"
    if found.token not in {made.token, None}:
        return f"it goes by another attempt since, and is {found.state} by now"
    if found.state in _WAYS[made.verdict].move.sources and found.order_id is not None:
        return "the order that it belongs to is closed"
    return f"it is {found.state} by now"
