"""The main job: a manifest in, paid-for videos queued, a results table out.

python -m flows.generate manifest=data/catalogue.csv sandbox=true
"""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed

from flows.sending import final_state, send
from flows.setting_up import opened, run_from_command_line
from reelbatch.ledger.selection import Regenerate
from reelbatch.pipeline.generate import GenerateOptions, assignment, cancel_order, send_options
from reelbatch.pipeline.run_context import open_run
from reelbatch.printable import one_line
from reelbatch.storage.files import redact_url
from tasks.load import load_manifest


def _run_name() -> str:
    return one_line(f"generate {redact_url(flow_run.parameters['manifest'])}")


@flow(name="generate", flow_run_name=_run_name, persist_result=False, validate_parameters=True)
async def generate(  # noqa: PLR0913, PLR0917 - a flow's parameters are its form in Prefect's UI
    manifest: str,
    batch: str | None = None,
    config: str | None = None,
    results: str | None = None,
    base_url: str | None = None,
    concurrency: int | None = None,
    max_credits: int | None = None,
    limit: int | None = None,
    export: str | None = None,
    downloads: str | None = None,
    regenerate: Literal["none", "changed", "all", "cancel"] = "none",
    rows: list[str] | None = None,
    repeats: Literal["hold", "send", "skip"] | None = None,
    strict: bool = False,
    settle: bool = False,
    sandbox: bool = False,
    overrides: dict[str, Any] | None = None,
) -> State[Any]:
    """Send every row of the manifest that has no video yet, each exactly once.

    Args:
        manifest: path or URL of the CSV, TSV, JSON Lines or Parquet file.
        batch: name under which the rows are generated once; default: the manifest's stem.
        config: path of a YAML file with settings.
        results: SQLAlchemy URL of the results table.
        base_url: the API's address.
        concurrency: creates in flight.
        max_credits: cap on what the batch may cost at worst.
        limit: rows to send in this run at most.
        export: where the table is exported to; default: results/<batch>.parquet.
        downloads: folder or URL for the videos, with `settle`.
        regenerate: make videos again for rows that changed since, or for all; cancel drops what was not sent of it.
        rows: with `regenerate`, only rows with these keys.
        repeats: what becomes of rows whose request is paid for under another name: hold (the default), send or skip.
        strict: send nothing if any row fails its checks.
        settle: wait for the videos as well.
        sandbox: run against a local sandbox; nothing is paid.
        overrides: any further settings by their names.
    """
    given = locals()
    options = GenerateOptions(source=manifest, batch=batch)
    async with opened(given) as (settings, ledger):
        which = send_options(regenerate=regenerate, rows=rows, repeats=settings.repeats, limit=limit)
        if which.regenerate is Regenerate.CANCEL:
            return Completed(message=one_line(cancel_order(ledger, assignment(options, settings).batch)))
        load = partial(load_manifest, manifest, strict=strict, send=which)
        async with open_run(ledger, settings, assignment(options, settings)) as context:
            await send(context, load, limit=limit, settle=settle)
    return final_state(context)


if __name__ == "__main__":
    run_from_command_line(generate)
