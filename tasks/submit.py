"""Send the rows of one range. Safe to repeat: a second try finds only rows that may be sent."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from reelbatch.session import current_session


@task(
    name="submit rows",
    task_run_name="{batch} rows {first}-{last}",
    retries=2,
    retry_delay_seconds=5,
    persist_result=False,
    cache_policy=NO_CACHE,
)
async def submit_rows(batch: str, first: int, last: int) -> int:
    """Returns how many rows this worker took."""
    del batch  # only for the run's name
    return await current_session().submit(first, last)
