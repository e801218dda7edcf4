"""Doubt by the books: what the account's balance says about rows in doubt, and what it can't. It decides nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from reelbatch.client import Account, Client
from reelbatch.errors import ApiError
from reelbatch.ledger import Ledger, account_books, due, runs
from reelbatch.ledger.account_books import BalancePoint, DoubtfulRequest, Flows
from reelbatch.ledger.accounts import Payer, price_of
from reelbatch.pipeline.account import hash_of_key, is_bad_key
from reelbatch.pipeline.readings import MOST, Reading, readings
from reelbatch.settings import Settings, api_of
from reelbatch.typed_options import command

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from reelbatch.domain import Batch


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceSheet:
    """The sum. Credits are integers; what is None is not known.

    `silent`: why the sum says nothing, each with a remedy; then there are no readings.
    """

    account: str
    start: BalancePoint | None
    balance: int | None
    flows: Flows | None
    doubts: list[DoubtfulRequest]  # of requests that left since the balance was read
    older: list[DoubtfulRequest]  # of which the sum says nothing
    silent: list[str] = field(default_factory=list)
    found: list[Reading] = field(default_factory=list)  # the first `MOST`
    has_more: bool = False

    @property
    def left_over(self) -> int | None:
        """Credits that are gone and that no known charge explains; below 0: more came in. None where it is silent."""
        if self.silent or self.start is None or self.balance is None or self.flows is None:
            return None
        return self.start.balance - self.balance - self.flows.final

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        start = None if self.start is None else self.start._asdict()
        flows = None if self.flows is None else self.flows._asdict()
        return {
            "account": self.account,
            "start": start,
            "balance": self.balance,
            "known": flows,
            "left_over": self.left_over,
            "doubts": [_doubt(each) for each in self.doubts],
            "older_doubts": [_doubt(each) for each in self.older],
            "silent": self.silent,
            "readings": [[asdict(part) for part in reading] for reading in self.found],
            "more_readings": self.has_more,
        }


def _doubt(each: DoubtfulRequest) -> dict[str, Any]:
    known = {"batch": each.batch, "row_key": each.row_key, "token": each.token, "since": each.started_at}
    return {**known, "credits": each.credits_reserved, "row_in_doubt": each.row_in_doubt}


async def by_balance(ledger: Ledger, client: Client, settings: Settings, batch: Batch | None = None) -> BalanceSheet:
    """Ask for the balance, and set it against what the table knows of this account, whichever its batches.

    Raises:
        ApiError: the API did not say.
        LedgerUnusable: `batch` belongs to another account.
    """
    account = await _account(client, settings)
    payer = Payer(api_of(settings.base_url), account.id, hash_of_key(ledger, settings))
    if batch is not None:
        ledger.read(partial(runs.check_batch, batch=batch, payer=payer))
    return ledger.read(lambda connection: _sheet(_Books(connection, payer, account)))


async def _account(client: Client, settings: Settings) -> Account:
    try:
        return await client.get_account()
    except ApiError as error:
        remedy = f"`reelbatch doctor` says whether {settings.base_url} can be reached; then ask again."
        if is_bad_key(error):
            remedy = "Check MAGIC_HOUR_API_KEY."
        what = f"the API does not say the account's balance: {error}. {remedy}"
        raise ApiError(what, status=error.status) from error


class _Books:
    """What the table has of one account, at one moment."""

    def __init__(self, connection: Connection, payer: Payer, account: Account) -> None:
        self.connection = connection
        self.account = account
        self.batches = due.batches_of(connection, payer)
        self.points = account_books.balance_points(connection, payer)
        self.doubts = account_books.doubtful(connection, self.batches)

    def unclear_at(self, moment: datetime) -> account_books.Unclear:
        """What makes the balance of a moment say less than it seems to."""
        return account_books.unclear_at(self.connection, self.batches, moment)


def _sheet(books: _Books) -> BalanceSheet:
    start = _start(books)
    doubts = [each for each in books.doubts if start is not None and each.started_at >= start.at]
    flows = None if start is None else account_books.flows_since(books.connection, books.batches, start.at)
    sheet = BalanceSheet(
        account=books.account.id,
        start=start,
        balance=books.account.credits,
        flows=flows,
        doubts=doubts,
        older=[each for each in books.doubts if each not in doubts],
        silent=list(_reasons(books, start, flows, doubts)),
    )
    if sheet.left_over is None or not doubts:
        return sheet
    found = readings(sheet.left_over, {name_of(each): each.credits_reserved for each in doubts}, MOST + 1)
    return replace(sheet, found=found[:MOST], has_more=len(found) > MOST)


def _start(books: _Books) -> BalancePoint | None:
    """The last balance from before the first doubt at which nothing was open; else one that covers many doubts."""
    if not books.points:
        return None
    first = books.doubts[0].started_at if books.doubts else None
    before = [point for point in books.points if first is None or point.at <= first]
    if not before:
        return books.points[-1]
    clear = (point for point in before if not any(books.unclear_at(point.at)))
    return next(clear, before[0])


def _reasons(
    books: _Books, start: BalancePoint | None, flows: Flows | None, doubts: Sequence[DoubtfulRequest]
) -> Iterator[str]:
    """Why the sum can't be drawn, or would say what is not so."""
    if books.account.credits is None:
        yield "the API names no balance for this account"
    if start is None or flows is None:
        yield "no run of this account has noted the balance that it began with; the next one does"
        return
    now_ends = None if books.account.subscription is None else books.account.subscription.current_period_end
    if now_ends != start.period_end:
        yield "the subscription's period is another one by now, and credits come with each"
    if flows.without_figure:
        of = f"of {flows.without_figure:,} of the videos since then"
        yield f"{of} the API named no figure that is believed: `reelbatch status --json` names them"
    yield from _open_ends(books, start)
    yield from _prices(books, doubts)


