"""One run at work on one batch: its table, its client, its submitter, its heartbeat."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from reelbatch.client import Client
from reelbatch.client.outcome import Policy
from reelbatch.domain import Batch, Request, RunId
from reelbatch.errors import LedgerError
from reelbatch.images.inspect import ImageKind, image_kind
from reelbatch.ledger import Ledger, claims, in_doubt, orders, queries, runs, shared_limits, utc_now
from reelbatch.ledger.paid_requests import Payer, payer_of
from reelbatch.ledger.selection import Scope, SendOptions
from reelbatch.model_table import load_models
from reelbatch.pipeline.account import KeyRefused, identify, payer
from reelbatch.pipeline.export import format_of
from reelbatch.pipeline.open_client import open_client
from reelbatch.pipeline.plan import Agreement, Assignment, Plan, RerunPlan, image_bounds
from reelbatch.pipeline.resources import opened_ledger
from reelbatch.pipeline.run_summary import RunReport, failed_rows, run_report
from reelbatch.pipeline.settle import keep_count, render_window, settle_options
from reelbatch.settings import Settings, api_of
from reelbatch.settle import Settler, SettleReason
from reelbatch.submit import (
    ConcurrencyLimiter,
    ExitReason,
    RateLimiter,
    RunStats,
    SubmitOptions,
    Submitter,
    Uploader,
    UploadOptions,
)
from reelbatch.submit.confirmation import ask_about_noted_ids

__all__ = [
    "HEARTBEAT_S",
    "Progress",
    "RunContext",
    "current_run",
    "on_done",
    "on_run",
    "open_run",
    "opened_ledger",
]

HEARTBEAT_S = 10.0
_LOOKED_AT = 200  # rows, to see what sort of images a batch has
_ENDED = {
    SettleReason.INTERRUPTED: ExitReason.INTERRUPTED,
    SettleReason.BAD_KEY: ExitReason.BAD_KEY,
    SettleReason.LEDGER_FAILED: ExitReason.LEDGER_FAILED,
}
_NO_MORE_CALLS = frozenset({ExitReason.INTERRUPTED, ExitReason.BAD_KEY, ExitReason.LEDGER_FAILED, ExitReason.CRASHED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A glance at a run. Credits are integers, times seconds."""

    rows: int
    done: int
    in_flight: int
    slowed_to: int | None  # creates in flight that the API asked for, where that is fewer than the setting
    rows_per_second: float
    seconds_left: float | None
    credits_charged: int
    credits_worst_case: int  # of this run: charged + reserved + in doubt
    in_doubt: int
    failed: int


