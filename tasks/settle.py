"""Follow videos to their end: final states, final credits, downloads."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from reelbatch.session import current_session


@task(name="settle videos", persist_result=False, cache_policy=NO_CACHE)
async def settle_videos() -> None:
    """The session keeps what was settled."""
    await current_session().settle()