def _open_ends(books: _Books, start: BalancePoint) -> Iterator[str]:
    unsettled, under_way = account_books.open_ends(books.connection, books.batches)
    if unsettled:
        yield f"videos of the account are not settled, or their refund may still come ({unsettled:,}): settle first"
    if under_way:
        yield f"requests are under way ({under_way:,}): wait for the run that sends them"
    open_then, changed = books.unclear_at(start.at)
    if open_then:
        yield f"requests were under way when the balance was read ({open_then:,}): it may have them or not"
    if changed:
        yield f"earlier videos were refunded, or cost another figure, since the balance was read ({changed:,})"


def _prices(books: _Books, doubts: Sequence[DoubtfulRequest]) -> Iterator[str]:
    unrated = [each for each in doubts if each.unrated]
    if unrated:
        yield f"no one knows what {_named(unrated)} would cost; state a rate and run again"
    drifted: dict[tuple[int, tuple[int, ...]], list[DoubtfulRequest]] = {}
    for each in doubts:
        price = price_of(books.connection, each.kind)
        seen = {figure for figure in (price.charged, price.settled) if figure is not None}
        if not each.unrated and seen - {each.credits_reserved}:
            drifted.setdefault((each.credits_reserved, tuple(sorted(seen))), []).append(each)
    for (reserved, costs), those in drifted.items():
        figures = ", ".join(f"{figure:,}" for figure in costs)
        was = "was" if len(those) == 1 else "were"
        yield f"the price drifted: {_named(those)} {was} estimated at {reserved:,}, and such videos cost {figures}"


def _named(those: Sequence[DoubtfulRequest]) -> str:
    """The first, and how many there are besides."""
    more = f" and {len(those) - 1:,} more" if len(those) > 1 else ""
    return f"{name_of(those[0])}{more}"


def name_of(each: DoubtfulRequest) -> str:
    """A row, and its batch."""
    return (
        f"{each.row_key} of {each.batch}"
        if each.row_in_doubt
        else f"an earlier request of {each.row_key} of {each.batch}"
    )


def commands(doubts: Sequence[DoubtfulRequest], reading: Reading) -> list[str]:
    """What one would type who holds with a reading; of rows that can't be told apart, nothing."""
    charged = {row for part in reading for row in part.of}
    certain = {row for part in reading if part.is_certain for row in part.of}
    lines = []
    for each in (each for each in doubts if each.row_in_doubt):
        row = ("reconcile", "--row", each.row_key)
        if name_of(each) in certain:
            found = command(*row, "--video-id", "ID", batch=each.batch)
            lines.append(f"{found}   # of the video whose name ends in {each.token}")
        elif name_of(each) not in charged:
            lines.append(command(*row, "--not-created", batch=each.batch))
    return lines


def words(reading: Reading) -> str:
    """A reading in words."""
    if not reading:
        return "none of these rows is charged (or what was charged is refunded)"
    parts = []
    for part in reading:
        rows = ", ".join(part.of)
        all_ = f"{rows} at {part.price:,}"
        parts.append(
            all_ if part.is_certain else f"{part.count:,} of these {len(part.of):,} at {part.price:,}: {rows}"
        )
    return f"charged: {'; '.join(parts)}"


def otherwise(left_over: int, reading_count: int) -> str:
    """What else may be true: someone else may use the account, or put credits into it."""
    if left_over < 0:
        return "more came in than the table knows of, a top-up perhaps; what these rows cost does not show in the sum"
    if not reading_count:
        return "no set of these rows costs that: something else was charged, with or without some of them"
    if left_over == 0:
        return "or some of them are charged and as much came in besides, by a top-up or a refund of something else"
    return "or something else was charged to this account, or came in, and the sum says nothing about these rows"
