"""Rows in doubt: what is known of them, and what somebody found out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, insert, or_, select, update

from reelbatch.domain import Batch, Request, RowKey, RowState, RunId, Token, VideoId
from reelbatch.ledger.accounting import BalanceChanges, known_attempts
from reelbatch.ledger.attempts import Answer, Ending, record_answers
from reelbatch.ledger.columns import REQUEST_COLUMNS
from reelbatch.ledger.schema import attempts, decisions, generations, results
from reelbatch.ledger.transitions import NOT_CREATED, in_states
from reelbatch.ledger.undoing import snapshot

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
    """What somebody decided about a row in doubt."""

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
    own = (a.batch == doubt.batch, a.row_key == doubt.row_key, a.generation == doubt.generation)
    query = select(a.token).where(*own)
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


def _row(doubt: Doubt) -> ColumnElement[bool]:
    g = generations.c
    return and_(g.batch == doubt.batch, g.row_key == doubt.row_key, g.generation == doubt.generation)


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
    answer = Answer(
        batch=item.doubt.batch,
        row_key=item.doubt.row_key,
        run_id=item.doubt.run_id,
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
    return True


def rate(connection: Connection, batch: Batch, estimate: Callable[[Request], int | None]) -> int:
    """Requests of unknown rate that have, or may have, cost something count with `estimate` from now on.

    It answers with the credits of a request, or None where they are still not known.

    Returns:
        How many requests that was.
    """
    g, a = generations.c, attempts.c
    own = and_(g.batch == a.batch, g.row_key == a.row_key, g.generation == a.generation)
    may_cost = or_(a.video_id.is_not(None), a.outcome.is_(None), a.outcome == Ending.IN_DOUBT.value)
    query = (
        select(a.token, a.run_id, *(g[name] for name in REQUEST_COLUMNS))
        .select_from(attempts.join(generations, own))
        .where(a.batch == batch, a.unrated, a.credits_charged.is_(None), a.credits_final.is_(None), may_cost)
    )
    found = [
        (Token(token), RunId(run), estimate(Request(*asked))) for token, run, *asked in connection.execute(query)
    ]
    sums, rated = BalanceChanges(), {token: (run, known) for token, run, known in found if known is not None}
    for token, before in known_attempts(connection, rated).items():
        run_id, credits_ = rated[token]
        counted = {"credits_reserved": credits_, "unrated": False}
        connection.execute(update(attempts).where(a.token == token).values(counted))
        own_row = and_(g.batch == batch, g.token == token)
        connection.execute(update(generations).where(own_row).values(credits_estimated=credits_))
        sums.add(batch, run_id, before, before._replace(reserved=credits_, unrated=False))
    sums.write(connection)
    return len(rated)
