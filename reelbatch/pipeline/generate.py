"""The main job: load the manifest, submit its rows, settle, report and export; nothing is left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from math import ceil

from reelbatch.domain import Batch, RowState
from reelbatch.images.inspect import ImageKind, image_kind
from reelbatch.ledger import Ledger, claims, orders, utc_now, waiting_rows
from reelbatch.memory import old_objects_spared
from reelbatch.pipeline.export import export_results, export_target, refuse_export
from reelbatch.pipeline.load_manifest import load_manifest
from reelbatch.pipeline.outlook import left_of
from reelbatch.pipeline.plan import GenerateOptions, batch_name, manifest_of
from reelbatch.pipeline.replaced_files import refuse_manifest_as_export
from reelbatch.pipeline.run_context import Assignment, RunContext, open_run
from reelbatch.pipeline.run_summary import finish_order, report
from reelbatch.pipeline.settle import settle_videos, try_downloads
from reelbatch.printable import counted
from reelbatch.settings import Settings
from reelbatch.signals import stopping_gently
from reelbatch.submit import AgreedCost, ExitReason
from reelbatch.typed_options import command

MOST_CHUNKS = 200
_OTHERS_POLL_S = 1.0
_LOOKED_AT = 200  # rows, to see what sort of images a batch has

SubmitChunk = Callable[[int, int], Awaitable[int]]
"""Given the first and last row number of a range: submits its pending rows and returns how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSteps:
    """What a run does beside sending, and how much it sends."""

    limit: int | None = None  # rows; None: all
    settle: bool = False  # wait for the videos as well


def assignment(options: GenerateOptions, settings: Settings) -> Assignment:
    """What a run for `options` works on; the manifest is opened, not read.

    Raises:
        ManifestError: there is no such manifest, or it can't be opened.
        UsageError: the file to export to can't be used, or is the manifest.
    """
    refuse_export(settings.export, options.source)
    refuse_manifest_as_export(settings, options.source, options.batch)
    manifest = manifest_of(options, settings)
    return Assignment(batch=batch_name(options.batch, manifest), command="generate", base=manifest.base)


async def generate(ledger: Ledger, settings: Settings, options: GenerateOptions, steps: RunSteps) -> None:
    """Send every row that has no video yet; `listening` is told what comes of it.

    Raises:
        UsageError: the manifest, a setting or the results table can't be used.
    """
    async with open_run(ledger, settings, assignment(options, settings)) as context:
        await carry_out(context, partial(load_manifest, context, options), steps)


async def carry_out(context: RunContext, load: Callable[[], Awaitable[object]], steps: RunSteps) -> None:
    """The steps of a run, as the flows have them: load, submit, settle, report, export."""
    target = export_target(context)  # one that can't be used is said before anything is spent
    if steps.settle:
        await try_downloads(context.settings)
    with stopping_gently(context.interrupt):
        await load()
        await submit_all(context, limit=steps.limit)
        if steps.settle:
            await settle_videos(context)
    await asyncio.to_thread(report, context)
    exported = await asyncio.to_thread(export_results, context, target)
    await asyncio.to_thread(finish_order, context, exported)


def cancel_order(ledger: Ledger, batch: Batch) -> str:
    """Drop what the batch's open order has not sent; returns what was dropped, in words."""
    found = ledger.change(lambda connection: orders.cancel(connection, batch, utc_now()))
    if found is None:
        return f'batch "{batch}": no order is open, nothing was dropped'
    order, dropped = found
    kept = sum(order.states.values()) - dropped
    said = f'batch "{batch}": {counted(dropped, "row")} of {order.words} dropped unsent; {kept:,} stay'
    if doubts := order.count(RowState.IN_DOUBT):
        clears = f"`{command('reconcile', batch=batch)}` clears that up"
        return f"{said}. It stays open, since {doubts:,} may have been charged: {clears}"
    return said


async def submit_all(context: RunContext, submit: SubmitChunk | None = None, *, limit: int | None) -> None:
    """Submit every pending row once, chunk by chunk; then what other workers left behind.

    `submit` takes one chunk; by itself the run does.
    """
    try:
        with old_objects_spared():
            await _submit_all(context, submit or context.submit, _bounded(context, limit))
    finally:
        context.stats.kinds.log()
        context.submitter.sender.recorder.file.log()
    context.submitter.sender.refusals.conclude()
    if why := context.stats.none_sent:
        context.stats.end(ExitReason.NONE_SENT, why)


