"""The order of writes around a create: intent before the request leaves, answer before the row counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Integer, bindparam, func, insert, select, update

from reelbatch.domain import Batch, ClaimedRow, RowKey, RunId, Token, VideoId
from reelbatch.errors import LedgerError, StateConflict
from reelbatch.ledger.books import Attempted, Ending, Sums, known_attempts
from reelbatch.ledger.moves import DOUBTFUL, NOT_CREATED, REJECTED, RETRY, SEND, SUBMITTED, WITHDRAWN, Move
from reelbatch.ledger.schema import attempts, batches, results

__all__ = ["Admission", "Answer", "Ending", "Intent", "record_answers", "record_intents"]

_LARGEST_NUMBER = 2**31 - 1  # of an INTEGER column in Postgres


class Admission(StrEnum):
    """Whether an intent was recorded."""

    ADMITTED = "admitted"
    OVER_CAP = "over_cap"
    UNKNOWN_RATE = "unknown_rate"  # a cap is set and nobody knows what this row costs


@dataclass(frozen=True, slots=True)
class Intent:
    """What is on disk before a request leaves."""

    row: ClaimedRow
    run_id: RunId
    token: Token
    at: datetime
    max_credits: int | None

    @property
    def reserve(self) -> int:
        """Credits held back until the answer is known."""
        return self.row.credits_estimated or 0


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
    status: int | None = None
    video_id: VideoId | None = None
    credits_charged: int | None = None
    estimated_frame_cost: int | None = None
    code: str | None = None
    message: str | None = None
    raw_body: str | None = None

    @property
    def cost(self) -> int:
        """Credits that this attempt has, or may have, cost."""
        if self.ending is Ending.SUBMITTED:
            return self.reserved if self.credits_charged is None else self.credits_charged
        return self.reserved if self.ending is Ending.IN_DOUBT else 0


def record_intents(connection: Connection, items: Sequence[Intent]) -> list[Admission]:
    """Reserve credits and move rows to `sending`, or say why not.

    Raises:
        StateConflict: a row was no longer claimed by this run.
    """
    admissions = _reserve(connection, items)
    admitted = [item for item, answer in zip(items, admissions, strict=True) if answer is Admission.ADMITTED]
    if admitted:
        _execute_all(connection, _SEND, [_send_values(item) for item in admitted])
        connection.execute(insert(attempts), [_attempt_values(item) for item in admitted])
    return admissions


def record_answers(connection: Connection, items: Sequence[Answer]) -> list[bool]:
    """Write what the API answered; the attempt keeps it even where the row has moved on.

    Answers may come late or twice: an id that is known is never taken back, and no credit counts twice.

    Returns:
        For each item whether its row took it up; False where the row was resolved in another way meanwhile.
    """
    answers = [_storable(item) for item in items]
    known = known_attempts(connection, [item.token for item in answers])
    sums = Sums()
    news = []
    for item in answers:
        before = known.get(item.token)
        after = _answered(before, item)
        news.append(after is not None)
        if after is not None:
            _keep(connection, item, before, after)
            sums.add(item.batch, item.run_id, before, after)
            known[item.token] = after
    sums.write(connection)
    return [new and _move_row(connection, item) for item, new in zip(answers, news, strict=True)]


def _storable(item: Answer) -> Answer:
    """`item` as any database can keep it: half characters, NUL and endless numbers must not cost us the id."""
    return replace(
        item,
        status=_number(item.status),
        video_id=None if item.video_id is None else VideoId(_text(item.video_id)),
        credits_charged=_number(item.credits_charged),
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
    known = before or Attempted(item.reserved)
    doubted_late = item.ending is Ending.IN_DOUBT and not known.open
    if item.video_id is None and (known.video_id is not None or doubted_late):
        return None
    charged = known.charged if item.credits_charged is None else item.credits_charged
    return known._replace(outcome=item.ending.value, video_id=item.video_id, charged=charged)


def _keep(connection: Connection, item: Answer, before: Attempted | None, after: Attempted) -> None:
    if before is None:  # a table restored from a backup knows nothing of it; the id is kept all the same
        begun = {"started_at": item.at, "credits_reserved": item.reserved}
        mark = {"token": item.token, "batch": item.batch, "row_key": item.row_key, "run_id": item.run_id}
        connection.execute(insert(attempts).values(mark | begun))
    elif before.video_id not in {None, item.video_id}:
        item = replace(item, message=f"in place of video {before.video_id}, which was stated before")
    connection.execute(_CLOSE_ATTEMPT, {**_closing_values(item), "b_charged": after.charged})


_WHERE_ROW = (results.c.batch == bindparam("b_batch"), results.c.row_key == bindparam("b_row_key"))

_SEND = (
    update(results)
    .where(*_WHERE_ROW, results.c.run_id == bindparam("b_run_id"), SEND.expected)
    .values(state=SEND.target, token=bindparam("b_token"), attempts=results.c.attempts + 1)
)


def _send_values(item: Intent) -> dict[str, Any]:
    row = item.row
    return {"b_batch": row.batch, "b_row_key": row.row_key, "b_run_id": item.run_id, "b_token": item.token}


def _attempt_values(item: Intent) -> dict[str, Any]:
    return {
        "token": item.token,
        "batch": item.row.batch,
        "row_key": item.row.row_key,
        "run_id": item.run_id,
        "started_at": item.at,
        "credits_reserved": item.reserve,
    }


def _reserve(connection: Connection, items: Sequence[Intent]) -> list[Admission]:
    """Admit in order as many as the cap allows; the batch's row is locked until the commit.

    Raises:
        LedgerError: a cap is set, and the batch has no entry to count against.
    """
    admissions: list[Admission] = []
    committed: dict[Batch, int | None] = {}
    sums = Sums()
    for item in items:
        batch = item.row.batch
        if batch not in committed:
            locked = select(batches.c.committed).where(batches.c.batch == batch).with_for_update()
            committed[batch] = connection.scalar(locked)
        admission = _admit(item, committed[batch])
        admissions.append(admission)
        if admission is Admission.ADMITTED:
            committed[batch] = (committed[batch] or 0) + item.reserve
            sums.add(batch, item.run_id, None, Attempted(item.reserve))
    sums.write(connection)
    return admissions


def _admit(item: Intent, committed: int | None) -> Admission:
    if item.max_credits is None:
        return Admission.ADMITTED
    if committed is None:
        raise LedgerError(f'batch "{item.row.batch}" has no entry in `batches` that a cap could be counted against')
    if item.row.credits_estimated is None:
        return Admission.UNKNOWN_RATE
    return Admission.ADMITTED if committed + item.reserve <= item.max_credits else Admission.OVER_CAP


def _execute_all(connection: Connection, statement: Any, values: list[dict[str, Any]]) -> None:
    changed = connection.execute(statement, values).rowcount
    if changed != len(values):
        raise StateConflict(f"{len(values) - changed} of {len(values)} rows were not in the state expected")


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
    )
)


def _closing_values(item: Answer) -> dict[str, Any]:
    return {
        "b_token": item.token,
        "b_at": item.at,
        "b_outcome": item.ending.value,
        "b_status": item.status,
        "b_message": item.message,
        "b_raw": item.raw_body,
        "b_video_id": item.video_id,
    }


def _moving(move: Move, **values: Any) -> Any:
    """An UPDATE that only takes up the answer to the row's own latest attempt."""
    own = results.c.token == bindparam("b_token")
    return update(results).where(*_WHERE_ROW, own, move.expected).values(state=move.target, **values)


