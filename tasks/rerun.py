"""Ask for failed rows again."""

from __future__ import annotations

import asyncio
from functools import partial

from prefect import task
from prefect.cache_policies import NO_CACHE

from reelbatch.ledger import reruns
from reelbatch.ledger.reruns import Selection
from reelbatch.pipeline.plan import NotAgreed, RerunPlan
from reelbatch.pipeline.rerun import preview
from reelbatch.pipeline.run_context import current_run
from reelbatch.submit import ExitReason


@task(name="choose failed rows", persist_result=False, cache_policy=NO_CACHE)
async def choose_failed_rows(chosen: Selection, limit: int | None) -> RerunPlan:
    """The chosen rows become pending. Safe to repeat: rows that wait already are found again."""
    context = current_run()
    plan = await asyncio.to_thread(preview, context.ledger, chosen, context.settings, limit)
    try:
        await asyncio.to_thread(context.agree, plan)
    except NotAgreed as refusal:
        context.submitter.stop(ExitReason.DECLINED if refusal.asked else ExitReason.NOT_AGREED, str(refusal))
        return plan
    context.take_plan(plan)
    await asyncio.to_thread(context.ledger.change, partial(reruns.request, selection=chosen, limit=limit))
    return plan
