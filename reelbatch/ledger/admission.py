"""Whether a request may leave: a cap or budget has to have room for it, and the render window a place.

What is counted here is counted within the transaction that writes the intent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, select, update

from reelbatch.domain import Batch, Budget, ClaimedRow, RunId, Token
from reelbatch.errors import LedgerError
from reelbatch.ledger import accounts, runs
from reelbatch.ledger.accounting import Attempted, BalanceChanges
from reelbatch.ledger.budgets import Purse, Purses
from reelbatch.ledger.schema import attempts, batches
from reelbatch.ledger.selection import RepeatPolicy


class Admission(StrEnum):
    """Whether an intent was recorded."""

    ADMITTED = "admitted"
    OVER_CAP = "over_cap"
    OVER_BUDGET = "over_budget"
    TOO_DEAR = "too_dear"  # the row costs more than the budget of a whole period
    UNKNOWN_RATE = "unknown_rate"  # a cap or budget is set and no one knows what this row costs
    UNKNOWN_COST = "unknown_cost"  # a cap or budget is set, and no one knows what earlier requests have cost
    DRIFTED = "drifted"  # such videos cost more than estimated, and the run is to stop at that
    WAIT = "wait"  # another request of the batch has to be answered first: a price is found out, or the cap is near
    WINDOW_FULL = "window_full"  # as many videos are unfinished as may be
    HELD = "held"  # the request is paid for under another name; the row waits, and says so
    MADE = "made"  # an earlier attempt at the same request has made a video; it is the row's now


class Ruling(NamedTuple):
    """What an intent was told, and the credits that are held back for it, or would have been."""

    admission: Admission
    reserved: int = 0
    room: int = 0  # where it is over cap or budget: the credits that are left


@dataclass(frozen=True, slots=True)
class Window:
    """At most `limit` videos of one account may be unfinished, counting those of all workers."""

    payer: accounts.Payer
    limit: int


class Asked(NamedTuple):
    """What is sent, whatever it is called: by it the same request is known again, and an image that was replaced."""

    request_sha256: str | None = None
    image_sha256: str | None = None
    image_stat: str | None = None
    image_bytes: int | None = None

    @property
    def values(self) -> dict[str, Any]:
        """For a statement's parameters."""
        return {f"b_{name}": value for name, value in self._asdict().items()}


_NOTHING_KNOWN = Asked()


@dataclass(frozen=True, slots=True)
class Intent:
    """What is on disk before a request leaves."""

    row: ClaimedRow
    run_id: RunId
    token: Token
    at: datetime  # by this machine's clock, which counts where the database has none
    max_credits: int | None
    window: Window | None = None
    asked: Asked = _NOTHING_KNOWN
    repeats: RepeatPolicy = RepeatPolicy.HOLD
    halts_on_drift: bool = False
    budget: Budget | None = None

    @property
    def is_bounded(self) -> bool:
        """Whether it may not cost more than a cap or a budget leaves."""
        return self.max_credits is not None or self.budget is not None

    @property
    def reserve(self) -> int:
        """Credits held back until the answer is known, by the table of models; more where more was seen."""
        return self.row.credits_estimated or 0

    @property
    def is_unrated(self) -> bool:
        """Whether no one knows what it costs."""
        return self.row.credits_estimated is None


def reserve(connection: Connection, items: Sequence[Intent]) -> list[Ruling]:
    """Admit in order as many as cap and budget allow; what they are counted against is locked until the commit.

    Raises:
        LedgerError: a cap or budget is set, and there is nothing to count against.
    """
    rulings: list[Ruling] = []
    bounded = {item.row.batch for item in items if item.is_bounded}
    standing = {batch: _standing(connection, batch) for batch in sorted(bounded)}
    windows = {item.window for item in items if item.window is not None}
    free = {window: _free(connection, window) for window in windows}
    sums, purses = BalanceChanges(), Purses(connection)
    for item in items:
        batch = item.row.batch
        ruling = _admit(item, standing.get(batch), free, purses)
        rulings.append(ruling)
        if ruling.admission is Admission.ADMITTED:
            if item.window is not None:
                free[item.window] -= 1
            sums.add(batch, item.run_id, None, Attempted(ruling.reserved, unrated=item.is_unrated, at=item.at))
    sums.write(connection)
    return rulings


