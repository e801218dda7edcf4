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
from reelbatch.pipeline.run_context import current_session
from reelbatch.submit import ExitReason


@task(name="choose failed rows", persist_result=False, cache_policy=NO_CACHE)
async def choose_failed_rows(chosen: Selection, limit: int | None) -> RerunPlan:
    """The chosen rows become pending. Safe to repeat: rows that wait already are found again."""
    session = current_session()
    plan = await asyncio.to_thread(preview, session.ledger, chosen, session.settings, limit)
    try:
        await asyncio.to_thread(session.agree, plan)
    except NotAgreed as refusal:
        session.submitter.stop(ExitReason.DECLINED if refusal.asked else ExitReason.NOT_AGREED, str(refusal))
        return plan
    session.take_plan(plan)
    await asyncio.to_thread(session.ledger.change, partial(reruns.request, selection=chosen, limit=limit))
    return plan
