"""The order of writes around a create: intent before the request leaves, answer before the row counts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Connection, Integer, Text, bindparam, func, insert, select, update

from reelbatch.domain import Batch, ClaimedRow, RowKey, RowState, RunId, Token, VideoId
from reelbatch.domain.money import figure
from reelbatch.errors import LedgerError, StateConflict
from reelbatch.failpoints import point
from reelbatch.ledger import prices, shared_ids, shared_limits
from reelbatch.ledger.accounting import Attempted, BalanceChanges, Ending, known_attempts
from reelbatch.ledger.paid_requests import HELD_CODE, PaidAs, explanation, paid_elsewhere, serialize
from reelbatch.ledger.schema import attempts, batches, generations
from reelbatch.ledger.selection import RepeatPolicy
from reelbatch.ledger.shared_ids import Owner
from reelbatch.ledger.transitions import (
    DOUBTFUL,
    NOT_CREATED,
    REFUSED_LATE,
    REJECTED,
    RELEASE,
    RETRY,
    SEND,
    SUBMITTED,
    WITHDRAWN,
    Move,
)

__all__ = ["Admission", "Answer", "Asked", "Ending", "Intent", "Ruling", "Window", "record_answers", "record_intents"]

_LARGEST_NUMBER = 2**31 - 1  # of an INTEGER column in Postgres


class Admission(StrEnum):
    """Whether an intent was recorded."""

    ADMITTED = "admitted"
    OVER_CAP = "over_cap"
    UNKNOWN_RATE = "unknown_rate"  # a cap is set and nobody knows what this row costs
    UNKNOWN_COST = "unknown_cost"  # a cap is set, and nobody knows what earlier requests of the batch have cost
    DRIFTED = "drifted"  # such videos cost more than estimated, and the run is to stop at that
    WAIT = "wait"  # another request of the batch has to be answered first: a price is found out, or the cap is near
    WINDOW_FULL = "window_full"  # as many videos are unfinished as may be
    HELD = "held"  # the request is paid for under another name; the row waits, and says so


class Ruling(NamedTuple):
    """What an intent was told, and the credits that are held back for it."""

    admission: Admission
    reserved: int = 0


@dataclass(frozen=True, slots=True)
class Window:
    """At most `limit` videos of one API may be unfinished, counting those of all workers."""

    api: str
    limit: int


class Asked(NamedTuple):
    """What is sent, whatever it is called: by it the same request is known again, and an image that was replaced."""

    request_sha256: str | None = None
    image_sha256: str | None = None
    image_stat: str | None = None
    image_bytes: int | None = None


_NOTHING_KNOWN = Asked()


@dataclass(frozen=True, slots=True)
class Intent:
    """What is on disk before a request leaves."""

    row: ClaimedRow
    run_id: RunId
    token: Token
    at: datetime
    max_credits: int | None
    window: Window | None = None
    asked: Asked = _NOTHING_KNOWN
    repeats: RepeatPolicy = RepeatPolicy.HOLD
    halts_on_drift: bool = False

    @property
    def reserve(self) -> int:
        """Credits held back until the answer is known, by the table of models; more where more was seen."""
        return self.row.credits_estimated or 0

    @property
    def is_unrated(self) -> bool:
        """Whether nobody knows what it costs."""
        return self.row.credits_estimated is None


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


def record_intents(connection: Connection, items: Sequence[Intent]) -> list[Ruling]:
    """Reserve credits and move rows to `sending`, or say why not.

    Raises:
        StateConflict: a row was no longer claimed by this run.
    """
    held = _hold(connection, items)
    reserved = iter(_reserve(connection, [item for item in items if item.token not in held]))
    rulings = [Ruling(Admission.HELD) if item.token in held else next(reserved) for item in items]
    told = zip(items, rulings, strict=True)
    admitted = [(item, ruling) for item, ruling in told if ruling.admission is Admission.ADMITTED]
    if admitted:
        _execute_all(connection, _SEND, [_send_values(item) for item, _ in admitted])
        connection.execute(insert(attempts), [_attempt_values(item, ruling.reserved) for item, ruling in admitted])
    point("table.intents.write")
    return rulings


def _hold(connection: Connection, items: Sequence[Intent]) -> set[Token]:
    """Rows whose requests are paid for under another name wait, and name it; answers with their tokens."""
    asking: dict[Batch, dict[Token, Intent]] = {}
    for item in items:
        if item.repeats is not RepeatPolicy.SEND and item.asked.request_sha256 is not None:
            asking.setdefault(item.row.batch, {})[item.token] = item
    hashes = [item.asked.request_sha256 for some in asking.values() for item in some.values()]
    serialize(connection, filter(None, hashes))
    held: dict[Token, dict[str, Any]] = {}
    for batch, some in asking.items():
        paid = paid_elsewhere(connection, batch, {item.asked.request_sha256 or "" for item in some.values()})
        found = ((item, paid.get(item.asked.request_sha256 or "")) for item in some.values())
        held |= {item.token: {**_key_values(item.row), **_held_values(item, of)} for item, of in found if of}
    if held:
        _execute_all(connection, _HOLD, list(held.values()))
    return set(held)


def _held_values(item: Intent, paid: PaidAs) -> dict[str, Any]:
    return {"b_run_id": item.run_id, "b_mark": paid.mark, "b_message": explanation(paid.mark)}


def _key_values(row: ClaimedRow) -> dict[str, Any]:
    return {"b_batch": row.batch, "b_row_key": row.row_key, "b_generation": row.generation}


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
    shared = shared_ids.owners(connection, items)
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
    moved = _move_rows(connection, [item for item, new in zip(items, news, strict=True) if new])
    sums.write(connection)
    charged = {item.token: item.credits_charged for item in items if item.ending is Ending.SUBMITTED}
    prices.see_charged(connection, {token: said for token, said in charged.items() if said is not None})
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
    known = before or Attempted(item.reserved)
    doubted_late = item.ending is Ending.IN_DOUBT and not known.open
    if item.video_id is None and (known.video_id is not None or doubted_late):
        return None
    charged = known.charged if item.credits_charged is None else item.credits_charged
    return known._replace(outcome=item.ending.value, video_id=item.video_id, charged=charged)


_WHERE_ROW = (
    generations.c.batch == bindparam("b_batch"),
    generations.c.row_key == bindparam("b_row_key"),
    generations.c.generation == bindparam("b_generation"),
)

_OWN_CLAIM = (*_WHERE_ROW, generations.c.run_id == bindparam("b_run_id"))
_SAME_REQUEST = generations.c.fingerprint == bindparam("b_fingerprint")
"""Claimed anew meanwhile, the row may ask for something else."""
_SEND = SEND.update(*_OWN_CLAIM, _SAME_REQUEST).values(
    token=bindparam("b_token"),
    attempts=generations.c.attempts + 1,
    paid_as=None,
    request_sha256=bindparam("b_request_sha256"),
    image_sha256=bindparam("b_image_sha256"),
    image_stat=func.coalesce(bindparam("b_image_stat", type_=Text), generations.c.image_stat),
    image_bytes=func.coalesce(bindparam("b_image_bytes", type_=BigInteger), generations.c.image_bytes),
)

_HOLD = RELEASE.update(*_OWN_CLAIM).values(
    paid_as=bindparam("b_mark"),
    error_code=HELD_CODE,
    error_message=bindparam("b_message"),
)


def _send_values(item: Intent) -> dict[str, Any]:
    row = item.row
    own = {"b_run_id": item.run_id, "b_token": item.token, "b_fingerprint": row.fingerprint}
    asked = {f"b_{name}": value for name, value in item.asked._asdict().items()}
    return {**_key_values(row), **own, **asked}


def _attempt_values(item: Intent, reserved: int) -> dict[str, Any]:
    return {
        "token": item.token,
        "batch": item.row.batch,
        "row_key": item.row.row_key,
        "run_id": item.run_id,
        "started_at": item.at,
        "credits_reserved": reserved,
        "unrated": item.is_unrated,
        "generation": item.row.generation,
    }


def _reserve(connection: Connection, items: Sequence[Intent]) -> list[Ruling]:
    """Admit in order as many as the cap allows; the batch's row is locked until the commit where there is a cap.

    Raises:
        LedgerError: a cap is set, and the batch has no entry to count against.
    """
    rulings: list[Ruling] = []
    capped = {item.row.batch for item in items if item.max_credits is not None}
    standing = {batch: _standing(connection, batch) for batch in sorted(capped)}
    windows = {item.window for item in items if item.window is not None}
    free = {window: _free(connection, window) for window in windows}
    sums = BalanceChanges()
    for item in items:
        batch = item.row.batch
        ruling = _admit(item, standing.get(batch), free)
        rulings.append(ruling)
        if ruling.admission is Admission.ADMITTED:
            if item.window is not None:
                free[item.window] -= 1
            sums.add(batch, item.run_id, None, Attempted(ruling.reserved, unrated=item.is_unrated))
    sums.write(connection)
    return rulings


class _Standing:
    """What a batch under a cap has cost and has under way. Credits are integers."""

    def __init__(self, connection: Connection, batch: Batch, found: Any) -> None:
        self.committed: int = found.committed
        self.in_flight: int = found.reserved
        self.unknown: int = found.unknown  # requests that `committed` leaves out: nobody knows what they cost
        self._connection = connection
        self._batch = batch
        self._payer: tuple[str, str] = (found.api, found.payer)
        self._is_probing: bool = found.probe_at_work
        self._prices: dict[prices.PriceClass, prices.Price] = {}

    def price(self, row: ClaimedRow) -> prices.Price:
        """What was seen of the row's price class."""
        wanted = prices.class_of(*self._payer, row.request)
        if wanted not in self._prices:
            self._prices[wanted] = prices.find(self._connection, wanted)
        return self._prices[wanted]

    def must_wait(self, cap: int, price: prices.Price) -> bool:
        """A price that was not seen is found out by one row at a time; near the cap, all rows go one at a time."""
        if not price.is_fresh and self._is_probing:
            return True
        return self.in_flight > 0 and cap - self.committed < 2 * self.in_flight

    def take(self, item: Intent, price: prices.Price, reserve: int) -> None:
        """The row is admitted; where its price was not seen, it is the one that finds it out."""
        self.committed += reserve
        self.in_flight += reserve
        if not price.is_fresh:
            self._is_probing = True
            entry = update(batches).where(batches.c.batch == self._batch)
            self._connection.execute(entry.values(probe=item.token))