class _Standing:
    """What a batch under a cap or budget has cost and has under way. Credits are integers."""

    def __init__(self, connection: Connection, batch: Batch, found: Any) -> None:
        self.batch = batch
        self.worst_case: int = found.worst_case
        self.in_flight: int = found.reserved
        self.unknown: int = found.unknown  # requests that `worst_case` leaves out: no one knows what they cost
        self.api: str = found.api
        self.account: str | None = found.account
        self.is_probing: bool = found.probe_at_work
        self._connection = connection
        self._payer: tuple[str, str] = (found.api, found.payer)
        self._prices: dict[accounts.PriceClass, accounts.Price] = {}

    def price(self, row: ClaimedRow) -> accounts.Price:
        """What was seen of the row's price class."""
        wanted = accounts.class_of(*self._payer, row.request)
        if wanted not in self._prices:
            self._prices[wanted] = accounts.price_of(self._connection, wanted)
        return self._prices[wanted]

    def take(self, item: Intent, price: accounts.Price, reserve: int) -> None:
        """The row is admitted; where its price was not seen, it is the one that finds it out."""
        self.worst_case += reserve
        self.in_flight += reserve
        if not price.is_fresh:
            self.is_probing = True
            entry = update(batches).where(batches.c.batch == self.batch)
            self._connection.execute(entry.values(probe=item.token))


_AT_WORK = select(attempts.c.token).where(attempts.c.token == batches.c.probe, attempts.c.outcome.is_(None)).exists()
_STANDING = select(
    batches.c.worst_case,
    batches.c.reserved,
    batches.c.unknown,
    batches.c.api,
    batches.c.account,
    accounts.PAYER.label("payer"),
    _AT_WORK.label("probe_at_work"),
).where(batches.c.batch == bindparam("b_batch"))


def _standing(connection: Connection, batch: Batch) -> _Standing | None:
    """What the batch has cost; no one else adds to it until the commit.

    It is locked by itself: one statement that waits for the lock would not see the attempts that came meanwhile.
    """
    runs.lock_batch(connection, batch)
    found = connection.execute(_STANDING, {"b_batch": batch}).one_or_none()
    return None if found is None else _Standing(connection, batch, found)


def _free(connection: Connection, window: Window) -> int:
    """Places in the render window; no one else counts until the commit."""
    payer = window.payer
    accounts.lock(connection, payer.api)
    # In this order: a create that is answered between the two looks counts twice, and not at all the other way round.
    leaving = accounts.leaving(connection, payer)
    return window.limit - leaving - accounts.unfinished(connection, payer)


def _admit(item: Intent, standing: _Standing | None, free: Mapping[Window, int], purses: Purses) -> Ruling:
    if item.window is not None and free[item.window] <= 0:
        return Ruling(Admission.WINDOW_FULL)
    if not item.is_bounded:
        return Ruling(Admission.ADMITTED, item.reserve)
    if standing is None:
        raise LedgerError(f'batch "{item.row.batch}" has no entry in `batches` that a cap could be counted against')
    return _admit_within(item, standing, _purse(item, standing, purses))


def _purse(item: Intent, standing: _Standing, purses: Purses) -> Purse | None:
    """What the budget's period has left; None where there is no budget.

    Raises:
        LedgerError: no one knows whose account it is.
    """
    if item.budget is None:
        return None
    if standing.account is None:
        raise LedgerError(f'batch "{item.row.batch}" belongs to no account yet, so no budget can be counted')
    return purses.of(standing.api, standing.account, item.budget, item.at)


def _admit_within(item: Intent, standing: _Standing, purse: Purse | None) -> Ruling:
    """By cap and budget."""
    if (item.max_credits is not None and standing.unknown) or (purse is not None and purse.unknown):
        return Ruling(Admission.UNKNOWN_COST)
    if item.is_unrated:
        return Ruling(Admission.UNKNOWN_RATE)
    price = standing.price(item.row)
    reserve = max(item.reserve, price.larger)
    if item.halts_on_drift and (price.settled or 0) > item.reserve:
        return Ruling(Admission.DRIFTED, reserve)
    room = None if item.max_credits is None else item.max_credits - standing.worst_case
    if (over := _over(reserve, room, purse)) is not None:
        return over
    if _must_wait(standing, price, room, purse):
        return Ruling(Admission.WAIT, reserve)
    standing.take(item, price, reserve)
    if purse is not None:
        purse.take(reserve, is_probe=not price.is_fresh)
    return Ruling(Admission.ADMITTED, reserve)


def _over(reserve: int, room: int | None, purse: Purse | None) -> Ruling | None:
    """Why a row is not admitted that costs more than is left."""
    if room is not None and reserve > room:
        return Ruling(Admission.OVER_CAP, reserve, room)
    if purse is not None and reserve > purse.room:
        dear = reserve > purse.whole
        return Ruling(Admission.TOO_DEAR if dear else Admission.OVER_BUDGET, reserve, purse.room)
    return None


def _must_wait(standing: _Standing, price: accounts.Price, room: int | None, purse: Purse | None) -> bool:
    """A price that was not seen is found out by one row at a time; near the end of the room rows go one at a time."""
    if not price.is_fresh and (standing.is_probing or (purse is not None and purse.is_probing)):
        return True
    if room is not None and standing.in_flight > 0 and room < 2 * standing.in_flight:
        return True
    return purse is not None and purse.in_flight > 0 and purse.room < 2 * purse.in_flight
