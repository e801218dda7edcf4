"""What came of requests: the answer is on disk before the row counts as done."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Integer, Text, bindparam, func, insert, select, update

from reelbatch.domain import Batch, RowKey, RowState, RunId, Token, VideoId
from reelbatch.domain.money import figure
from reelbatch.failpoints import point
from reelbatch.ledger import accounts, earlier_attempts, paid_requests
from reelbatch.ledger.accounting import Attempted, BalanceChanges, Ending, known_attempts
from reelbatch.ledger.earlier_attempts import Line
from reelbatch.ledger.paid_requests import Owner
from reelbatch.ledger.schema import attempts, generations
from reelbatch.ledger.transitions import (
    DOUBTFUL,
    NOT_CREATED,
    REFUSED_LATE,
    REJECTED,
    RETRY,
    SUBMITTED,
    THIS_ROW,
    WITHDRAWN,
    Move,
    execute_each,
)

__all__ = ["Answer", "Ending", "record_answers"]
_LARGEST_NUMBER = 2**31 - 1  # of an INTEGER column in Postgres


@dataclass(frozen=True, slots=True)
class Answer:
    """What is on disk before a row counts as done."""

    batch: Batch
    row_key: RowKey
    run_id: RunId
    token: Token
    at: datetime
    ending: Ending
    reserved: int
    generation: int = 1
    status: int | None = None
    video_id: VideoId | None = None
    credits_charged: int | None = None
    estimated_frame_cost: int | None = None
    code: str | None = None
    message: str | None = None
    raw_body: str | None = None
    odd_figure: str | None = None  # why the API's figure was not believed

    @property
    def cost(self) -> int:
        """Credits that this attempt has, or may have, cost: the larger of what was reserved and what was answered."""
        if self.ending is Ending.SUBMITTED:
            return max(self.reserved, self.credits_charged or 0)
        return self.reserved if self.ending is Ending.IN_DOUBT else 0


def record_answers(connection: Connection, items: Sequence[Answer]) -> list[bool]:
    """Write what the API answered; the attempt keeps it even where the row has moved on.

    Answers may come late or twice: an id that is known is never taken back, and no credit counts twice.

    Returns:
        For each item whether its row took it up; False where the row was resolved in another way meanwhile.
    """
    point("table.answers.write")
    answers = [_storable(item) for item in items]
    return [moved for part in _without_repeats(answers) for moved in _record_answers(connection, part)]


def _without_repeats(answers: Sequence[Answer]) -> Iterator[list[Answer]]:
    """Parts in which no attempt is answered twice, so that each part can be written set by set."""
    part: list[Answer] = []
    tokens: set[Token] = set()
    for item in answers:
        if item.token in tokens:
            yield part
            part, tokens = [], set()
        part.append(item)
        tokens.add(item.token)
    if part:
        yield part


def _record_answers(connection: Connection, items: Sequence[Answer]) -> list[bool]:
    known = known_attempts(connection, [item.token for item in items])
    shared = paid_requests.owners(connection, items)
    sums = BalanceChanges()
    news = []
    begun, closed = [], []
    for item in items:
        before = known.get(item.token)
        after = _answered(before, item)
        news.append(after is not None)
        if after is not None:
            if before is None:  # a table restored from a backup knows nothing of it; the id is kept all the same
                begun.append(_begun_values(item))
            values = {**_closing_values(item, before), "b_charged": after.charged}
            closed.append(values | _shared_values(item, values["b_message"], shared.get(item.token)))
            sums.add(item.batch, item.run_id, before, after)
    if begun:
        connection.execute(insert(attempts), begun)
    if closed:
        connection.execute(_CLOSE_ATTEMPT, closed)
    told = [item for item, new in zip(items, news, strict=True) if new]
    moved = _move_rows(connection, told)
    moved |= _accept_earlier(connection, told, moved)
    _follow_beside(connection, [item for item in told if item.token not in moved])
    sums.write(connection)
    charged = {item.token: item.credits_charged for item in items if item.ending is Ending.SUBMITTED}
    accounts.see_charged(connection, {token: said for token, said in charged.items() if said is not None})
    return [new and item.token in moved for item, new in zip(items, news, strict=True)]


def _storable(item: Answer) -> Answer:
    """`item` as any database can keep it: half characters, NUL and endless numbers must not cost us the id."""
    charged = figure(item.credits_charged)
    odd = item.odd_figure if item.credits_charged is None else charged.odd
    return replace(
        item,
        status=_number(item.status),
        video_id=None if item.video_id is None else VideoId(_text(item.video_id)),
        credits_charged=charged.credits,
        odd_figure=odd,
        estimated_frame_cost=_number(item.estimated_frame_cost),
        code=None if item.code is None else _text(item.code),
        message=None if item.message is None else _text(item.message),
        raw_body=None if item.raw_body is None else _text(item.raw_body),
    )


def _text(value: str) -> str:
    return value.replace("\x00", "").encode("utf-8", "backslashreplace").decode()


def _number(value: int | None) -> int | None:
    return None if value is None or abs(value) > _LARGEST_NUMBER else value


def _answered(before: Attempted | None, item: Answer) -> Attempted | None:
    """What is known of the attempt now; None where this answer adds nothing to it."""
    known = before or Attempted(item.reserved, at=item.at)
    doubted_late = item.ending is Ending.IN_DOUBT and not known.open
    if item.video_id is None and (known.video_id is not None or doubted_late):
        return None
    charged = known.charged if item.credits_charged is None else item.credits_charged
    return known._replace(outcome=item.ending.value, video_id=item.video_id, charged=charged)


_CLOSE_ATTEMPT = (
    update(attempts)
    .where(attempts.c.token == bindparam("b_token"))
    .values(
        ended_at=bindparam("b_at"),
        outcome=bindparam("b_outcome"),
        http_status=bindparam("b_status"),
        message=bindparam("b_message"),
        raw_body=bindparam("b_raw"),
        video_id=bindparam("b_video_id"),
        credits_charged=bindparam("b_charged"),
        same_as=bindparam("b_same_as"),
        odd_figure=func.coalesce(bindparam("b_odd", type_=Text), attempts.c.odd_figure),
    )
)


def _shared_values(item: Answer, message: str | None, owner: Owner | None) -> dict[str, Any]:
    """Where another attempt has the id too, that is said; the id is kept all the same."""
    if owner is None:
        return {"b_same_as": None}
    return {
        "b_same_as": owner.token,
        "b_message": "; ".join(filter(None, [message, owner.note(item.video_id)])),
    }


def _begun_values(item: Answer) -> dict[str, Any]:
    mark = {"token": item.token, "batch": item.batch, "row_key": item.row_key, "run_id": item.run_id}
    return {**mark, "started_at": item.at, "credits_reserved": item.reserved, "generation": item.generation}


def _closing_values(item: Answer, before: Attempted | None) -> dict[str, Any]:
    message = item.message
    if before is not None and before.video_id not in {None, item.video_id}:
        message = f"in place of video {before.video_id}, which was stated before"
    return {
        "b_token": item.token,
        "b_at": item.at,
        "b_outcome": item.ending.value,
        "b_status": item.status,
        "b_message": message,
        "b_raw": item.raw_body,
        "b_video_id": item.video_id,
        "b_odd": item.odd_figure,
    }


@dataclass(frozen=True, slots=True)
class _Change:
    """A move, and the UPDATE that makes it; it only accepts the answer to the row's own latest attempt."""

    move: Move
    statement: Any


