"""What a plan says of the run to come: its first requests, how long it takes, how far the cap reaches."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from reelbatch.domain import Batch, ClaimedRow, Request, RowKey
from reelbatch.ledger import Comparison, StagedManifest, budgets, queries
from reelbatch.ledger.accounts import payer_of
from reelbatch.ledger.budgets import BudgetLeft
from reelbatch.ledger.fitting import Bound
from reelbatch.ledger.observed_prices import ObservedPrices, Room
from reelbatch.ledger.render_times import render_times
from reelbatch.ledger.samples import SampleCost
from reelbatch.pipeline.duration import Duration, duration, render_window
from reelbatch.pipeline.first_requests import SHOWN, shown_body
from reelbatch.pipeline.model_estimates import estimate_of
from reelbatch.pipeline.reach import Reach, reach
from reelbatch.settings import Settings, api_of

if TYPE_CHECKING:
    from sqlalchemy import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """Of the rows to send; of a pilot, those of its sample.

    Attributes:
        requests: the bodies of the first creates; an image that is uploaded before is `<upload of PATH>`, and the
            token of the attempt `<token>`.
        duration: None where any number of videos may render at once, or nothing is sent.
        cap: how far what is left of `max_credits` reaches; None where there is no cap.
        cap_left: credits of it that are left.
        budget: how it stands by the table alone; None where there is none, or its account is not known.
        budget_reach: how far what is left of it reaches.
        pilot_cost: of the sample's rows that were not sent yet; None where there is no sample.
    """

    requests: list[dict[str, Any]]
    duration: Duration | None
    cap: Reach | None
    cap_left: int | None
    budget: BudgetLeft | None = None
    budget_reach: Reach | None = None
    pilot_cost: SampleCost | None = None


def outlook(staged: StagedManifest, comparison: Comparison, batch: Batch, settings: Settings) -> Outlook:
    """Look ahead, while the manifest is staged."""
    first = staged.first_to_send(batch, SHOWN)
    window = render_window(settings)
    tier = settings.tier if settings.render_window is None else None
    sample = staged.sample(batch)
    if sample is not None:
        comparison = replace(comparison, sends=sample)
    left = None if settings.max_credits is None else staged.ask(partial(_left, batch=batch, cap=settings.max_credits))
    budget = staged.ask(partial(_budget, batch=batch, settings=settings))
    return Outlook(
        requests=[_body(batch, key, request) for key, request in first],
        duration=None if window is None else duration(comparison.sends, staged.ask(render_times), window, tier),
        cap=None if left is None else _reach(staged, comparison, batch, left),
        cap_left=left,
        budget=budget,
        budget_reach=None if budget is None else _reach(staged, comparison, batch, budget.left),
        pilot_cost=None if sample is None else SampleCost.of([count.price for count in sample]),
    )


def left_of(connection: Connection, batch: Batch, settings: Settings) -> tuple[int | None, int | None]:
    """Credits that the cap leaves, and the budget, by the table alone; None where there is none."""
    cap = None if settings.max_credits is None else _left(connection, batch, settings.max_credits)
    budget = _budget(connection, batch, settings)
    return cap, None if budget is None else budget.left


def room_of(connection: Connection, batch: Batch, settings: Settings) -> Room | None:
    """What both leave; None where nothing bounds the rows."""
    bounds = [left for left in left_of(connection, batch, settings) if left is not None]
    return Room(min(bounds), settings.price_drift == "halt") if bounds else None


def bound_of(connection: Connection, batch: Batch, settings: Settings) -> Bound | None:
    """The same, with what a request takes of it; its estimate may be unknown to the table and known by now."""
    room = room_of(connection, batch, settings)
    if room is None:
        return None
    seen, estimate = ObservedPrices.of(connection, payer_of(connection, batch), room), estimate_of(settings)

    def price(request: Request, credits_: int | None) -> int | None:
        return seen.of_request(request, estimate(request) if credits_ is None else credits_)

    return Bound(room.credits, price)


def _budget(connection: Connection, batch: Batch, settings: Settings) -> BudgetLeft | None:
    if settings.budget is None:
        return None
    api = api_of(settings.base_url)
    account = budgets.account_of(connection, api, batch)
    return None if account is None else budgets.left(connection, api, account, settings.budget)


def _left(connection: Connection, batch: Batch, cap: int) -> int:
    return max(0, cap - queries.credits_of(connection, batch).worst_case)


def _reach(staged: StagedManifest, comparison: Comparison, batch: Batch, left: int) -> Reach:
    found = staged.reserved(batch)
    whole = reach([(count.price, count.rows) for count in comparison.sends] if found is None else found, left)
    # Which rows are covered depends on their order only where not all of them are.
    enough = whole.rows + whole.unknown == whole.of
    return whole if enough else reach(staged.prices(batch), left)


def _body(batch: Batch, key: RowKey, request: Request) -> dict[str, Any]:
    return shown_body(ClaimedRow(batch, key, 0, request, None, 0))
