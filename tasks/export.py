"""Write the results table to a file."""

from __future__ import annotations

import asyncio

from prefect import task
from prefect.cache_policies import NO_CACHE

from reelbatch.exporting import export
from reelbatch.session import current_session


@task(name="export results", task_run_name="export {target}", persist_result=False, cache_policy=NO_CACHE)
async def export_results(target: str) -> int:
    """Returns the number of rows written."""
    session = current_session()
    return await asyncio.to_thread(export, session.ledger, target, session.scope.batch)