_AT_WORK = select(attempts.c.token).where(attempts.c.token == batches.c.probe, attempts.c.outcome.is_(None)).exists()
_STANDING = (
    select(
        batches.c.committed,
        batches.c.reserved,
        batches.c.unknown,
        batches.c.api,
        prices.PAYER.label("payer"),
        _AT_WORK.label("probe_at_work"),
    )
    .where(batches.c.batch == bindparam("b_batch"))
    .with_for_update()
)


def _standing(connection: Connection, batch: Batch) -> _Standing | None:
    """What the batch has cost; nobody else adds to it until the commit."""
    found = connection.execute(_STANDING, {"b_batch": batch}).one_or_none()
    return None if found is None else _Standing(connection, batch, found)


def _free(connection: Connection, window: Window) -> int:
    """Places in the render window; nobody else counts until the commit."""
    shared_limits.lock(connection, window.api)
    return (
        window.limit
        - shared_limits.unfinished(connection, window.api)
        - shared_limits.leaving(connection, window.api)
    )


def _admit(item: Intent, standing: _Standing | None, free: Mapping[Window, int]) -> Ruling:
    if item.window is not None and free[item.window] <= 0:
        return Ruling(Admission.WINDOW_FULL)
    if item.max_credits is None:
        return Ruling(Admission.ADMITTED, item.reserve)
    if standing is None:
        raise LedgerError(f'batch "{item.row.batch}" has no entry in `batches` that a cap could be counted against')
    return _admit_under_cap(item, standing, item.max_credits)


