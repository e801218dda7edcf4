"""One run at work on one batch: its table, its client, its submitter, its heartbeat."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from reelbatch.client import Client
from reelbatch.client.outcome import Policy
from reelbatch.domain import Batch, RunId
from reelbatch.errors import LedgerError
from reelbatch.images.bounds import ImageBounds, upload_bound
from reelbatch.ledger import Ledger, accounts, claims, runs, utc_now
from reelbatch.ledger.accounts import Payer, payer_of
from reelbatch.ledger.selection import Scope
from reelbatch.machine import monotonic_s
from reelbatch.model_table import load_models
from reelbatch.pipeline.account import Identified, identify, needs_account, payer
from reelbatch.pipeline.duration import render_window
from reelbatch.pipeline.funds import funds_of, rate_doubts, to_send
from reelbatch.pipeline.resources import open_client
from reelbatch.pipeline.run_listener import Agreement, NotAgreed, RunListener, listening
from reelbatch.pipeline.run_progress import Progress, progress_of
from reelbatch.pipeline.window_count import Counted, keep_count
from reelbatch.settings import Settings, api_of
from reelbatch.settle import Settler, Tally
from reelbatch.submit import (
    ConcurrencyLimiter,
    ExitReason,
    RateLimiter,
    RunStats,
    SharedBrake,
    SubmitOptions,
    Submitter,
    Uploader,
    UploadOptions,
)
from reelbatch.submit.confirmation import ask_about_noted_ids

if TYPE_CHECKING:
    from reelbatch.pipeline.plan import Plan
    from reelbatch.pipeline.rerun import RerunPlan

HEARTBEAT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """What a run is to work on. `base`: where the manifest's relative image paths start."""

    batch: Batch
    command: str
    base: str
    rerun: bool = False


@dataclass(slots=True)
class RunState:
    """What changes while a run goes on."""

    scope: Scope  # which rows it takes; complete once the manifest is in the table
    plan: Plan | RerunPlan | None = None
    agreement: Agreement | None = None  # None: no one was asked, so nothing binds
    rows_to_send: int = 0
    settler: Settler | None = None
    counting: asyncio.Task[None] | None = None  # of the videos that are unfinished, for the render window
    started: float = field(default_factory=monotonic_s)
    tally: Tally | None = None  # of its videos, those that the window's looks saw finish too
    told: set[str] = field(default_factory=set)  # events that Prefect was told before the run's end


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """What the steps of one run work with. What changes on the way is in `state` and in the submitter's stats."""

    settings: Settings
    ledger: Ledger
    client: Client
    submitter: Submitter
    assignment: Assignment
    who: Identified
    cleared_up: int  # rows that were in doubt when the run began
    listener: RunListener
    state: RunState

    @property
    def batch(self) -> Batch:
        """The batch that the run works on."""
        return self.assignment.batch

    @property
    def payer(self) -> Payer:
        """Who pays for it."""
        return self.who.payer

    @property
    def scope(self) -> Scope:
        """The rows that the run takes."""
        return self.state.scope._replace(most=self.submitter.sender.most)

    @property
    def stats(self) -> RunStats:
        """What this run has done."""
        return self.submitter.stats

    def agree(self, plan: Plan | RerunPlan) -> None:
        """Before anything is changed: what someone said yes to binds, even if there is more to send by now.

        Raises:
            NotAgreed: more would be sent than that.
        """
        self.state.agreement = self.listener.asked(plan)

    def decline(self, refusal: NotAgreed) -> None:
        """Nothing is sent, since no one agreed to it."""
        self.submitter.stop(ExitReason.DECLINED if refusal.asked else ExitReason.NOT_AGREED, str(refusal))

    def planned(self, plan: Plan | RerunPlan, limit: int | None = None) -> None:
        """The rows to send are in the table; the listener is told before anything is sent, with what it may cost.

        With `limit` no more rows than that are sent.
        """
        wanted = self.state.scope  # also what is too dear, which counts as not covered
        rows = to_send(self.ledger, self.settings, plan, wanted, limit)
        funds = funds_of(self.ledger, self.settings, self.batch, self.who, rows)
        told = replace(plan, funds=funds)
        self.state.plan = told
        self.listener.planned(told)

    async def submit(self, first: int, last: int) -> int:
        """Send the pending rows with these row numbers; returns how many this worker took."""
        return await self.submitter.submit(self.scope, (first, last))

    def interrupt(self) -> None:
        """Stop gently: no new create leaves, those in flight are waited for and recorded."""
        self.submitter.stop(ExitReason.INTERRUPTED)
        if self.state.settler is not None:
            self.state.settler.stop()

    async def end_count(self) -> None:
        """Nothing more is sent: the window's count and the looks that go with it end."""
        self.submitter.sender.window.stop()
        if self.state.counting is not None:
            await asyncio.wait({self.state.counting})

    def progress(self) -> Progress:
        """A glance at this run."""
        return progress_of(self.stats, self.submitter.limiter, self.state)


