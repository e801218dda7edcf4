"""Rows again, that failed or whose video was rejected: which ones, at what cost, and which are left alone."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass, field, replace
from functools import cache, partial
from typing import Any, TypeAlias

from reelbatch.domain import FAILED, Batch, Request, ReviewVerdict, RowKey, RowState
from reelbatch.errors import SettingsError
from reelbatch.ledger import Ledger, orders, queries, reruns, runs
from reelbatch.ledger.observed_prices import ObservedPrices
from reelbatch.ledger.rejected import RejectedVideos
from reelbatch.ledger.reruns import RerunCount, Selection
from reelbatch.ledger.samples import SampleCost
from reelbatch.ledger.selection import RepeatPolicy, Scope
from reelbatch.model_table import load_models
from reelbatch.pipeline import rejected
from reelbatch.pipeline.account import ask
from reelbatch.pipeline.dollars import estimated_dollars
from reelbatch.pipeline.funds import Funds, ToSend, by_price, funds_of
from reelbatch.pipeline.generate import RunSteps, carry_out
from reelbatch.pipeline.model_estimates import estimate_of
from reelbatch.pipeline.outlook import bound_of, room_of
from reelbatch.pipeline.resources import the_batch
from reelbatch.pipeline.run_context import Assignment, RunContext, open_run
from reelbatch.pipeline.run_listener import NotAgreed
from reelbatch.report_view import Facts, ReportView
from reelbatch.settings import Settings
from reelbatch.typed_options import MANIFEST, as_stated, command

Chosen: TypeAlias = Selection | RejectedVideos

_LEFT_ALONE = {
    RowState.COMPLETE: "have their video",
    RowState.QUEUED: "are being rendered",
    RowState.RENDERING: "are being rendered",
    RowState.CLAIMED: "are held by another run",
    RowState.SENDING: "are held by another run",
}


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RerunPlan(ReportView):
    """What a rerun would do. Credits are integers; dollars None where no rate is set."""

    batch: Batch
    send: int
    credits_estimated: int
    unknown_rate: int
    dollars: float | None = None
    by_failure: list[RerunCount]
    left_alone: list[str]
    credits_assumed: int = 0  # of the estimate: rows without a model
    assumed_models: list[str] = field(default_factory=list)  # that the API is taken to make them with
    funds: Funds | None = None  # of the account, where it was asked
    verdict: str | None = None  # rows are made again since reviewers said so of their videos
    order: str | None = None  # the open order that it goes on with
    of_decided: int = 0  # variants of products of which another one is approved

    @property
    def announced(self) -> SampleCost:
        """What a run sends, and what that costs."""
        return SampleCost(self.send, self.credits_estimated, self.unknown_rate)

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        known = asdict(replace(self, funds=None))
        del known["funds"]
        return known if self.funds is None else {**known, **self.funds.as_json()}

    def facts(self) -> Facts:
        """For a notebook."""
        money = {name: getattr(self, name) for name in ("credits_estimated", "unknown_rate", "dollars")}
        return Facts(f"rerun of batch {self.batch}", {"send": self.send, **money}, self.left_alone)


@dataclass(frozen=True, slots=True, kw_only=True)
class RerunOptions:
    """What is to be sent again. None: no restriction."""

    batch: str | None = None  # None: the only batch of the table
    states: tuple[str, ...] = ()  # none: rejected, error, canceled
    error_codes: tuple[str, ...] | None = None
    row_keys: tuple[str, ...] | None = None
    accept_double_charge: bool = False
    verdict: str | None = None  # `rejected`: not failed rows, but videos that reviewers rejected
    prompt_suffix: str | None = None  # to these videos' prompts
    model: str | None = None  # in place of these videos' models
    repeats: str = RepeatPolicy.HOLD.value  # rows that are paid for under another name: hold, send or skip


def selection(options: RerunOptions, ledger: Ledger) -> Chosen:
    """The rows that the options name.

    Raises:
        SettingsError: no such batch, state or key, rows in doubt without consent, or options that do not go together.
    """
    chosen = _failed(options, ledger) if options.verdict is None else _rejected(options, ledger)
    if missing := ledger.read(lambda connection: reruns.unknown_keys(connection, chosen.batch, chosen.row_keys)):
        names = ", ".join(missing[:10]) + (f" and {len(missing) - 10} more" if len(missing) > 10 else "")  # noqa: PLR2004 - as many as are shown
        raise SettingsError(f'batch "{chosen.batch}" has no row with the key {names}')
    return chosen


def _failed(options: RerunOptions, ledger: Ledger) -> Selection:
    if options.prompt_suffix is not None or options.model is not None:
        raise SettingsError("--prompt-suffix and --model are for videos that are made again: add --verdict rejected")
    return Selection(
        batch=the_batch(ledger, options.batch),
        states=_states(options),
        error_codes=frozenset(options.error_codes) if options.error_codes else None,
        row_keys=tuple(RowKey(key) for key in options.row_keys) if options.row_keys is not None else None,
        repeats=RepeatPolicy(options.repeats),
    )


def _rejected(options: RerunOptions, ledger: Ledger) -> RejectedVideos:
    if options.verdict != ReviewVerdict.REJECTED:
        raise SettingsError(f'--verdict "{options.verdict}": only videos that were rejected are made again')
    if options.states or options.error_codes or options.accept_double_charge:
        raise SettingsError(
            "--verdict is of finished videos: leave out --state, --error-code and --accept-double-charge"
        )
    which = RejectedVideos(
        batch=the_batch(ledger, options.batch),
        row_keys=tuple(RowKey(key) for key in options.row_keys) if options.row_keys is not None else None,
        prompt_suffix=options.prompt_suffix,
        model=options.model,
        repeats=RepeatPolicy(options.repeats),
    )
    return rejected.checked(which)


def _states(options: RerunOptions) -> frozenset[RowState]:
    allowed = {*FAILED, RowState.IN_DOUBT}
    if unknown := [state for state in options.states if state not in allowed]:
        names = ", ".join(sorted(allowed))
        raise SettingsError(f'--state "{unknown[0]}": a rerun sends rows in {names}')
    states = frozenset(RowState(state) for state in options.states) or FAILED
    if RowState.IN_DOUBT in states and not options.accept_double_charge:
        raise SettingsError(
            f"Rows in doubt may have been charged already. Clear them up with `{command('reconcile')}`, or add "
            "--accept-double-charge to pay for them a second time if need be."
        )
    return states


def preview(ledger: Ledger, chosen: Chosen, settings: Settings, limit: int | None = None) -> RerunPlan:
    """What would be sent, and what not; changes nothing. With `limit`, no more rows than that.

    Raises:
        OrderOpen: rejected videos are to be made again, and another order is open.
        SettingsError: they can't be made so.
    """
    if isinstance(chosen, RejectedVideos):
        return _preview_rejected(ledger, chosen, settings, limit)
    chosen = _within(ledger, chosen, settings, limit)
    found = ledger.read(partial(reruns.alike, selection=chosen, estimate=estimate_of(settings)))
    sent = [some for some in found if not some.paid_elsewhere]
    states = ledger.read(lambda connection: queries.counts(connection, chosen.batch))
    gone = ledger.read(lambda connection: queries.counts_of_gone(connection, chosen.batch))
    taken: dict[RowState, int] = dict(gone)
    for some in found:
        taken[some.state] = taken.get(some.state, 0) + some.rows
    rest = {state: rows - taken.get(state, 0) for state, rows in states.items()}
    left = [f"{sum(gone.values()):,} gone left the manifest; they are never sent"] if gone else []
    if chosen.repeats is not RepeatPolicy.SEND:
        held, _ = ledger.read(partial(queries.held, batch=chosen.batch, limit=1))
        rest[RowState.PENDING] = rest.get(RowState.PENDING, 0) - held
        left += _held(held + sum(some.rows for some in found if some.paid_elsewhere))
    order = ledger.read(partial(orders.open_order, batch=chosen.batch))
    if order is not None and (ordered := min(order.to_send, rest.get(RowState.PENDING, 0))):
        rest[RowState.PENDING] -= ordered
        left.append(f"{ordered:,} pending belong to an order: `{order.command}` sends them")
    return RerunPlan(
        batch=chosen.batch,
        **_sums(reruns.by_failure(sent), reruns.assumed(sent), settings),
        left_alone=[f"{rows:,} {state} {_why_left(state, chosen.batch)}" for state, rows in rest.items() if rows]
        + left,
    )


def _within(ledger: Ledger, chosen: Selection, settings: Settings, limit: int | None) -> Selection:
    """Just the rows that go within the limit, or that are named; not those that other reruns left over."""
    if limit is None and chosen.row_keys is None:
        return chosen
    bound = ledger.read(partial(bound_of, batch=chosen.batch, settings=settings))
    return ledger.read(partial(reruns.choose, selection=chosen, limit=limit, bound=bound))


def _held(rows: int) -> list[str]:
    return [as_stated(f"{rows:,} held are paid for under another name; see --repeats")] if rows else []


def _why_left(state: RowState, batch: Batch) -> str:
    """Why a rerun leaves rows in this state, and what sees to them."""
    match state:
        case RowState.PENDING:
            return f"were not sent yet: `{command('generate', MANIFEST, batch=batch)}` sends them"
        case RowState.INVALID:
            again = command("generate", MANIFEST, batch=batch)
            return f"failed their checks: correct the manifest, then `{again}`"
        case RowState.IN_DOUBT:
            clears = command("reconcile", batch=batch)
            return as_stated(f"may have been charged: `{clears}`, or --state in_doubt --accept-double-charge")
    return _LEFT_ALONE.get(state, "were not chosen")


def _preview_rejected(ledger: Ledger, which: RejectedVideos, settings: Settings, limit: int | None) -> RerunPlan:
    found = rejected.to_make_again(ledger, which, settings, limit)
    return RerunPlan(
        batch=which.batch,
        **_sums(found.by_failure, found.assumed, settings),
        left_alone=_held(found.held),
        verdict=ReviewVerdict.REJECTED.value,
        order=None if found.order is None else str(found.order),
        of_decided=found.of_decided,
    )


def _sums(counts: list[RerunCount], assumed: list[tuple[Request, int]], settings: Settings) -> dict[str, Any]:
    """What these rows come to; `assumed`: those without a model, which does not count where a profile is set."""
    models, assumed = load_models(settings.models), [] if settings.model_profile is not None else assumed
    estimated = sum(count.credits_estimated for count in counts)
    return {
        "send": sum(count.rows for count in counts),
        "credits_estimated": estimated,
        "dollars": estimated_dollars(estimated, settings),
        "unknown_rate": sum(count.unknown for count in counts),
        "credits_assumed": sum(credits_ for _, credits_ in assumed),
        "assumed_models": sorted({models.resolve(request, tier=settings.tier).name for request, _ in assumed}),
        "by_failure": counts,
    }


def preview_with_account(ledger: Ledger, chosen: Chosen, settings: Settings, limit: int | None) -> RerunPlan:
    """The same, with what the API says of the account.

    Raises:
        KeyRefused: the API does not accept the key.
    """
    who = ask(ledger, settings)
    stated = who.applied_to(settings)
    made = preview(ledger, chosen, stated, limit)
    room = ledger.read(partial(room_of, batch=chosen.batch, settings=stated))
    seen = ledger.read(partial(ObservedPrices.of, payer=who.payer, room=room))
    costs = cache(lambda: by_price(_costs(ledger, chosen, stated, limit, seen)))
    rows = ToSend.of(made, costs, costs() if seen else None)
    return replace(made, funds=funds_of(ledger, stated, chosen.batch, who, rows))


def _costs(
    ledger: Ledger, chosen: Chosen, settings: Settings, limit: int | None, seen: ObservedPrices
) -> list[int | None]:
    """What the rows are reserved at, in the manifest's order."""
    if isinstance(chosen, RejectedVideos):
        lines = rejected.to_make_again(ledger, chosen, settings, limit).lines
        return [seen.of_request(line.request, line.credits_estimated) for line in lines]
    within = _within(ledger, chosen, settings, limit)
    found = ledger.read(partial(reruns.costs, selection=within, estimate=estimate_of(settings)))
    return [seen.of_request(request, credits_) for request, credits_ in found]


