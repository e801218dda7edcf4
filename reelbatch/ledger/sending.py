"""The order of writes around a create: intent before the request leaves, answer before the row counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from reelbatch.domain import Batch, ClaimedRow, RowKey, RunId, Token, VideoId
from reelbatch.errors import StateConflict
from reelbatch.ledger.moves import DOUBTFUL, REJECTED, RETRY, SEND, SUBMITTED, WITHDRAWN, Move
from reelbatch.ledger.schema import attempts, batches, results, runs


class Admission(StrEnum):
    """Whether an intent was recorded."""

    ADMITTED = "admitted"
    OVER_CAP = "over_cap"
    UNKNOWN_RATE = "unknown_rate"  # a cap is set and nobody knows what this row costs


class Ending(StrEnum):
    """How an attempt ended, as the table keeps it."""

    SUBMITTED = "submitted"
    RETRY = "retry"
    REJECTED = "rejected"
    IN_DOUBT = "in_doubt"
    HALTED = "halted"
    WITHDRAWN = "withdrawn"  # the request never left


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

    Returns:
        For each item whether its row took it up; False where the row was resolved in another way meanwhile.
    """
    connection.execute(_CLOSE_ATTEMPT, [_closing_values(item) for item in items])
    _account(connection, items)
    return [connection.execute(_MOVES[item.ending], _row_values(item)).rowcount == 1 for item in items]


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
    """Admit in order as many as the cap allows; the batch's row is locked until the commit."""
    admissions: list[Admission] = []
    reserved: dict[RunId, int] = {}
    for batch, members in groupby(items, key=lambda item: item.row.batch):
        locked = select(batches.c.committed).where(batches.c.batch == batch).with_for_update()
        committed = before = connection.scalar(locked) or 0
        for item in members:
            admission = _admit(item, committed)
            admissions.append(admission)
            if admission is Admission.ADMITTED:
                committed += item.reserve
                reserved[item.run_id] = reserved.get(item.run_id, 0) + item.reserve
        if committed != before:
            connection.execute(update(batches).where(batches.c.batch == batch).values(committed=committed))
    for run_id, credits_ in reserved.items():
        _add_to_run(connection, run_id, reserved=credits_)
    return admissions


def _admit(item: Intent, committed: int) -> Admission:
    if item.max_credits is None:
        return Admission.ADMITTED
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
        "b_charged": item.credits_charged,
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


def _row_values(item: Answer) -> dict[str, Any]:
    values: dict[str, Any] = {"b_batch": item.batch, "b_row_key": item.row_key, "b_token": item.token}
    if item.ending is Ending.SUBMITTED:
        values |= {"b_video_id": item.video_id, "b_charged": item.credits_charged, "b_at": item.at}
        values |= {"b_frame_cost": item.estimated_frame_cost}
    elif item.ending is not Ending.WITHDRAWN:
        values |= {"b_code": item.code, "b_message": item.message}
    return values


def _account(connection: Connection, items: Sequence[Answer]) -> None:
    """Turn reservations into what was charged, or give them back."""
    totals: dict[Batch, int] = {}
    spent: dict[RunId, tuple[int, int]] = {}
    for item in items:
        totals[item.batch] = totals.get(item.batch, 0) + item.cost - item.reserved
        reserved, cost = spent.get(item.run_id, (0, 0))
        kept = item.reserved if item.ending is Ending.IN_DOUBT else 0
        charged = item.cost if item.ending is Ending.SUBMITTED else 0
        spent[item.run_id] = (reserved + kept - item.reserved, cost + charged)
    for batch, change in totals.items():
        if change:
            more = batches.c.committed + change
            connection.execute(update(batches).where(batches.c.batch == batch).values(committed=more))
    for run_id, (reserved, cost) in spent.items():
        _add_to_run(connection, run_id, reserved=reserved, spent=cost)


def _add_to_run(connection: Connection, run_id: RunId, *, reserved: int = 0, spent: int = 0) -> None:
    if reserved or spent:
        connection.execute(
            update(runs)
            .where(runs.c.run_id == run_id)
            .values(reserved=runs.c.reserved + reserved, spent=runs.c.spent + spent)
        )