_current: ContextVar[RunContext | None] = ContextVar("context", default=None)


def current_run() -> RunContext:
    """The run that this task belongs to.

    Raises:
        LookupError: called outside of a run.
    """
    context = _current.get()
    if context is None:
        raise LookupError("no run is open here")
    return context


@asynccontextmanager
async def open_run(ledger: Ledger, settings: Settings, assignment: Assignment) -> AsyncIterator[RunContext]:
    """A run from its first entry in the table to its last.

    Raises:
        SettingsError: there is no key.
        LedgerUnusable: the batch belongs to another API.
    """
    run_id = RunId(uuid.uuid4().hex[:12])
    known = payer(ledger, settings)
    ledger.read(partial(runs.check_batch, batch=assignment.batch, payer=known))
    run = runs.Run(run_id, assignment.batch, assignment.command, settings.max_credits, utc_now())
    async with open_client(settings) as client:
        await ledger.write(runs.start, run)
        context: RunContext | None = None
        try:
            who = await identify(ledger, client, settings)
            context = await asyncio.to_thread(_context, ledger, client, settings, (assignment, run_id, who))
            async with _background(context):
                context.listener.started(context)
                context = await _identified(context)
                with _as_current(context):
                    async with _brake(context).shared():
                        yield context
        finally:
            await _end(ledger, run_id, RunStats() if context is None else context.stats)
    if context.stats.crash is not None:
        raise context.stats.crash


def _context(
    ledger: Ledger, client: Client, stated: Settings, whose: tuple[Assignment, RunId, Identified]
) -> RunContext:
    """What the steps of a run work with; the account's tier counts where none is stated."""
    assignment, run_id, who = whose
    settings = who.applied_to(stated)
    rate_doubts(ledger, settings, assignment.batch, who.payer)
    return RunContext(
        settings=settings,
        ledger=ledger,
        client=client,
        submitter=_submitter(ledger, client, settings, run_id, who.payer),
        assignment=assignment,
        who=who,
        cleared_up=0,
        listener=listening.get(),
        state=RunState(Scope(assignment.batch, run_id, assignment.rerun)),
    )


def _brake(context: RunContext) -> SharedBrake:
    """One brake for all workers of the account; where that is not known, of the API and the key."""
    who = context.payer
    payer = who.account or f"{who.api} {who.key_hash or ''}"
    return SharedBrake(context.ledger, payer, context.scope.run_id, context.submitter.limiter)


@contextlib.contextmanager
def _as_current(context: RunContext) -> Iterator[None]:
    token = _current.set(context)
    try:
        yield
    finally:
        _current.reset(token)


