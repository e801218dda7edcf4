"""What a run leaves in Prefect's UI: a summary, the rows that failed, a progress bar while it runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from prefect import task
from prefect.artifacts import (
    acreate_markdown_artifact,
    acreate_progress_artifact,
    acreate_table_artifact,
    aupdate_progress_artifact,
)
from prefect.cache_policies import NO_CACHE
from prefect.exceptions import PrefectException
from prefect.logging import get_run_logger

from reelbatch.orchestration.events import emit, events_of_run
from reelbatch.pipeline.run_context import RunContext, current_run
from reelbatch.pipeline.run_summary import RunSummary, markdown_summary
from reelbatch.pipeline.run_summary import report as make_report
from reelbatch.printable import markdown

_UPDATE_S = 5.0
_PATIENCE_S = 5.0
_LOG_EVERY = 6  # updates


@task(name="report", persist_result=False, cache_policy=NO_CACHE)
async def report_run() -> RunSummary:
    """Returns the report; it is left as artifacts too."""
    summary = await asyncio.to_thread(make_report, current_run())
    report = summary.report
    get_run_logger().info("%s", report.as_json())
    # Prefect's UI takes each cell for Markdown, and a description as well.
    table = [
        {name: "" if value is None else markdown(str(value)) for name, value in row.items()} for row in summary.failed
    ]
    emit(events_of_run(report), report.batch, report.run_id)
    async with best_effort():
        await acreate_markdown_artifact(
            markdown_summary(report), key="reelbatch-summary", description=markdown(report.batch)
        )
        if table:
            await acreate_table_artifact(table, key="reelbatch-failed-rows", description="Rows that need attention")
    return summary


@asynccontextmanager
async def best_effort() -> AsyncIterator[None]:
    """A server that is gone must not keep the rows from being sent and counted: only the picture of it is lost.

    Prefect's client would ask it for minutes; here it is waited for a few seconds.
    """
    try:
        async with asyncio.timeout(_PATIENCE_S):
            yield
    except (httpx.HTTPError, PrefectException, TimeoutError) as error:
        get_run_logger().warning("Prefect's server did not take an artifact: %s", str(error) or "no answer")


class _ProgressBar:
    """The artifact, which is made as soon as Prefect's server takes it."""

    def __init__(self) -> None:
        self._made: Any = None

    async def show(self, percent: float) -> None:
        """Bring it up to date."""
        async with best_effort():
            if self._made is not None:
                await aupdate_progress_artifact(self._made, progress=percent)
                return
            self._made = await acreate_progress_artifact(percent, key="reelbatch-progress", description="rows sent")


@asynccontextmanager
async def progress_artifact(context: RunContext) -> AsyncIterator[None]:
    """Keep a progress bar and a log line up to date while rows are sent."""
    bar = _ProgressBar()
    await bar.show(0.0)
    updater = asyncio.create_task(_update(context, bar))
    try:
        yield
    finally:
        updater.cancel()
        await asyncio.gather(updater, return_exceptions=True)
        await bar.show(_percent(context))


async def _update(context: RunContext, bar: _ProgressBar) -> None:
    logger, count = get_run_logger(), 0
    while True:
        await asyncio.sleep(_UPDATE_S)
        count += 1
        await bar.show(_percent(context))
        if count % _LOG_EVERY == 0:
            progress = context.progress()
            logger.info("%s of %s rows, %.1f rows/s", progress.done, progress.rows, progress.rows_per_second)


def _percent(context: RunContext) -> float:
    progress = context.progress()
    return 100.0 if not progress.rows else min(100.0, 100.0 * progress.done / progress.rows)
