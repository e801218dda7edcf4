"""Read the manifest, check every row, bring it into the results table."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import task_run

from reelbatch.ledger.selection import SendOptions
from reelbatch.pipeline import load_manifest as pipeline
from reelbatch.pipeline.plan import GenerateOptions
from reelbatch.pipeline.run_context import current_run
from reelbatch.printable import one_line
from reelbatch.storage.files import redact_url


def _run_name() -> str:
    return one_line(f"load {redact_url(task_run.parameters['manifest'])}")


@task(name="load manifest", task_run_name=_run_name, persist_result=False, cache_policy=NO_CACHE)
async def load_manifest(manifest: str, *, strict: bool, send: SendOptions) -> None:
    """The run is told the plan."""
    context = current_run()
    options = GenerateOptions(source=manifest, batch=context.batch, strict=strict, send=send)
    await pipeline.load_manifest(context, options)