@asynccontextmanager
async def _background(context: RunContext) -> AsyncIterator[None]:
    """What goes on beside the steps: signs of life, and the count of unfinished videos where that is limited."""
    ledger, settings, window = context.ledger, context.settings, context.submitter.sender.window
    tasks = [asyncio.create_task(_beat(ledger, context.scope.run_id, settings.lease_s))]
    if window.limit is not None:
        context.state.tally = tally = Tally(context.batch)
        counted = Counted(context.payer, context.scope.run_id, tally)
        context.state.counting = asyncio.create_task(keep_count(ledger, context.client, settings, window, counted))
        tasks.append(context.state.counting)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _identified(context: RunContext) -> RunContext:
    """The run on a batch that is its payer's, and with doubts cleared up that the API knows more of by now.

    A bad key stops the run here, and so does not knowing whose batch or budget it is.

    Raises:
        LedgerUnusable: the batch belongs to another account.
        LedgerError: the table could not be read or written.
    """
    ledger, client, settings, batch = context.ledger, context.client, context.settings, context.batch
    if context.who.refusal is not None:
        context.submitter.stop(ExitReason.BAD_KEY, context.who.refusal)
        return context
    await ledger.write(
        runs.note_balance, runs.Payment(context.scope.run_id, context.payer.api, context.payer.key_hash)
    )
    bound = await asyncio.to_thread(ledger.read, partial(payer_of, batch=batch))
    if context.payer.account is None and (why := needs_account(settings, bound, batch)) is not None:
        context.submitter.stop(ExitReason.NO_ACCOUNT, f"the API did not say whose key this is, and {why}")
    await asyncio.to_thread(ledger.read, partial(runs.check_batch, batch=batch, payer=context.payer))
    if context.submitter.limiter.closed:
        return context
    await asyncio.to_thread(ledger.change, partial(accounts.bind, batch=batch, payer=context.payer))
    cleared_up = await ask_about_noted_ids(ledger, client, settings, context.payer, [batch])
    return replace(context, cleared_up=cleared_up)


def _submitter(ledger: Ledger, client: Client, settings: Settings, run_id: RunId, who: Payer) -> Submitter:
    limiter = ConcurrencyLimiter(settings.concurrency, _rate_limiter(ledger, settings))
    uploads = UploadOptions(
        owner=f"{settings.base_url} {who.name}",
        run_id=run_id,
        attempts=settings.retry_attempts,
        wait_s=settings.retry_wait_s,
        max_wait_s=settings.retry_max_wait_s,
        images=_image_bounds(settings),
    )
    options = SubmitOptions(
        run_id=run_id,
        concurrency=settings.concurrency,
        attempts=settings.retry_attempts,
        wait_s=settings.retry_wait_s,
        max_wait_s=settings.retry_max_wait_s,
        policy=Policy(settings.server_errors, settings.bad_gateway_wait_s),
        max_credits=settings.max_credits,
        budget=settings.budget,
        halts_on_drift=settings.price_drift == "halt",
        lease_s=settings.lease_s,
        identical_rejections=settings.identical_rejections,
        payer=who,
        render_window=render_window(settings),
        doubt_min_age_s=settings.doubt_min_age_s,
        doubts_in_a_row=settings.doubts_in_a_row,
        doubt_probe_wait_s=settings.doubt_probe_wait_s,
    )
    return Submitter(ledger, client, Uploader(client, ledger, uploads, limiter.sleep), options, limiter)


def _image_bounds(settings: Settings) -> ImageBounds:
    """What may be fetched and uploaded for a row."""
    upload = upload_bound(settings.tier, load_models(settings.models).upload_limits)
    unread = settings.image_checks == "warn"
    return ImageBounds(schemes=settings.image_schemes, upload=upload, unread=unread)


def _rate_limiter(ledger: Ledger, settings: Settings) -> RateLimiter | None:
    if settings.rate_limit is None:
        return None
    api = api_of(settings.base_url)

    async def take_lot(creates: int, spacing_s: float) -> float | None:
        try:
            return await ledger.write(accounts.take_lots, accounts.Lot(api, creates, spacing_s))
        except LedgerError:  # whatever ails the table, the run learns of it with its next write
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
        last = runs.End(run_id, utc_now(), stats.reason.value)
        await ledger.write(runs.withdraw if stats.withdrawn else runs.end, last)
