"""Following videos outside of a run that sends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from reelbatch.domain import Batch
from reelbatch.errors import ApiError, LedgerUnusable
from reelbatch.ledger import Ledger, accounts, due, runs, utc_now
from reelbatch.ledger.accounts import Payer
from reelbatch.pipeline.account import identify, is_bad_key, patiently, payer
from reelbatch.pipeline.export import behind, export_settled
from reelbatch.pipeline.resources import open_client, the_batch
from reelbatch.pipeline.run_listener import listening
from reelbatch.pipeline.settle_report import Settled, SettleReport, settle_report
from reelbatch.settings import Settings
from reelbatch.settle import SettleOptions, Settler, SettleReason
from reelbatch.settle.poller import refusal_code
from reelbatch.signals import stopping_gently
from reelbatch.storage.target import open_target
from reelbatch.submit import ExitReason
from reelbatch.submit.confirmation import ask_about_noted_ids
from reelbatch.typed_options import as_stated

if TYPE_CHECKING:
    from reelbatch.client import Client
    from reelbatch.pipeline.run_context import RunContext

_log = logging.getLogger("reelbatch")
_ENDED = {
    SettleReason.INTERRUPTED: ExitReason.INTERRUPTED,
    SettleReason.BAD_KEY: ExitReason.BAD_KEY,
    SettleReason.UNREACHABLE: ExitReason.UNREACHABLE,
    SettleReason.LEDGER_FAILED: ExitReason.LEDGER_FAILED,
}
_ASKED_ABOUT = 3
_REMEDY = "Use its key. Where that is gone, use another one of its account, and name the batch with --batch."
_NO_MORE_CALLS = frozenset({ExitReason.INTERRUPTED, ExitReason.BAD_KEY, ExitReason.LEDGER_FAILED, ExitReason.CRASHED})


async def try_downloads(settings: Settings) -> None:
    """Before a run that settles spends anything: its videos have somewhere to go.

    Raises:
        SettingsError: the folder can't be used.
    """
    if settings.downloads:
        folder = await asyncio.to_thread(open_target, settings.downloads)
        try:
            await asyncio.to_thread(folder.prepare)
        finally:
            folder.close()


async def settle_videos(context: RunContext) -> None:
    """Follow the videos of a run's batch to their end; not after the run was stopped."""
    if context.submitter.limiter.closed and context.stats.reason in _NO_MORE_CALLS:
        return
    await context.end_count()  # what it saw finish now would not be downloaded
    options = replace(settle_options(context.settings, context.batch), tally=context.state.tally)
    settler = Settler(context.ledger, context.client, options)
    context.state.settler = settler
    context.listener.settling(settler)
    stats = await settler.run()
    if (reason := _ENDED.get(stats.reason)) is not None:
        context.submitter.stop(reason, stats.message)


async def settle(ledger: Ledger, settings: Settings, batch: str | None, *, wait: bool) -> None:
    """Follow videos to their end outside of a run: settle, then export what changed; `listening` is told.

    Raises:
        SettingsError: there is no key, or no such batch.
        LedgerUnusable: the batch belongs to another API.
    """
    chosen = the_batch(ledger, batch) if batch is not None else None
    since = utc_now()
    async with open_settler(ledger, settings, chosen, wait=wait) as settler:
        with stopping_gently(settler.stop):
            await settler.run()
    work = Settled(await asyncio.to_thread(batches_of, ledger, settings, chosen), since, settler.stats)
    names = await asyncio.to_thread(to_export, ledger, work)
    problem = await asyncio.to_thread(export_settled, ledger, names)
    await asyncio.to_thread(report_settled, ledger, work, problem)


def report_settled(ledger: Ledger, work: Settled, export_problem: str | None) -> SettleReport:
    """How a settle ended; the listener is told."""
    report = settle_report(ledger, work, export_problem)
    listening.get().settled(report)
    return report


def to_export(ledger: Ledger, work: Settled) -> list[Batch]:
    """Batches whose exported files lack what was settled."""
    return list(work.batches) if work.stats.changed else behind(ledger, work.batches)


def batches_of(ledger: Ledger, settings: Settings, batch: Batch | None) -> list[Batch]:
    """The batch that is named, or all that this account may have paid for and that are not archived."""
    if batch:
        return [batch]
    return ledger.read(partial(due.batches_of, payer=payer(ledger, settings), archived=False))


