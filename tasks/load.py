"""Read the manifest, check every row, bring it into the results table."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import task_run

from reelbatch.generation import GenerateOptions
from reelbatch.joining import take_up_manifest
from reelbatch.ledger.selection import SendOptions
from reelbatch.manifest.cloud import shown
from reelbatch.printable import one_line
from reelbatch.session import current_session


def _run_name() -> str:
    return one_line(f"load {shown(task_run.parameters['manifest'])}")


@task(name="load manifest", task_run_name=_run_name, persist_result=False, cache_policy=NO_CACHE)
async def load_manifest(manifest: str, *, strict: bool, send: SendOptions) -> None:
    """The session takes the plan."""
    session = current_session()
    options = GenerateOptions(source=manifest, batch=session.scope.batch, strict=strict, send=send)
    await take_up_manifest(session, options)
