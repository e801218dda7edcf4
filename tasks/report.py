"""What a run leaves in Prefect's UI: a page, the rows that failed, a progress bar while it runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
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

from reelbatch.domain import Batch, RowState
from reelbatch.errors import LedgerError
from reelbatch.ledger import Ledger, queries
from reelbatch.orchestration.events import emit, events_of_run, events_under_way
from reelbatch.pipeline.run_context import RunContext, current_run
from reelbatch.pipeline.run_page import artifact_key, failed_table, run_page, settle_page, surroundings, videos_table
from reelbatch.pipeline.run_summary import FAILED_ROWS_SHOWN, RunSummary
from reelbatch.pipeline.run_summary import report as make_report
from reelbatch.pipeline.settle import report_settled
from reelbatch.pipeline.settle_report import Settled, SettleReport
from reelbatch.printable import markdown

_UPDATE_S = 5.0
_PATIENCE_S = 5.0
_LOG_EVERY = 6  # updates


@task(name="report", persist_result=False, cache_policy=NO_CACHE)
async def report_run() -> RunSummary:
    """Returns the report; it is left as artifacts too."""
    context = current_run()
    summary = await asyncio.to_thread(make_report, context)
    report = summary.report
    get_run_logger().info("%s", report.as_json())
    emit(events_of_run(report, context.state.told), report.batch, report.run_id)
    page = run_page(report, await asyncio.to_thread(surroundings, context))
    async with best_effort():
        await acreate_markdown_artifact(
            page, key=artifact_key("summary", report.batch), description=markdown(report.batch)
        )
        if summary.failed:
            key = artifact_key("failed-rows", report.batch)
            await _failed_rows(key, summary.failed, report.status.needs_attention)
        if complete := report.status.count(RowState.COMPLETE):
            await _videos(context.ledger, [report.batch], complete)
    return summary


@task(name="report settled", persist_result=False, cache_policy=NO_CACHE)
async def report_settle(ledger: Ledger, work: Settled, export_problem: str | None) -> SettleReport:
    """The same for videos that were followed by themselves."""
    report = await asyncio.to_thread(report_settled, ledger, work, export_problem)
    get_run_logger().info("%s", report.as_json())
    batch = work.batches[0] if len(work.batches) == 1 else None
    async with best_effort():
        await acreate_markdown_artifact(settle_page(report), key=artifact_key("settled", batch))
        if report.failed:
            await _failed_rows(artifact_key("failed-videos", batch), report.failed, report.failed_rows)
        if report.stats.complete:
            await _videos(ledger, report.batches, report.stats.complete)
    return report


async def _videos(ledger: Ledger, names: Sequence[Batch], count: int) -> None:
    """The newest finished videos, each with its image. `count`: of which they are the newest."""
    with suppress(LedgerError):
        most = min(count, FAILED_ROWS_SHOWN)
        rows = await asyncio.to_thread(ledger.read, partial(queries.finished, names=names, limit=most))
        shown = f"Finished videos, the newest first: {len(rows):,} of {count:,} shown"
        key = artifact_key("videos", names[0] if len(names) == 1 else None)
        await acreate_table_artifact(videos_table(rows), key=key, description=shown)


async def _failed_rows(key: str, rows: Sequence[Mapping[str, Any]], count: int) -> None:
    shown = f"Rows that need attention: {len(rows):,} of {count:,} shown"
    await acreate_table_artifact(failed_table(rows), key=key, description=shown)


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

    def __init__(self, key: str) -> None:
        self._key = key
        self._made: Any = None

    async def show(self, context: RunContext) -> None:
        """Bring it up to date."""
        percent, words = _percent(context), _sent(context)
        async with best_effort():
            if self._made is not None:
                await aupdate_progress_artifact(self._made, progress=percent, description=words)
                return
            self._made = await acreate_progress_artifact(percent, key=self._key, description=words)


@asynccontextmanager
async def progress_artifact(context: RunContext) -> AsyncIterator[None]:
    """Keep a progress bar and a log line up to date while rows are sent."""
    bar = _ProgressBar(artifact_key("progress", context.batch))
    await bar.show(context)
    updater = asyncio.create_task(_update(context, bar))
    try:
        yield
    finally:
        updater.cancel()
        await asyncio.gather(updater, return_exceptions=True)
        await _tell_limits(context)
        await bar.show(context)


async def _update(context: RunContext, bar: _ProgressBar) -> None:
    logger, count = get_run_logger(), 0
    while True:
        await asyncio.sleep(_UPDATE_S)
        count += 1
        await _tell_limits(context)
        await bar.show(context)
        if count % _LOG_EVERY == 0:
            logger.info("%s, %.1f rows/s", _sent(context), context.progress().rows_per_second)


async def _tell_limits(context: RunContext) -> None:
    """A cap or budget that is near or reached is told at once, since videos may be waited for after it."""
    with suppress(LedgerError):  # the run learns of it by itself
        emit(await asyncio.to_thread(events_under_way, context), context.batch, context.scope.run_id)


def _percent(context: RunContext) -> float:
    """Of the rows to send those that were sent; one that was given back was not."""
    rows = context.state.rows_to_send
    return 100.0 if not rows else min(100.0, 100.0 * context.stats.sent / rows)


def _sent(context: RunContext) -> str:
    stats = context.stats
    aside = {
        "rejected": stats.rejected,
        "in doubt": stats.in_doubt,
        "invalid": stats.invalid,
        "given back": stats.unsent,
    }
    more = "".join(f", {rows:,} {what}" for what, rows in aside.items() if rows)
    return f"{stats.sent:,} of {context.state.rows_to_send:,} rows sent{more}"