class RunContext:
    """Everything that the tasks of one run share."""

    def __init__(
        self,
        settings: Settings,
        connections: tuple[Ledger, Client],
        submitter: Submitter,
        work: tuple[Scope, Payer, str],
    ) -> None:
        self.settings = settings
        self.ledger, self.client = connections
        self.submitter = submitter
        self.scope, self.payer, self._base = work
        self.consent: Consent | None = None
        self.agreement: Agreement | None = None  # None: nobody was asked, so nothing binds
        self.rows_to_send = 0
        self.plan: Plan | RerunPlan | None = None
        self.on_plan: Callable[[Plan | RerunPlan], None] | None = None
        self.report: RunReport | None = None
        self.failed: list[dict[str, Any]] = []  # the first rows that need attention, once reported
        self.settler: Settler | None = None
        self.export_problem: str | None = None
        self.cleared_up = 0  # rows that were in doubt when the run began
        self._started = time.monotonic()

    @property
    def stats(self) -> RunStats:
        """What this run has done."""
        return self.submitter.stats

    def take_plan(self, plan: Plan | RerunPlan) -> None:
        """The manifest is in the table; whoever watches is told before anything is sent."""
        self.plan = plan
        if self.on_plan is not None:
            self.on_plan(plan)

    async def identify(self) -> None:
        """Ask the API whose key this is. A bad key ends the run here, and so does not knowing whose batch it is.

        Raises:
            LedgerUnusable: the batch belongs to another account.
        """
        batch = self.scope.batch
        try:
            self.payer = await identify(self.ledger, self.client, self.settings)
        except KeyRefused as refusal:
            self.submitter.stop(ExitReason.BAD_KEY, str(refusal))
            return
        bound = await asyncio.to_thread(self.ledger.read, partial(payer_of, batch=batch))
        if bound is not None and bound.account and self.payer.account is None:
            why = f'the API did not say whose key this is, and batch "{batch}" belongs to account {bound.account}'
            self.submitter.stop(ExitReason.NO_ACCOUNT, why)
        await asyncio.to_thread(self.ledger.read, partial(runs.check_batch, batch=batch, payer=self.payer))

    async def ask_about_noted_ids(self) -> None:
        """Before anything is compared or sent: what became of rows whose answers named an id.

        Raises:
            LedgerError: the table could not be read or written.
        """
        if not self.submitter.limiter.closed:
            of = [self.scope.batch]
            self.cleared_up = await ask_about_noted_ids(self.ledger, self.client, self.settings, of)

    def agree(self, plan: Plan | RerunPlan) -> None:
        """Before anything is changed: what somebody said yes to binds, even if there is more to send by now.

        Raises:
            NotAgreed: more would be sent than that.
        """
        if self.consent is not None:
            self.agreement = self.consent(plan)

    def bounded(self, limit: int | None) -> int | None:
        """How many rows this run may send: what was stated, and what was said yes to."""
        allowed = None if self.agreement is None else self.agreement.rows
        return min((bound for bound in (limit, allowed) if bound is not None), default=None)

    def take_selection(self, options: SendOptions) -> None:
        """Once the manifest is in the table: which of its rows this run takes."""
        batch = self.scope.batch
        order = self.ledger.read(lambda connection: orders.going_on(connection, batch, options))
        only = options.makes_again and options.row_keys is not None
        number = None if order is None else order.order_id
        self.scope = self.scope._replace(
            order=_NO_ORDER if only and number is None else number, only_order=only, repeats=options.repeats
        )
        self.submitter.sender.repeats = options.repeats
        self._find_images()

    def _find_images(self) -> None:
        """The machine that read the manifest may have it elsewhere; this one has its images beside its own copy."""
        batch = self.scope.batch
        read_from = self.ledger.read(lambda connection: runs.base_of(connection, batch))
        if read_from is not None:
            self.submitter.sender.uploader.bases[read_from] = self._base

    @property
    def did_all(self) -> bool:
        """Whether the run did what it was asked for. Otherwise the same command comes again, and means this order."""
        settled = None if self.settler is None else self.settler.stats
        left = settled is not None and (settled.unsettled or settled.downloads_failed)
        return self.stats.reason is ExitReason.DONE and self.export_problem is None and not left

    def close_order(self) -> None:
        """The run is reported: an order of which every row has its new id is over, if there is nothing else to do."""
        if self.did_all:
            close_order(self.ledger, self.scope.batch)

    def interrupt(self) -> None:
        """Stop gently: no new create leaves, those in flight are waited for and recorded."""
        self.submitter.stop(ExitReason.INTERRUPTED)
        if self.settler is not None:
            self.settler.stop()

    @property
    def export_target(self) -> str:
        """Where the table is exported to after the run.

        Raises:
            UsageError: the ending says no format.
        """
        if self.settings.export:
            format_of(self.settings.export)
            return self.settings.export
        folder = self.ledger.path.parent if self.ledger.path else Path("results")
        return str(folder / f"{self.scope.batch}.parquet")

    def make_report(self) -> RunReport:
        """How the run stands now; kept as its report."""
        report = run_report(self.ledger, self.scope, self.stats, self.settings.max_credits)
        self.report = replace(
            report,
            dearer=self.submitter.sender.dearer,
            cleared_up=self.cleared_up,
            credits_assumed=0 if self.plan is None else self.plan.credits_assumed,
            assumed_models=[] if self.plan is None else self.plan.assumed_models,
        )
        self.failed = failed_rows(self.ledger, self.scope.batch)
        return self.report

    async def submit(self, first: int, last: int) -> int:
        """Send the pending rows with these row numbers; returns how many this worker took."""
        return await self.submitter.submit(self.scope, (first, last))

    async def settle(self) -> None:
        """Follow the batch's videos to their end; not after the run was stopped."""
        if self.submitter.limiter.closed and self.stats.reason in _NO_MORE_CALLS:
            return
        self.settler = Settler(self.ledger, self.client, settle_options(self.settings, self.scope.batch))
        stats = await self.settler.run()
        if (reason := _ENDED.get(stats.reason)) is not None:
            self.submitter.stop(reason, stats.message)

    def chunks(self, rows_each: int, limit: int | None = None) -> list[tuple[int, int]]:
        """The pending rows as ranges of row numbers, `rows_each` rows apiece."""
        return self.ledger.read(lambda connection: claims.chunks(connection, self.scope, rows_each, limit))

    def claimable(self) -> int:
        """Pending rows that this run may still take."""
        return self.ledger.read(lambda connection: queries.claimable(connection, self.scope))

    def names_files(self) -> bool:
        """Whether some of the next rows name images that may have to be uploaded."""
        images = self.ledger.read(partial(queries.next_images, scope=self.scope, limit=_LOOKED_AT))
        return any(image_kind(image) in {ImageKind.LOCAL, ImageKind.CLOUD} for image in images)

    def held_by_others(self) -> int:
        """Rows that other workers hold now."""
        scope = self.scope
        return self.ledger.read(lambda connection: queries.held_by_others(connection, scope.batch, scope.run_id))

    def progress(self) -> Progress:
        """A glance at this run."""
        stats, limiter = self.stats, self.submitter.limiter
        running = time.monotonic() - (stats.first_sent or self._started)
        rate = stats.done / running if running > 0 else 0.0
        left = max(0, self.rows_to_send - stats.done)
        return Progress(
            rows=self.rows_to_send,
            done=stats.done,
            in_flight=limiter.in_flight,
            slowed_to=limiter.allowed if limiter.slowed else None,
            rows_per_second=rate,
            seconds_left=left / rate if rate else None,
            credits_charged=stats.credits_charged,
            credits_worst_case=stats.credits_charged + stats.credits_reserved + stats.credits_in_doubt,
            in_doubt=stats.in_doubt,
            failed=stats.rejected + stats.invalid + stats.unsent,
        )