async def choose_failed_rows(context: RunContext, chosen: Chosen, limit: int | None) -> RerunPlan:
    """The chosen rows become pending, or those of an order, unless someone does not agree: then the run is stopped.

    Safe to repeat: rows that wait already are found again.
    """
    scope: Scope = context.state.scope._replace(repeats=chosen.repeats)
    if isinstance(chosen, Selection):
        within = await asyncio.to_thread(_within, context.ledger, chosen, context.settings, limit)
        if within is not chosen:
            chosen, scope = within, scope._replace(sample=within.row_keys)
    plan = await asyncio.to_thread(preview, context.ledger, chosen, context.settings, limit)
    try:
        await asyncio.to_thread(context.agree, plan)
    except NotAgreed as refusal:
        context.decline(refusal)
        return plan
    context.state.scope, context.submitter.sender.repeats = scope, chosen.repeats
    if isinstance(chosen, RejectedVideos):
        await asyncio.to_thread(rejected.place, context, chosen)
    else:
        estimate = estimate_of(context.settings)
        request = partial(reruns.request, selection=chosen, estimate=estimate)
        await asyncio.to_thread(context.ledger.change, request)
    await asyncio.to_thread(context.planned, plan, limit)
    return plan


def rerun_assignment(ledger: Ledger, chosen: Chosen) -> Assignment:
    """What a run of it works on."""
    base = ledger.read(partial(runs.base_of, batch=chosen.batch)) or "."
    return Assignment(batch=chosen.batch, command="rerun", base=base, rerun=True)


async def rerun(ledger: Ledger, settings: Settings, options: RerunOptions, steps: RunSteps) -> None:
    """Send failed rows, or rows of rejected videos, again; `listening` is told what comes of it.

    Raises:
        UsageError: an option, a setting or the results table can't be used.
    """
    chosen = selection(options, ledger)
    async with open_run(ledger, settings, rerun_assignment(ledger, chosen)) as context:
        await carry_out(context, partial(choose_failed_rows, context, chosen, steps.limit), steps)
