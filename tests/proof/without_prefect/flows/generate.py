"""flows/generate.py without Prefect."""

from __future__ import annotations

from functools import partial
from typing import Any

from flows.steps import as_flow, opened, send
from reelbatch.pipeline.generate import GenerateOptions, assignment, send_options
from reelbatch.pipeline.load_manifest import take_up_manifest
from reelbatch.pipeline.run_context import open_session


@as_flow
async def generate(**given: Any) -> None:
    """Send every row of the manifest that has no video yet."""
    async with opened(given) as (settings, ledger):
        which = send_options(
            regenerate=given["regenerate"], rows=given["rows"], repeats=settings.repeats, limit=given["limit"]
        )
        options = GenerateOptions(source=given["manifest"], batch=given["batch"], strict=given["strict"], send=which)
        async with open_session(ledger, settings, assignment(options, settings)) as session:
            load = partial(take_up_manifest, session, options)
            await send(session, load, limit=given["limit"], settle=given["settle"])
