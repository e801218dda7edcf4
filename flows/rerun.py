"""Failed rows again, without paying for the others.

python -m flows.rerun batch=catalogue sandbox=true
"""

# Prefect and pydantic read a flow's annotations, also in processes that `serve` starts: they are not postponed here.
import asyncio
from dataclasses import replace
from functools import partial
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run

from flows.final_state import ends_in_a_state, final_state
from flows.parameters import Concurrency, Credits, Limit, RepeatsChoice, StatesChoice, VerdictChoice
from flows.setting_up import opened, run_from_command_line
from reelbatch.pipeline.export import export_target
from reelbatch.pipeline.generate import submit_all
from reelbatch.pipeline.rerun import RerunOptions, rerun_assignment, selection
from reelbatch.pipeline.run_context import open_run
from reelbatch.pipeline.run_summary import finish_order
from reelbatch.pipeline.settle import try_downloads
from reelbatch.printable import one_line
from reelbatch.signals import stopping_gently
from tasks.export import export_results
from tasks.report import progress_artifact, report_run
from tasks.rerun import choose_failed_rows
from tasks.settle import settle_videos
from tasks.submit import submit_range


def _run_name() -> str:
    return one_line(f"rerun {flow_run.parameters.get('batch') or 'the only batch'}")


@flow(name="rerun", flow_run_name=_run_name, persist_result=False, validate_parameters=True)
@ends_in_a_state
async def rerun(  # noqa: PLR0913, PLR0917 - a flow's parameters are its form in Prefect's UI
    batch: str | None = None,
    states: StatesChoice = None,
    error_codes: list[str] | None = None,
    rows: list[str] | None = None,
    accept_double_charge: bool = False,
    verdict: VerdictChoice = None,
    prompt_suffix: str | None = None,
    model: str | None = None,
    repeats: RepeatsChoice = None,
    config: str | None = None,
    results: str | None = None,
    base_url: str | None = None,
    concurrency: Concurrency = None,
    max_credits: Credits = None,
    limit: Limit = None,
    export: str | None = None,
    downloads: str | None = None,
    settle: bool = False,
    sandbox: bool = False,
    overrides: dict[str, Any] | None = None,
    own_table: bool = False,
) -> State[Any]:
    """Send failed rows again, or make rejected videos again.

    Args:
        batch: which batch; default: the only one of the results table.
        states: rejected, error, canceled (the default), or in_doubt.
        error_codes: only rows that failed with one of these.
        rows: only rows with these keys.
        accept_double_charge: needed for rows in doubt: they may be charged a second time.
        verdict: rejected: not failed rows, but videos that a review rejected.
        prompt_suffix: what these videos' prompts are to end with.
        model: another model for these videos.
        repeats: what becomes of rows whose request is paid for under another name: hold (the default), send or skip.
        config: path of a YAML file with settings.
        results: SQLAlchemy URL of the results table.
        base_url: the API's address.
        concurrency: creates in flight.
        max_credits: cap on what the batch may cost at worst.
        limit: rows to send in this run at most.
        export: where the table is exported to; default: results/BATCH.parquet.
        downloads: folder or URL for the videos, with `settle`.
        settle: wait for the videos as well.
        sandbox: run against a local sandbox; nothing is paid.
        overrides: any further settings by their names.
        own_table: take a SQLite file of the machine, where no results table is stated: on one machine alone.
    """
    given = locals()
    options = RerunOptions(
        batch=batch,
        states=tuple(states or ()),
        error_codes=tuple(error_codes) if error_codes else None,
        row_keys=tuple(rows) if rows is not None else None,
        accept_double_charge=accept_double_charge,
        verdict=verdict,
        prompt_suffix=prompt_suffix,
        model=model,
    )
    async with opened(given, must_exist=True) as at:
        chosen = selection(replace(options, repeats=at.settings.repeats), at.ledger)
        async with open_run(at.ledger, at.settings, rerun_assignment(at.ledger, chosen)) as context:
            target = export_target(context)  # one that can't be used is said before anything is spent
            if settle:
                await try_downloads(context.settings)
            with stopping_gently(context.interrupt):
                await choose_failed_rows(chosen, limit)
                async with progress_artifact(context):
                    await submit_all(context, partial(submit_range, context.batch), limit=limit)
                if settle:
                    await settle_videos()
            summary = await report_run()
            exported = await export_results(target)
            await asyncio.to_thread(finish_order, context, exported)
    return final_state(summary.report, exported)


if __name__ == "__main__":
    run_from_command_line(rerun)
