"""Write the results table to a file."""

from __future__ import annotations

import asyncio

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import task_run

from reelbatch.domain import Batch
from reelbatch.ledger import Ledger
from reelbatch.pipeline import export
from reelbatch.pipeline.run_context import current_run
from reelbatch.printable import one_line
from reelbatch.storage.files import redact_url


@task(name="export settled", persist_result=False, cache_policy=NO_CACHE)
async def export_settled(ledger: Ledger, names: list[Batch]) -> str | None:
    """The files that earlier runs left beside the table are brought up to date; returns what stood in the way."""
    return await asyncio.to_thread(export.export_settled, ledger, names)


def _run_name() -> str:
    return one_line(f"export {redact_url(task_run.parameters['target'])}")


@task(name="export results", task_run_name=_run_name, persist_result=False, cache_policy=NO_CACHE)
async def export_results(target: str) -> export.Exported:
    """Returns what was written; where that fails, why."""
    return await asyncio.to_thread(export.export_results, current_run(), target)
