"""What a run may spend, and how far that reaches: the account's balance, the cap and the budget."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from itertools import groupby
from typing import TYPE_CHECKING, Any, Self

from reelbatch.domain import Batch
from reelbatch.ledger import Ledger, accounting, accounts, budgets, queries, waiting_rows
from reelbatch.ledger.accounts import Payer
from reelbatch.ledger.budgets import BudgetLeft
from reelbatch.ledger.selection import Scope
from reelbatch.pipeline.account import Identified
from reelbatch.pipeline.duration import render_window
from reelbatch.pipeline.model_estimates import estimate_of
from reelbatch.pipeline.outlook import room_of
from reelbatch.pipeline.reach import Reach, reach
from reelbatch.settings import Settings, api_of

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from reelbatch.pipeline.plan import Plan
    from reelbatch.pipeline.rerun import RerunPlan


Price = tuple[int | None, int]
"""Credits that a row is reserved at, None where they are not known, and a number of rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToSend:
    """The rows that are to be sent, at what they are reserved at. Credits are integers.

    Args:
        prices: of a row (None: unknown), and how many that follow each other have the same, in order of sending.
        estimated: the same rows by their estimates.
        halted: rows that do not go, since finished videos of their kind cost more than estimated.
    """

    rows: int
    credits: int
    unknown: int
    prices: Callable[[], Iterable[Price]]
    estimated: int
    halted: int = 0

    @classmethod
    def of(cls, plan: Plan | RerunPlan, prices: Callable[[], Iterable[Price]], found: Sequence[Price] | None) -> Self:
        """The rows that `plan` sends; `found`: the prices in any order, where rows may be others, or dearer."""
        announced, credits_, unknown = plan.announced
        if found is None:
            return cls(rows=announced, credits=credits_, unknown=unknown, prices=cache(prices), estimated=credits_)
        reserved = sum((price or 0) * rows for price, rows in found)
        unpriced = sum(rows for price, rows in found if price is None)
        of = sum(rows for _, rows in found)
        return cls(
            rows=of,
            credits=reserved,
            unknown=unpriced,
            prices=cache(prices),
            estimated=credits_ if of == announced else reserved,
            halted=unpriced - unknown if of == announced else 0,
        )

    def within(self, room: int, *, passes_over: bool = True) -> Reach:
        """How many of them `room` credits pay for."""
        if self.credits <= room and not self.unknown:
            return Reach(rows=self.rows, of=self.rows, credits=self.credits)
        return reach(self.prices(), room, passes_over=passes_over)


def by_price(costs: Iterable[int | None]) -> list[Price]:
    """Rows that follow each other at the same price, as one."""
    return [(credits_, sum(1 for _ in same)) for credits_, same in groupby(costs)]


