"""Runs of a Python call: without an export, for which there is `results`, and with signals left to the program."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from reelbatch.ledger import Ledger
from reelbatch.pipeline.generate import RunSteps, assignment, submit_all
from reelbatch.pipeline.load_manifest import load_manifest
from reelbatch.pipeline.plan import GenerateOptions
from reelbatch.pipeline.rerun import Chosen, choose_failed_rows, rerun_assignment
from reelbatch.pipeline.run_context import RunContext, open_run
from reelbatch.pipeline.run_summary import RunReport, finish_order, report
from reelbatch.pipeline.settle import settle_videos, try_downloads
from reelbatch.settings import Settings


async def generate(ledger: Ledger, settings: Settings, options: GenerateOptions, steps: RunSteps) -> RunReport:
    """As `reelbatch generate`."""
    async with open_run(ledger, settings, assignment(options, settings)) as context:
        return await _sent(context, partial(load_manifest, context, options), steps)


async def rerun(ledger: Ledger, settings: Settings, chosen: Chosen, steps: RunSteps) -> RunReport:
    """As `reelbatch rerun`."""
    async with open_run(ledger, settings, rerun_assignment(ledger, chosen)) as context:
        return await _sent(context, partial(choose_failed_rows, context, chosen, steps.limit), steps)


async def _sent(context: RunContext, load: Callable[[], Awaitable[object]], steps: RunSteps) -> RunReport:
    if steps.settle:
        await try_downloads(context.settings)
    await load()
    await submit_all(context, limit=steps.limit)
    if steps.settle:
        await settle_videos(context)
    summary = report(context)
    finish_order(context)
    return summary.report
