"""The main job: a manifest in, paid-for videos queued, a results table out.

python -m flows.generate manifest=data/catalogue.csv sandbox=true
"""

from __future__ import annotations

from typing import Any, Literal

from prefect import flow
from prefect.client.schemas.objects import State

from flows.setting_up import final_state, flow_settings, run_from_command_line
from reelbatch.generation import Order, assignment, send_all
from reelbatch.interrupts import stopping_gently
from reelbatch.local import sandboxed
from reelbatch.session import open_session, opened_ledger
from tasks.export import export_results
from tasks.load import load_manifest
from tasks.report import progress_artifact, report_run
from tasks.settle import settle_videos
from tasks.submit import submit_rows


@flow(name="generate", flow_run_name="generate {manifest}", persist_result=False, validate_parameters=True)
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
    regenerate: Literal["none", "changed", "all"] = "none",
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
        regenerate: make videos again for rows that changed since, or for all.
        strict: send nothing if any row fails its checks.
        settle: wait for the videos as well.
        sandbox: run against a local sandbox; nothing is paid.
        overrides: any further settings by their names.
    """
    options = {
        "results": results,
        "base_url": base_url,
        "concurrency": concurrency,
        "max_credits": max_credits,
        "export": export,
        "downloads": downloads,
    }
    stated = await flow_settings(config, {**options, **(overrides or {})})
    order = Order(source=manifest, batch=batch)
    with sandboxed(stated, enabled=sandbox) as settings, opened_ledger(settings) as ledger:
        async with open_session(ledger, settings, assignment(order, settings)) as session:
            target = session.export_target  # one that can't be used is said before anything is spent
            with stopping_gently(session.interrupt):
                await load_manifest(manifest, strict=strict, regenerate=regenerate, limit=limit)
                async with progress_artifact(session):
                    await send_all(session, submit_rows, limit=limit)
                if settle:
                    await settle_videos()
            await report_run()
            await export_results(target)
    return final_state(session)


if __name__ == "__main__":
    run_from_command_line(generate)