def to_send(ledger: Ledger, settings: Settings, plan: Plan | RerunPlan, scope: Scope, limit: int | None) -> ToSend:
    """The rows of the table that a run sends, with those that find no room."""
    room = ledger.read(partial(room_of, batch=scope.batch, settings=settings))
    costs = partial(waiting_rows.costs, scope=scope, limit=limit, room=room)
    seen = ledger.read(partial(waiting_rows.observed_prices, scope=scope, room=room))
    found = None
    if seen or scope.sample is not None:
        found = ledger.read(partial(waiting_rows.reserved, scope=scope, limit=limit, room=room))
    return ToSend.of(plan, lambda: by_price(ledger.read(costs)), found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Funds:
    """What a run may spend. Credits are integers.

    Args:
        account: its id; None: no one knows.
        is_asked: whether the API said it now, and not earlier.
        balance: None where the API says none now.
        is_subscribed: else the balance does not tell what can be paid for.
        at_most: what this run should cost by estimates and by what was charged before, within cap and budget.
        unknown: rows that `at_most` leaves out, since their rate is unknown.
        window: videos unfinished at once; None: any number.
        cap_left: of the batch's cap.
        dearer: what such videos were charged before comes to, where that is more than the estimate; else None.
        halted: rows that do not go, since finished videos of their kind cost more than estimated.
    """

    account: str | None
    is_asked: bool
    tier: str | None
    balance: int | None
    is_subscribed: bool
    at_most: int
    unknown: int
    window: int | None
    balance_reach: Reach | None = None
    cap_left: int | None = None
    cap_reach: Reach | None = None
    budget: BudgetLeft | None = None
    budget_reach: Reach | None = None
    dearer: int | None = None
    halted: int = 0

    @property
    def left(self) -> int | None:
        """The balance after the run, at least; None where that can't be told."""
        if self.balance is None or not self.is_subscribed or self.unknown:
            return None
        return max(0, self.balance - self.at_most)

    def lines(self, *, window: bool = True, cap: bool = True) -> list[str]:
        """For people; without what is said elsewhere."""
        return [*self._balance_lines(), *(self._window_lines() if window else ()), *self._limit_lines(cap=cap)]

    def _balance_lines(self) -> Iterator[str]:
        if self.dearer is not None:
            yield f"By what such videos were charged before, the rows cost {self.dearer:,} credits."
        if self.halted:
            what = "1 row is" if self.halted == 1 else f"{self.halted:,} rows are"
            yield f"{what} not sent (price_drift: halt): finished videos of the kind cost more than estimated."
        if self.balance is not None:
            left = "" if self.left is None else f" · left {self.left:,}"
            rows = "row" if self.unknown == 1 else "rows"
            unknown = f" and {self.unknown:,} {rows} of unknown rate" if self.unknown else ""
            yield f"Balance {self.balance:,} · this run at most {self.at_most:,}{unknown}{left}"
            if self.balance_reach is not None and not self.balance_reach.is_enough:
                yield f"The balance {self.balance_reach}."
        elif not self.is_asked:
            name = "" if self.account is None else f", which is known as {self.account}"
            yield f"The API does not say how the account stands{name}."

    def _window_lines(self) -> Iterator[str]:
        if self.window is not None:
            of_tier = "" if self.tier is None else f" (tier {self.tier})"
            yield f"window {self.window}{of_tier}"
        elif self.tier is not None:
            yield f"tier {self.tier}"

    def _limit_lines(self, *, cap: bool) -> Iterator[str]:
        if cap and self.cap_left is not None and self.cap_reach is not None:
            yield f"Of the cap {self.cap_left:,} credits are left: {self.cap_reach}"
        if self.budget is not None and self.budget_reach is not None:
            yield f"Budget of {self.budget.words}: {self.budget_reach}"

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        account = {
            "id": self.account,
            "asked": self.is_asked,
            "tier": self.tier,
            "credits": self.balance,
            "at_most": self.at_most,
            "unknown_rate": self.unknown,
            "left": self.left,
            "covers": _covers(self.balance_reach),
            "render_window": self.window,
        }
        cap = None if self.cap_left is None else {"left": self.cap_left, "covers": _covers(self.cap_reach)}
        budget = None if self.budget is None else {**self.budget.as_json(), "covers": _covers(self.budget_reach)}
        return {"account": account, "cap": cap, "budget": budget}


def _covers(found: Reach | None) -> dict[str, Any] | None:
    return None if found is None else asdict(found)


def funds_of(ledger: Ledger, settings: Settings, batch: Batch, who: Identified, rows: ToSend) -> Funds:
    """How the account, the cap and the budget stand before `rows` are sent."""
    said = who.said
    balance = None if said is None else said.credits
    is_subscribed = said is not None and said.subscription is not None
    cap_left = None
    if settings.max_credits is not None:
        cap_left = max(0, settings.max_credits - ledger.read(partial(queries.worst_case, batch=batch)))
    budget = budget_left(ledger, settings, who.payer.account)
    cap_reach = None if cap_left is None else rows.within(cap_left)
    budget_reach = None if budget is None else rows.within(budget.left)
    bounds = [found.credits for found in (cap_reach, budget_reach) if found is not None]
    return Funds(
        account=who.payer.account,
        is_asked=said is not None,
        tier=settings.tier,
        balance=balance,
        is_subscribed=is_subscribed,
        at_most=min([rows.credits, *bounds]),
        unknown=0 if bounds else rows.unknown,  # they are not sent under a cap or budget
        window=render_window(settings),
        balance_reach=rows.within(balance, passes_over=False) if balance is not None and is_subscribed else None,
        cap_left=cap_left,
        cap_reach=cap_reach,
        budget=budget,
        budget_reach=budget_reach,
        dearer=rows.credits if rows.credits > rows.estimated else None,
        halted=rows.halted,
    )


def budget_left(ledger: Ledger, settings: Settings, account: str | None) -> BudgetLeft | None:
    """How the budget of an account stands; None where there is no budget, or no one knows the account."""
    budget = settings.budget
    if budget is None or account is None:
        return None
    api = api_of(settings.base_url)
    return ledger.read(lambda connection: budgets.left(connection, api, account, budget))


def rate_doubts(ledger: Ledger, settings: Settings, batch: Batch, payer: Payer) -> None:
    """What was of unknown rate when it was sent may be known by now, from the table of models or by `rate`.

    A budget counts the account's other batches as well.
    """
    estimate = estimate_of(settings)

    def rate(connection: Connection) -> None:
        others = accounts.relatives(connection, batch, payer) if settings.budget else []
        for each in [batch, *others]:
            accounting.rate(connection, each, estimate)

    ledger.change(rate)
