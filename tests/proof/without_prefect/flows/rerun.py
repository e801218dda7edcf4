"""flows/rerun.py and tasks/rerun.py without Prefect."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from flows.steps import as_flow, opened, send
from reelbatch.ledger import reruns
from reelbatch.ledger.reruns import Selection
from reelbatch.pipeline.rerun import RerunOptions, preview, rerun_assignment, selection
from reelbatch.pipeline.run_context import RunContext, open_run


@as_flow
async def rerun(**given: Any) -> None:
    """Send failed rows again."""
    order = RerunOptions(batch=given["batch"], states=tuple(given["states"] or ()), row_keys=given["rows"])
    async with opened(given, must_exist=True) as (settings, ledger):
        chosen = selection(order, ledger)
        async with open_run(ledger, settings, rerun_assignment(ledger, chosen)) as context:
            choose = partial(_choose, context, chosen, given["limit"])
            await send(context, choose, limit=given["limit"], settle=given["settle"])


async def _choose(context: RunContext, chosen: Selection, limit: int | None) -> None:
    plan = await asyncio.to_thread(preview, context.ledger, chosen, context.settings, limit)
    context.take_plan(plan)
    await asyncio.to_thread(context.ledger.change, partial(reruns.request, selection=chosen, limit=limit))