_NO_ORDER = 0
"""The number of no order: nothing was chosen, so nothing is sent."""


def close_order(ledger: Ledger, batch: Batch) -> None:
    """Close the batch's open order if every row of it has its new id; where that fails, the next run does."""
    with contextlib.suppress(LedgerError):
        ledger.change(lambda connection: orders.close(connection, batch, utc_now()))


Consent = Callable[[Plan | RerunPlan], Agreement | None]
ask_consent: ContextVar[Consent | None] = ContextVar("ask_consent", default=None)
"""Shown each plan before it is carried out: how what was said yes to at the command line binds its run."""
on_run: ContextVar[Callable[[RunContext], None] | None] = ContextVar("on_run", default=None)
"""Told about each run that opens: how the command line comes by its progress line."""
on_done: ContextVar[Callable[[], None] | None] = ContextVar("on_done", default=None)
"""Told when a flow has done its work and let go of the table: what is left then is only Prefect's own."""
_current: ContextVar[RunContext | None] = ContextVar("context", default=None)


def current_run() -> RunContext:
    """The run that this task belongs to.

    Raises:
        LookupError: called outside of a run.
    """
    context = _current.get()
    if context is None:
        raise LookupError("no context is open here")
    return context


@asynccontextmanager
async def open_run(ledger: Ledger, settings: Settings, assignment: Assignment) -> AsyncIterator[RunContext]:
    """A run from its first entry in the table to its last.

    Raises:
        SettingsError: there is no key.
        LedgerUnusable: the batch belongs to another API.
    """
    run_id = RunId(uuid.uuid4().hex[:12])
    now = utc_now()
    known = payer(ledger, settings)
    ledger.read(lambda connection: runs.check_batch(connection, assignment.batch, known))
    run = runs.Run(run_id, assignment.batch, assignment.command, settings.max_credits, now)
    async with open_client(settings) as client:
        await ledger.write(runs.start, run)
        await asyncio.to_thread(_rate_doubts, ledger, settings, assignment.batch)
        submitter = _submitter(ledger, client, settings, run_id)
        scope = Scope(assignment.batch, run_id, assignment.rerun)
        context = RunContext(settings, (ledger, client), submitter, (scope, known, assignment.base))
        context.consent = ask_consent.get()
        background = [asyncio.create_task(_beat(ledger, run_id, settings.lease_s))]
        if submitter.sender.window.limit is not None:
            background.append(asyncio.create_task(keep_count(ledger, client, settings, submitter.sender.window)))
        token = _current.set(context)
        try:
            if (listener := on_run.get()) is not None:
                listener(context)
            await context.identify()
            await context.ask_about_noted_ids()
            yield context
        finally:
            _current.reset(token)
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            await _end(ledger, run_id, submitter.stats)
    if submitter.stats.crash is not None:
        raise submitter.stats.crash