def _moving(move: Move, **values: Any) -> _Change:
    own = generations.c.token == bindparam("b_token")
    return _Change(move, move.update(*THIS_ROW, own).values(**values))


_FAILURE: Mapping[str, Any] = {"error_code": bindparam("b_code"), "error_message": bindparam("b_message")}
_MOVES: Mapping[Ending, _Change] = {
    Ending.SUBMITTED: _moving(
        SUBMITTED,
        video_id=bindparam("b_video_id"),
        credits_charged=bindparam("b_charged"),
        estimated_frame_cost=bindparam("b_frame_cost"),
        submitted_at=bindparam("b_at"),
        due_at=bindparam("b_at"),
        error_code=None,
        error_message=None,
        rerun_wanted=False,
    ),
    Ending.RETRY: _moving(RETRY, **_FAILURE),
    Ending.REJECTED: _moving(REJECTED, **_FAILURE, rerun_wanted=False),
    Ending.IN_DOUBT: _moving(DOUBTFUL, **_FAILURE),
    Ending.HALTED: _moving(WITHDRAWN, **_FAILURE),
    Ending.WITHDRAWN: _moving(WITHDRAWN),
}

# The worker was taken for dead, and answered after all: surely not created, so the row is in doubt no longer.
_LATE_MOVES: Mapping[Ending, _Change] = {
    Ending.RETRY: _moving(NOT_CREATED, **_FAILURE),
    Ending.REJECTED: _moving(REFUSED_LATE, **_FAILURE, rerun_wanted=False),
    Ending.HALTED: _moving(NOT_CREATED, **_FAILURE),
    Ending.WITHDRAWN: _moving(NOT_CREATED, error_code=None, error_message=None),
}
_COMPLETE_FIGURES = (
    update(generations)
    .where(*THIS_ROW, generations.c.token == bindparam("b_token"), generations.c.video_id == bindparam("b_video_id"))
    .values(
        credits_charged=func.coalesce(bindparam("b_charged", type_=Integer), generations.c.credits_charged),
        estimated_frame_cost=func.coalesce(
            bindparam("b_frame_cost", type_=Integer), generations.c.estimated_frame_cost
        ),
    )
)
_r = generations.c
_ROWS_OF_TOKENS = (
    select(_r.token, _r.batch, _r.row_key, _r.generation, _r.state, _r.video_id)
    .where(_r.token.in_(bindparam("tokens", expanding=True)))
    .order_by(_r.batch, _r.row_number)  # everybody locks in this order
    .with_for_update()
)


