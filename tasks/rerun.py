"""Ask for failed rows again."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from reelbatch.pipeline import rerun
from reelbatch.pipeline.run_context import current_run


@task(name="choose failed rows", persist_result=False, cache_policy=NO_CACHE)
async def choose_failed_rows(chosen: rerun.Chosen, limit: int | None) -> rerun.RerunPlan:
    """The chosen rows become pending, or those of an order. Safe to repeat: those that wait are found again."""
    return await rerun.choose_failed_rows(current_run(), chosen, limit)