def _rate_doubts(ledger: Ledger, settings: Settings, batch: Batch) -> None:
    """What was of unknown rate when it was sent may be known by now, from the table of models or by `rate`."""

    def estimate(request: Request) -> int | None:
        models = load_models(settings.models)
        return models.estimate(request, tier=settings.tier, profile=settings.model_profile, rate=settings.rate)

    ledger.change(lambda connection: in_doubt.rate(connection, batch, estimate))


def _submitter(ledger: Ledger, client: Client, settings: Settings, run_id: RunId) -> Submitter:
    limiter = ConcurrencyLimiter(settings.concurrency, _starts(ledger, settings))
    upload_plan = UploadOptions(
        api=settings.base_url,
        run_id=run_id,
        attempts=settings.retry_attempts,
        wait_s=settings.retry_wait_s,
        max_wait_s=settings.retry_max_wait_s,
        images=image_bounds(settings),
    )
    plan = SubmitOptions(
        run_id=run_id,
        concurrency=settings.concurrency,
        attempts=settings.retry_attempts,
        wait_s=settings.retry_wait_s,
        max_wait_s=settings.retry_max_wait_s,
        policy=Policy(settings.server_errors, settings.bad_gateway_wait_s),
        max_credits=settings.max_credits,
        halts_on_drift=settings.price_drift == "halt",
        lease_s=settings.lease_s,
        identical_rejections=settings.identical_rejections,
        api=api_of(settings.base_url),
        render_window=render_window(settings),
        doubt_min_age_s=settings.doubt_min_age_s,
        doubts_in_a_row=settings.doubts_in_a_row,
        doubt_probe_wait_s=settings.doubt_probe_wait_s,
    )
    return Submitter(ledger, client, Uploader(client, ledger, upload_plan, limiter.sleep), plan, limiter)


def _starts(ledger: Ledger, settings: Settings) -> RateLimiter | None:
    if settings.rate_limit is None:
        return None
    api = api_of(settings.base_url)

    async def take_lot(creates: int, spacing_s: float) -> float | None:
        try:
            return await ledger.write(shared_limits.take_lots, shared_limits.Lot(api, creates, spacing_s))
        except LedgerError:  # whatever ails the table, the run hears of it with its next write
            return 0.0

    return RateLimiter(settings.rate_limit, take_lot)


async def _beat(ledger: Ledger, run_id: RunId, lease_s: float) -> None:
    """Signs of life, several in each lease; a failed one is tried again with the next."""
    while True:
        await asyncio.sleep(min(HEARTBEAT_S, lease_s / 6))
        with contextlib.suppress(LedgerError):
            await asyncio.to_thread(ledger.beat, runs.Heartbeat(run_id, utc_now()))


async def _end(ledger: Ledger, run_id: RunId, stats: RunStats) -> None:
    """The run's last entries; where the table fails, the next run finds a run whose process is gone."""
    with contextlib.suppress(LedgerError):
        await ledger.write(claims.release_all, run_id)
        await ledger.write(runs.end, runs.End(run_id, utc_now(), stats.reason.value))
