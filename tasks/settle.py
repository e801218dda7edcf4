"""Follow videos to their end: final states, final credits, downloads."""

from __future__ import annotations

from dataclasses import asdict

from prefect import task
from prefect.artifacts import acreate_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from reelbatch.orchestration.events import emit, events_of_settle
from reelbatch.pipeline import settle as pipeline
from reelbatch.pipeline.run_context import current_run
from reelbatch.settle import Settler
from tasks.report import best_effort


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
    stats = asdict(settler.stats)
    get_run_logger().info("%s", stats)
    rows = [f"| {name.replace('_', ' ')} | {value} |" for name, value in stats.items() if isinstance(value, int)]
    table = "\n".join(["| settled | |", "| --- | ---: |", *rows])
    batch = settler.batch or "all"
    emit(events_of_settle(batch, settler.stats), batch)
    async with best_effort():
        await acreate_markdown_artifact(table, key="reelbatch-settled")
