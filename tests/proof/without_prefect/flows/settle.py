"""flows/settle.py and tasks/settle.py without Prefect."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

from flows.steps import as_flow, opened
from reelbatch.ledger import due
from reelbatch.pipeline.export import export, is_behind
from reelbatch.pipeline.rerun import the_batch
from reelbatch.pipeline.settle import open_settler
from reelbatch.settings import api_of
from reelbatch.signals import stopping_gently


@as_flow
async def settle(**given: Any) -> None:
    """Follow every video that is queued or rendering."""
    async with opened(given, must_exist=True) as (settings, ledger):
        batch = given["batch"]
        chosen = the_batch(ledger, batch) if batch else None
        names = [chosen] if chosen else ledger.read(partial(due.batches_of, api=api_of(settings.base_url)))
        async with open_settler(ledger, settings, chosen, wait=given["wait"]) as settler:
            with stopping_gently(settler.stop):
                await settler.run()
        folder = ledger.path.parent if ledger.path else Path("results")
        for name in names:
            target = str(folder / f"{name}.parquet")
            if settler.stats.changed or is_behind(ledger, target, name):
                await asyncio.to_thread(export, ledger, target, name)
