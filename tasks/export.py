"""Write the results table to a file."""

from __future__ import annotations

import asyncio
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import task_run

from reelbatch.domain import Batch
from reelbatch.errors import ReelbatchError
from reelbatch.ledger import Ledger
from reelbatch.pipeline.export import export, is_behind
from reelbatch.pipeline.run_context import current_run
from reelbatch.printable import one_line
from reelbatch.storage.files import redact_url


@task(name="export settled", persist_result=False, cache_policy=NO_CACHE)
async def export_settled(ledger: Ledger, names: list[Batch]) -> None:
    """The files that earlier runs left beside the table are brought up to date."""
    for name in names:
        await asyncio.to_thread(export, ledger, _target(ledger, name), name)


def behind(ledger: Ledger, names: list[Batch]) -> list[Batch]:
    """The batches whose files beside the table lack what was settled since."""
    return [name for name in names if is_behind(ledger, _target(ledger, name), name)]


def _target(ledger: Ledger, name: Batch) -> str:
    folder = ledger.path.parent if ledger.path else Path("results")
    return str(folder / f"{name}.parquet")


def _run_name() -> str:
    return one_line(f"export {redact_url(task_run.parameters['target'])}")


@task(name="export results", task_run_name=_run_name, persist_result=False, cache_policy=NO_CACHE)
async def export_results(target: str) -> int:
    """Returns the number of rows written; where that fails, the run keeps why."""
    context = current_run()
    try:
        return await asyncio.to_thread(export, context.ledger, target, context.scope.batch)
    except ReelbatchError as error:
        context.export_problem = str(error)
        return 0
