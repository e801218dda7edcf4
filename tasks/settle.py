"""Follow videos to their end: final states, final credits, downloads."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from reelbatch.orchestration.events import emit, events_of_settle
from reelbatch.pipeline import settle as pipeline
from reelbatch.pipeline.run_context import current_run
from reelbatch.settle import Settler


@task(name="settle videos", persist_result=False, cache_policy=NO_CACHE)
async def settle_videos() -> None:
    """Until all videos of the run's batch are finished."""
    run = current_run()
    await pipeline.settle_videos(run)
    if (settler := run.state.settler) is not None:
        emit(events_of_settle(run.batch, settler.stats), run.batch, run.scope.run_id)


@task(name="follow videos", persist_result=False, cache_policy=NO_CACHE)
async def follow_videos(settler: Settler) -> None:
    """Settle by itself, outside of a run that sends."""
    await settler.run()
    batch = settler.batch or "all"
    emit(events_of_settle(batch, settler.stats), batch)
