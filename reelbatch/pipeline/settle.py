"""Following videos outside of a run that sends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from dataclasses import replace
from functools import partial

from reelbatch.client import Client
from reelbatch.domain import Batch
from reelbatch.ledger import Ledger, accounts, due, runs
from reelbatch.model_table import load_models
from reelbatch.pipeline.account import payer
from reelbatch.pipeline.open_client import open_client
from reelbatch.settings import Settings, api_of
from reelbatch.settle import SettleOptions, Settler
from reelbatch.submit import RenderWindow
from reelbatch.submit.confirmation import ask_about_noted_ids

_COUNT_EVERY_S = 2.0

on_settler: ContextVar[Callable[[Settler], None] | None] = ContextVar("on_settler", default=None)
"""Told about each settler that works outside of a run."""


@asynccontextmanager
async def open_settler(
    ledger: Ledger, settings: Settings, batch: Batch | None, *, wait: bool = True
) -> AsyncIterator[Settler]:
    """A settler by itself, outside of a run. `batch` None: all batches of this API.

    Raises:
        SettingsError: there is no key.
        LedgerUnusable: the batch belongs to another API.
    """
    api, who = api_of(settings.base_url), payer(ledger, settings)
    if batch is not None:
        ledger.read(lambda connection: runs.check_batch(connection, batch, who))
    async with open_client(settings) as client:
        settler = Settler(ledger, client, replace(settle_options(settings, batch), wait=wait, api=api))
        names = [batch] if batch is not None else ledger.read(partial(due.batches_of, api=api))
        settler.stats.cleared_up = await ask_about_noted_ids(ledger, client, settings, names)
        if (listener := on_settler.get()) is not None:
            listener(settler)
        yield settler


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
    return f"Left alone: unfinished videos that belong to another API than {api}: {', '.join(found)}"


def render_window(settings: Settings) -> int | None:
    """Videos that may be unfinished at once: stated, or the plan's; None: any number."""
    if settings.render_window is not None or settings.tier is None:
        return settings.render_window
    return load_models(settings.models).render_windows.get(settings.tier)


async def keep_count(ledger: Ledger, client: Client, settings: Settings, window: RenderWindow) -> None:
    """Settle what is finished while rows are sent, and tell the window how many videos are not. Until cancelled."""
    api = api_of(settings.base_url)
    plan = replace(settle_options(settings, None), wait=False, api=api, downloads=None)
    while True:
        # Whatever fails here is tried again in the next round; the run itself notices what is wrong for good.
        with suppress(Exception):
            window.count(await asyncio.to_thread(ledger.read, partial(accounts.unfinished, api=api)))
        await asyncio.sleep(min(settings.poll_interval_s, _COUNT_EVERY_S))
        with suppress(Exception):
            await Settler(ledger, client, plan).run()


def settle_options(settings: Settings, batch: Batch | None) -> SettleOptions:
    """How videos are followed, by the settings."""
    return SettleOptions(
        batch=batch,
        poll_interval_s=settings.poll_interval_s,
        concurrency=settings.poll_concurrency,
        timeout_s=settings.settle_timeout_s,
        downloads=settings.downloads,
        unknown_state_holds_s=settings.unknown_state_holds_s,
    )
