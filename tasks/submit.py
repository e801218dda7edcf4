"""Send the rows of one range. Safe to repeat: a second try finds only rows that may be sent."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import task_run

from reelbatch.pipeline.run_context import current_run
from reelbatch.printable import one_line


def _run_name() -> str:
    stated = task_run.parameters
    return one_line(f"{stated['batch']} rows {stated['first']}-{stated['last']}")


@task(
    name="submit rows",
    task_run_name=_run_name,
    retries=2,
    retry_delay_seconds=5,
    persist_result=False,
    cache_policy=NO_CACHE,
)
async def submit_rows(batch: str, first: int, last: int) -> int:
    """Returns how many rows this worker took."""
    del batch  # only for the run's name
    return await current_run().submit(first, last)
