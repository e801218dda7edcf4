"""flows/generate.py without Prefect."""

from __future__ import annotations

from functools import partial
from typing import Any

from flows.steps import as_flow, opened, send
from reelbatch.pipeline.generate import GenerateOptions, assignment, send_options
from reelbatch.pipeline.load_manifest import join_or_load
from reelbatch.pipeline.run_context import open_run


@as_flow
async def generate(**given: Any) -> None:
    """Send every row of the manifest that has no video yet."""
    async with opened(given) as (settings, ledger):
        which = send_options(
            regenerate=given["regenerate"], rows=given["rows"], repeats=settings.repeats, limit=given["limit"]
        )
        options = GenerateOptions(source=given["manifest"], batch=given["batch"], strict=given["strict"], send=which)
        async with open_run(ledger, settings, assignment(options, settings)) as context:
            load = partial(join_or_load, context, options)
            await send(context, load, limit=given["limit"], settle=given["settle"])