def _admit_under_cap(item: Intent, standing: _Standing, cap: int) -> Ruling:
    if standing.unknown:
        return Ruling(Admission.UNKNOWN_COST)
    if item.is_unrated:
        return Ruling(Admission.UNKNOWN_RATE)
    price = standing.price(item.row)
    reserve = max(item.reserve, price.larger)
    if item.halts_on_drift and (price.settled or 0) > item.reserve:
        admission = Admission.DRIFTED
    elif standing.committed + reserve > cap:
        admission = Admission.OVER_CAP
    elif standing.must_wait(cap, price):
        admission = Admission.WAIT
    else:
        standing.take(item, price, reserve)
        admission = Admission.ADMITTED
    return Ruling(admission, reserve)


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
    """A move, and the UPDATE that makes it; it only takes up the answer to the row's own latest attempt."""

    move: Move
    statement: Any


def _moving(move: Move, **values: Any) -> _Change:
    own = generations.c.token == bindparam("b_token")
    return _Change(move, move.update(*_WHERE_ROW, own).values(**values))


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
    .where(
        *_WHERE_ROW, generations.c.token == bindparam("b_token"), generations.c.video_id == bindparam("b_video_id")
    )
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
    """Bring answers into their rows, kind by kind; answers with the tokens of those that took them up."""
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
        _execute_all(connection, statement, values_of)
    return moved


def _change(item: Answer, state: RowState, video_id: str | None) -> Any:
    """The UPDATE by which a row in `state` takes up `item`; None where it does not."""
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
