"""Rows in doubt: what is known of them, what someone found out, and taking that back if nothing was sent since."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Connection, DateTime, Select, Table, and_, insert, select, update

from reelbatch.domain import Batch, RowKey, RowState, RunId, Token, VideoId
from reelbatch.ledger import earlier_attempts
from reelbatch.ledger.accounting import BalanceChanges, known_attempts
from reelbatch.ledger.attempts import Answer, Ending, record_answers
from reelbatch.ledger.columns import REQUEST_COLUMNS
from reelbatch.ledger.earlier_attempts import Line
from reelbatch.ledger.schema import attempts, decisions, generations, results
from reelbatch.ledger.transitions import NOT_CREATED, in_states

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
    sent_again: bool = False  # its row is in doubt about it no longer, since it was to be paid for once more

    @property
    def line(self) -> Line:
        """Of the table."""
        return Line(self.batch, self.row_key, self.generation)


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
    """All rows in doubt, in the manifest's order; see `sent_again.doubts` for requests of rows that have moved on."""
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
        line = None if item.doubt.sent_again else is_line(item.doubt.line)  # else it is another request's by now
        before = snapshot(connection, line, item.token)
        done.append(_found(connection, item) if item.verdict is Verdict.FOUND else _not_created(connection, item))
        connection.execute(insert(decisions).values(_entry(item, before if done[-1] else None)))
    return done


def is_line(line: Line) -> ColumnElement[bool]:
    """The line of the table that a decision is about."""
    g = generations.c
    return and_(g.batch == line.batch, g.row_key == line.row_key, g.generation == line.generation)


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
    known = known_attempts(connection, [item.token]).get(item.token)
    if known is not None and known.video_id is not None:  # it came meanwhile, and is never let go of
        return False
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


@dataclass(frozen=True, slots=True)
class Found:
    """The id of a request that its row is not in doubt about, as the API confirms it."""

    batch: Batch
    row_key: RowKey
    token: Token
    video_id: VideoId
    credits_charged: int | None
    who: str
    at: datetime
    command: str


def without_id(connection: Connection, batch: Batch, row_key: RowKey) -> set[Token]:
    """The marks of a row's requests of which no id is known, whatever was said of them."""
    a = attempts.c
    query = select(a.token).where(a.batch == batch, a.row_key == row_key, a.video_id.is_(None))
    return {Token(token) for token in connection.scalars(query)}


def book(connection: Connection, items: Sequence[Found]) -> list[bool]:
    """Each id is the row's where that waits for one, else it is kept beside it; False where one is known by now."""
    return [_book(connection, item) for item in items]


def _book(connection: Connection, item: Found) -> bool:
    known = known_attempts(connection, [item.token])[item.token]
    if known.video_id is not None:
        return False
    a = attempts.c
    run_id, generation = connection.execute(select(a.run_id, a.generation).where(a.token == item.token)).one()
    answer = Answer(
        batch=item.batch,
        row_key=item.row_key,
        run_id=RunId(run_id),
        token=item.token,
        at=item.at,
        ending=Ending.SUBMITTED,
        reserved=known.reserved,
        generation=generation,
        video_id=item.video_id,
        credits_charged=item.credits_charged,
        message="its id was found by hand",
    )
    record_answers(connection, [answer])
    said = {"decided_at": item.at, "decided_by": item.who, "verdict": Verdict.FOUND.value, "command": item.command}
    about = {"batch": item.batch, "row_key": item.row_key, "token": item.token, "video_id": item.video_id}
    connection.execute(insert(decisions).values(**said, **about))
    return True


def _not_created(connection: Connection, item: Decision) -> bool:
    before = known_attempts(connection, [item.token])[item.token]  # everybody locks attempts before rows
    if not before.open:
        return False
    if not item.doubt.sent_again:
        move = NOT_CREATED.update(is_line(item.doubt.line), generations.c.token == item.token)
        if connection.execute(move.values(error_code=None, error_message=None, run_id=None)).rowcount != 1:
            return False
    ended = {"outcome": NOT_CREATED_OUTCOME, "ended_at": item.at}
    connection.execute(update(attempts).where(attempts.c.token == item.token).values(ended))
    sums = BalanceChanges()
    sums.add(item.doubt.batch, item.doubt.run_id, before, before._replace(outcome=NOT_CREATED_OUTCOME))
    sums.write(connection)
    earlier_attempts.accept(connection, {item.doubt.line: item.at})
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
    # What it asked for: a manifest may state the row anew before the decision is taken back.
    *REQUEST_COLUMNS,
    "fingerprint",
    "credits_estimated",
    "request_sha256",
    "image_sha256",
    "image_stat",
    "image_bytes",
)
_OF_ATTEMPT = ("outcome", "ended_at", "http_status", "message", "raw_body", "video_id", "credits_charged", "same_as")


def snapshot(connection: Connection, row: ColumnElement[bool] | None, token: Token) -> str:
    """What a decision changes of the row, if it does, and of its attempt, as JSON."""
    found = {"attempt": _values(connection, attempts, attempts.c.token == token, _OF_ATTEMPT)}
    if row is not None:
        found["row"] = _values(connection, generations, row, _OF_ROW)
    return json.dumps(found, default=datetime.isoformat)


def _values(connection: Connection, of: Table, where: ColumnElement[bool], names: Sequence[str]) -> dict[str, Any]:
    return dict(connection.execute(select(*(of.c[name] for name in names)).where(where)).mappings().one())


def read_snapshot(of: Table, values: Mapping[str, Any]) -> dict[str, Any]:
    """The reverse of `snapshot` for the columns of one table."""
    return {
        name: datetime.fromisoformat(value) if value and isinstance(_kind(of, name), DateTime) else value
        for name, value in values.items()
    }


def _kind(of: Table, name: str) -> Any:
    kind: Any = of.c[name].type
    return getattr(kind, "impl", kind)