@asynccontextmanager
async def open_settler(
    ledger: Ledger, settings: Settings, batch: Batch | None, *, wait: bool = True
) -> AsyncIterator[Settler]:
    """A settler by itself, outside of a run. `batch` None: all of this account that are not archived.

    Raises:
        SettingsError: there is no key.
        LedgerUnusable: the batch belongs to another API or account.
    """
    async with open_client(settings) as client:
        who, refusal = payer(ledger, settings), None
        if who.account is None:  # a key that the table has not seen may be another one of its account
            found = await identify(ledger, client, settings)
            who, refusal = found.payer, found.refusal
        settler = Settler(
            ledger, client, replace(settle_options(settings, batch), wait=wait, payer=who, archived=False)
        )
        trouble = None
        if refusal is None and batch is not None and _needs_recognising(ledger, who, batch):
            trouble = await _recognise(ledger, client, settings, who, batch)
        if trouble is not None:
            settler.end(SettleReason.BAD_KEY if is_bad_key(trouble) else SettleReason.UNREACHABLE, str(trouble))
        elif refusal is None:
            _check_whose(ledger, who, batch)
            names = batches_of(ledger, settings, batch)
            settler.stats.cleared_up = await ask_about_noted_ids(ledger, client, settings, who, names)
        elif batch is not None or ledger.read(partial(accounts.unfinished_of_others, payer=who)):
            settler.end(SettleReason.BAD_KEY, refusal)  # whose videos they are, such a key does not tell
        listening.get().settling(settler)
        yield settler


def _needs_recognising(ledger: Ledger, who: Payer, batch: Batch) -> bool:
    """Whether another key has sent the batch, and no one has named its account."""
    bound = ledger.read(partial(accounts.payer_of, batch=batch))
    if bound is None or bound.api != who.api:
        return False
    return ledger.read(partial(accounts.is_of_another_key, batch=batch, payer=who))


async def _recognise(ledger: Ledger, client: Client, settings: Settings, who: Payer, batch: Batch) -> ApiError | None:
    """Its videos are known to keys of its account; gives why the API could not be asked about them.

    Raises:
        LedgerUnusable: by this key the API knows none of those that were made last.
    """
    trouble = None
    for token, video_id in ledger.read(partial(runs.last_videos, batch=batch, limit=_ASKED_ABOUT)):
        try:
            video = await patiently(partial(client.get_video, video_id), settings)
        except ApiError as error:
            if is_bad_key(error) or refusal_code(error) is None:
                trouble = error
            continue
        if (video.name or "").split()[-1:] == [token]:
            ledger.change(partial(runs.is_of, batch=batch, payer=who))
            _log.info('Batch "%s" was sent with another key of this account: it knows video %s.', batch, video_id)
            return None
    if trouble is not None:
        return trouble
    raise LedgerUnusable(
        f'batch "{batch}" was sent with another key, the API has not said whose account that is, and by this key it '
        "knows none of the batch's last videos. Use a key of the account that they were made with."
    )


def _check_whose(ledger: Ledger, who: Payer, batch: Batch | None) -> None:
    """See that the batch is this account's; where none is named, say what is left to others.

    Raises:
        LedgerUnusable: the batch belongs to another API or account.
    """
    if batch is not None:
        ledger.read(partial(runs.check_batch, batch=batch, payer=who))
    elif others := ledger.read(partial(accounts.unfinished_of_others, payer=who)):
        found = ", ".join(f'{count:,} of "{name}"' for name, count in others.items())
        _log.warning("Left alone: unfinished videos that another account or key has made: %s. %s", found, _REMEDY)


def left_elsewhere(ledger: Ledger, api: str) -> str | None:
    """What a settle at `api` leaves alone since another API made it, and how to follow that; None: nothing."""
    others = ledger.read(partial(accounts.unfinished_elsewhere, api=api))
    if not others:
        return None
    local = "--base-url with its address on this machine, or --sandbox with --results"
    found = [
        f"{count:,} of {other} (use {local if other == 'local' else f'--base-url https://{other}, no --sandbox'})"
        for other, count in others.items()
    ]
    return as_stated(f"Left alone: unfinished videos that belong to another API than {api}: {', '.join(found)}")


def settle_options(settings: Settings, batch: Batch | None) -> SettleOptions:
    """How videos are followed, by the settings."""
    return SettleOptions(
        batch=batch,
        poll_interval_s=settings.poll_interval_s,
        concurrency=settings.poll_concurrency,
        timeout_s=settings.settle_timeout_s,
        downloads=settings.downloads,
        unknown_state_holds_s=settings.unknown_state_holds_s,
        unreachable_after_s=settings.unreachable_after_s,
    )
