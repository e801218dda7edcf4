"""The steps of every run that sends rows, in their order, and the state that it ends in."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from reelbatch.pipeline.generate import send_all
from reelbatch.pipeline.run_context import RunContext, on_run
from reelbatch.printable import one_line
from reelbatch.signals import stopping_gently
from tasks.export import export_results
from tasks.report import progress_artifact, report_run
from tasks.settle import settle_videos
from tasks.submit import submit_rows


async def send(
    context: RunContext, load: Callable[[], Awaitable[object]], *, limit: int | None, settle: bool
) -> None:
    """`load` makes rows pending; they are sent, followed with `settle`, reported and exported."""
    target = context.export_target  # one that can't be used is said before anything is spent
    with stopping_gently(context.interrupt):
        await load()
        async with progress_artifact(context):
            await send_all(context, submit_rows, limit=limit)
        if settle:
            await settle_videos()
    await report_run()
    await export_results(target)
    if on_run.get() is None:  # else whoever watches prints the report first
        await asyncio.to_thread(context.close_order)


def final_state(context: RunContext) -> State[Any]:
    """Failed where the run was halted, so that a schedule shows red; otherwise completed, with the counts."""
    report = context.report
    if context.export_problem is not None:
        return Failed(
            message=one_line(f"the rows were sent, but the table was not exported: {context.export_problem}")
        )
    if report is None:
        return Failed(message="the run ended without a report")
    message = f"{report.submitted} of {report.status.rows} rows got their id in this run"
    if report.exit_code in {0, 1}:
        return Completed(message=message)
    return Failed(message=one_line(f"{report.exit_reason.value}: {report.message or message}"))
