"""Following videos outside of a run that sends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import replace

from reelbatch.connecting import open_client
from reelbatch.domain import Batch
from reelbatch.ledger import Ledger, runs
from reelbatch.settings import Settings, api_of
from reelbatch.settler import SettlePlan, Settler

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
    api = api_of(settings.base_url)
    if batch is not None:
        ledger.read(lambda connection: runs.check_batch(connection, batch, api))
    async with open_client(settings) as client:
        settler = Settler(ledger, client, replace(settle_plan(settings, batch), wait=wait, api=api))
        if (listener := on_settler.get()) is not None:
            listener(settler)
        yield settler


def settle_plan(settings: Settings, batch: Batch | None) -> SettlePlan:
    """How videos are followed, by the settings."""
    return SettlePlan(
        batch=batch,
        poll_interval_s=settings.poll_interval_s,
        concurrency=settings.poll_concurrency,
        timeout_s=settings.settle_timeout_s,
        downloads=settings.downloads,
    )