def _move_rows(connection: Connection, items: Sequence[Answer]) -> set[Token]:
    """Bring answers into their rows, kind by kind; returns the tokens of those that accepted them."""
    rows = connection.execute(_ROWS_OF_TOKENS, {"tokens": [item.token for item in items]})
    found = {token: row for token, *row in rows}
    changes: dict[int, tuple[Any, list[dict[str, Any]]]] = {}
    moved = set()
    for item in items:
        row = found.get(item.token)
        if row is None or tuple(row[:3]) != (item.batch, item.row_key, item.generation):
            continue
        statement = _change(item, RowState(row[3]), row[4])
        if statement is not None:
            values = _row_values(item)
            if statement is _COMPLETE_FIGURES:
                del values["b_at"]
            changes.setdefault(id(statement), (statement, []))[1].append(values)
            moved.add(item.token)
    for statement, values_of in changes.values():
        execute_each(connection, statement, values_of)
    return moved


def _accept_earlier(connection: Connection, items: Sequence[Answer], moved: Collection[Token]) -> set[Token]:
    """Ids that are not of their rows' last attempts, or that were there before the last one was refused."""
    lines = {
        Line(item.batch, item.row_key, item.generation): item.at
        for item in items
        if item.ending is not Ending.IN_DOUBT and not (item.ending is Ending.SUBMITTED and item.token in moved)
    }
    return earlier_attempts.accept(connection, lines)


_FOLLOW = (
    update(attempts)
    .where(
        attempts.c.token == bindparam("b_token"),
        attempts.c.credits_final.is_(None),
        attempts.c.refund_due_at.is_(None),
    )
    .values(refund_due_at=bindparam("b_at"))
)


def _follow_beside(connection: Connection, items: Sequence[Answer]) -> None:
    """Videos that no row accepted are looked at for what they cost: where a refund is looked for."""
    paid = [{"b_token": item.token, "b_at": item.at} for item in items if item.ending is Ending.SUBMITTED]
    if paid:
        connection.execute(_FOLLOW, paid)


def _change(item: Answer, state: RowState, video_id: str | None) -> Any:
    """The UPDATE by which a row in `state` accepts `item`; None where it does not."""
    for changes in (_MOVES, _LATE_MOVES):
        if (change := changes.get(item.ending)) is not None and state in change.move.sources:
            return change.statement
    if item.ending is Ending.SUBMITTED and video_id == item.video_id:
        return _COMPLETE_FIGURES  # an event was faster; only the answer knows these figures
    return None


def _row_values(item: Answer) -> dict[str, Any]:
    values: dict[str, Any] = {"b_batch": item.batch, "b_row_key": item.row_key, "b_generation": item.generation}
    values["b_token"] = item.token
    if item.ending is Ending.SUBMITTED:
        values |= {"b_video_id": item.video_id, "b_charged": item.credits_charged, "b_at": item.at}
        values |= {"b_frame_cost": item.estimated_frame_cost}
    elif item.ending is not Ending.WITHDRAWN:
        values |= {"b_code": item.code, "b_message": item.message}
    return values