_FAILURE: Mapping[str, Any] = {"error_code": bindparam("b_code"), "error_message": bindparam("b_message")}
_MOVES: Mapping[Ending, Any] = {
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
_LATE_MOVES: Mapping[Ending, Any] = {
    Ending.RETRY: _moving(NOT_CREATED, **_FAILURE),
    Ending.HALTED: _moving(NOT_CREATED, **_FAILURE),
    Ending.WITHDRAWN: _moving(NOT_CREATED, error_code=None, error_message=None),
}


_COMPLETE_FIGURES = (
    update(results)
    .where(*_WHERE_ROW, results.c.token == bindparam("b_token"), results.c.video_id == bindparam("b_video_id"))
    .values(
        credits_charged=func.coalesce(bindparam("b_charged", type_=Integer), results.c.credits_charged),
        estimated_frame_cost=func.coalesce(bindparam("b_frame_cost", type_=Integer), results.c.estimated_frame_cost),
    )
)


def _move_row(connection: Connection, item: Answer) -> bool:
    values = _row_values(item)
    if connection.execute(_MOVES[item.ending], values).rowcount == 1:
        return True
    if item.ending is Ending.SUBMITTED:  # an event was faster; only the answer knows these figures
        del values["b_at"]
        return connection.execute(_COMPLETE_FIGURES, values).rowcount == 1
    late = _LATE_MOVES.get(item.ending)
    return late is not None and connection.execute(late, values).rowcount == 1


def _row_values(item: Answer) -> dict[str, Any]:
    values: dict[str, Any] = {"b_batch": item.batch, "b_row_key": item.row_key, "b_token": item.token}
    if item.ending is Ending.SUBMITTED:
        values |= {"b_video_id": item.video_id, "b_charged": item.credits_charged, "b_at": item.at}
        values |= {"b_frame_cost": item.estimated_frame_cost}
    elif item.ending is not Ending.WITHDRAWN:
        values |= {"b_code": item.code, "b_message": item.message}
    return values
