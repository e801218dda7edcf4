"""The main job: a manifest in, paid-for videos queued, a results table out.

python -m flows.generate manifest=data/catalogue.csv sandbox=true
"""

# Prefect and pydantic read a flow's annotations, also in processes that `serve` starts: they are not postponed here.
import asyncio
from functools import partial
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run

from flows.final_state import ends_in_a_state, final_state, nothing_to_do
from flows.parameters import Concurrency, Credits, Limit, RegenerateChoice, RepeatsChoice
from flows.setting_up import opened, run_from_command_line
from reelbatch.ledger.selection import Regenerate
from reelbatch.pipeline.export import export_target
from reelbatch.pipeline.generate import assignment, cancel_order, submit_all
from reelbatch.pipeline.plan import GenerateOptions
from reelbatch.pipeline.row_options import send_options
from reelbatch.pipeline.run_context import open_run
from reelbatch.pipeline.run_summary import finish_order
from reelbatch.pipeline.settle import try_downloads
from reelbatch.printable import one_line
from reelbatch.signals import stopping_gently
from reelbatch.storage.files import redact_url
from tasks.export import export_results
from tasks.load import load_manifest
from tasks.report import progress_artifact, report_run
from tasks.settle import settle_videos
from tasks.submit import submit_range


def _run_name() -> str:
    return one_line(f"generate {redact_url(flow_run.parameters['manifest'])}")


@flow(name="generate", flow_run_name=_run_name, persist_result=False, validate_parameters=True)
@ends_in_a_state
async def generate(  # noqa: PLR0913, PLR0917 - a flow's parameters are its form in Prefect's UI
    manifest: str,
    batch: str | None = None,
    config: str | None = None,
    results: str | None = None,
    base_url: str | None = None,
    concurrency: Concurrency = None,
    max_credits: Credits = None,
    limit: Limit = None,
    pilot: Limit = None,
    export: str | None = None,
    downloads: str | None = None,
    regenerate: RegenerateChoice = "none",
    rows: list[str] | None = None,
    repeats: RepeatsChoice = None,
    strict: bool = False,
    settle: bool = False,
    sandbox: bool = False,
    overrides: dict[str, Any] | None = None,
    own_table: bool = False,
) -> State[Any]:
    """Send every row of the manifest that has no video yet, each exactly once.

    Args:
        manifest: path or URL of the CSV, TSV, Excel, JSON Lines or Parquet file.
        batch: name under which the rows are generated once; default: the manifest's stem.
        config: path of a YAML file with settings.
        results: SQLAlchemy URL of the results table.
        base_url: the API's address.
        concurrency: creates in flight.
        max_credits: cap on what the batch may cost at worst.
        limit: rows to send in this run at most.
        pilot: send a sample of N rows over models, resolutions and lengths, and wait for it.
        export: where the table is exported to; default: results/BATCH.parquet.
        downloads: folder or URL for the videos, with `settle`.
        regenerate: make videos again for rows that changed since, or for all; cancel drops what was not sent of it.
        rows: with `regenerate`, only rows with these keys.
        repeats: what becomes of rows whose request is paid for under another name: hold (the default), send or skip.
        strict: send nothing if any row fails its checks.
        settle: wait for the videos as well.
        sandbox: run against a local sandbox; nothing is paid.
        overrides: any further settings by their names.
        own_table: take a SQLite file of the machine, where no results table is stated: on one machine alone.
    """
    given = locals()
    options = GenerateOptions(source=manifest, batch=batch)
    async with opened(given) as at:
        which = send_options(regenerate=regenerate, rows=rows, repeats=at.settings.repeats, limit=limit, pilot=pilot)
        work = assignment(options, at.settings)
        if which.regenerate is Regenerate.CANCEL:
            return nothing_to_do(cancel_order(at.ledger, work.batch))
        async with open_run(at.ledger, at.settings, work) as context:
            target = export_target(context)  # one that can't be used is said before anything is spent
            if settle or pilot is not None:
                await try_downloads(context.settings)
            with stopping_gently(context.interrupt):
                await load_manifest(manifest, strict=strict, send=which)
                async with progress_artifact(context):
                    await submit_all(context, partial(submit_range, context.batch), limit=limit)
                if settle or pilot is not None:
                    await settle_videos()
            summary = await report_run()
            exported = await export_results(target)
            await asyncio.to_thread(finish_order, context, exported)
    return final_state(summary.report, exported)


if __name__ == "__main__":
    run_from_command_line(generate)