def _bounded(context: RunContext, limit: int | None) -> int | None:
    """How many rows this run may send: what was stated, and what was said yes to."""
    agreement = context.state.agreement
    allowed = None if agreement is None else agreement.rows
    return min((bound for bound in (limit, allowed) if bound is not None), default=None)


async def _submit_all(context: RunContext, submit: SubmitChunk, limit: int | None) -> None:
    ledger, state, limiter = context.ledger, context.state, context.submitter.limiter
    context.submitter.allowance = limit
    if (yes := state.agreement) is not None:
        context.submitter.sender.agreed = AgreedCost(yes.credits_estimated, yes.unknown_rate)
        if limit is not None:
            await asyncio.to_thread(_pass_over_too_dear, context, limit)
    claimable = await asyncio.to_thread(_claimable, context)
    state.rows_to_send = claimable if limit is None else min(claimable, limit)
    taken = await _submit_chunks(context, submit, _rows_each(state.rows_to_send), limit)
    while not limiter.closed and (limit is None or taken < limit):
        await asyncio.to_thread(ledger.recover, timedelta(seconds=context.settings.lease_s))
        more = await asyncio.to_thread(_claimable, context)
        if more:
            state.rows_to_send += more if limit is None else min(more, limit - taken)
            rows_each = _rows_each(more) if limit is None else more  # it is not known which of them can be sent
            taken += await _submit_chunks(context, submit, rows_each, None)
        elif await asyncio.to_thread(_held_by_others, context):
            await limiter.sleep(_OTHERS_POLL_S)
        else:
            return


def _pass_over_too_dear(context: RunContext, limit: int) -> None:
    """Where not all rows go, those that find no room are not among the ones that someone said yes to."""
    cap, budget = context.ledger.read(partial(left_of, batch=context.batch, settings=context.settings))
    room = min((left for left in (cap, budget) if left is not None), default=None)
    if room is None:
        return
    sender, bound = context.submitter.sender, ExitReason.CAP if room == cap else ExitReason.BUDGET
    fitting = partial(waiting_rows.claimable, scope=context.scope._replace(most=room))
    if context.ledger.read(fitting) < _claimable(context):
        sender.refusals.pass_over(room, bound)
    first = context.ledger.read(partial(waiting_rows.costs, scope=context.scope, limit=limit))
    if sum(credits_ or 0 for credits_ in first) > room and sender.agreed is not None:
        sender.agreed.passes_over, sender.refusals.bound = True, bound


def _rows_each(rows: int) -> int:
    return max(1, ceil(rows / MOST_CHUNKS))


async def _submit_chunks(context: RunContext, submit: SubmitChunk, rows_each: int, limit: int | None) -> int:
    """One range of rows after the other, with as many at once as keep every place busy."""
    spans = await asyncio.to_thread(
        context.ledger.read, partial(claims.chunks, scope=context.scope, rows_each=rows_each, limit=limit)
    )
    with_files = await asyncio.to_thread(_names_files, context)
    at_once = asyncio.Semaphore(1 + ceil(context.submitter.rows_at_once(with_files=with_files) / rows_each))

    async def run(first: int, last: int) -> int:
        async with at_once:
            return 0 if context.submitter.limiter.closed else await submit(first, last)

    # All of them end before this does, also when it is cancelled: creates in flight are recorded first.
    ends = await asyncio.gather(*(run(first, last) for first, last in spans), return_exceptions=True)
    if failures := [end for end in ends if isinstance(end, BaseException)]:
        raise failures[0]
    return sum(end for end in ends if isinstance(end, int))


def _claimable(context: RunContext) -> int:
    """Pending rows that this run may still take."""
    return context.ledger.read(partial(waiting_rows.claimable, scope=context.scope))


def _held_by_others(context: RunContext) -> int:
    """Rows that other workers hold now."""
    return context.ledger.read(partial(waiting_rows.held_by_others, batch=context.batch, run_id=context.scope.run_id))


def _names_files(context: RunContext) -> bool:
    """Whether some of the next rows name images that may have to be uploaded."""
    images = context.ledger.read(partial(waiting_rows.next_images, scope=context.scope, limit=_LOOKED_AT))
    return any(image_kind(image) in {ImageKind.LOCAL, ImageKind.CLOUD} for image in images)
