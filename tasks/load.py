"""Read the manifest, check every row, bring it into the results table."""

from __future__ import annotations

import asyncio

from prefect import task
from prefect.cache_policies import NO_CACHE

from reelbatch.generation import Order, load
from reelbatch.ledger.staging import Regenerate
from reelbatch.session import current_session


@task(name="load manifest", task_run_name="load {manifest}", persist_result=False, cache_policy=NO_CACHE)
async def load_manifest(manifest: str, *, strict: bool, regenerate: str, limit: int | None) -> None:
    """The session takes the plan. Off the event loop, since a long manifest takes a while."""
    session = current_session()
    order = Order(
        source=manifest, batch=session.scope.batch, strict=strict, regenerate=Regenerate(regenerate), limit=limit
    )
    session.take_plan(await asyncio.to_thread(load, order, session.settings, session.ledger))
