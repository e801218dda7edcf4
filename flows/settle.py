"""Follow videos to their end: final states, final credits, downloads.

python -m flows.settle sandbox=true downloads=videos
"""

# Prefect and pydantic read a flow's annotations, also in processes that `serve` starts: they are not postponed here.
import asyncio
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from flows.final_state import ends_in_a_state, nothing_to_do, settled_state
from flows.setting_up import Opened, opened, run_from_command_line
from reelbatch.errors import NoTableYet
from reelbatch.ledger import utc_now
from reelbatch.ledger.queries import batch_names
from reelbatch.pipeline.resources import the_batch
from reelbatch.pipeline.settle import batches_of, left_elsewhere, open_settler, to_export
from reelbatch.pipeline.settle_report import Settled
from reelbatch.printable import one_line
from reelbatch.settings import api_of
from reelbatch.signals import stopping_gently
from tasks.export import export_settled
from tasks.report import report_settle
from tasks.settle import follow_videos


def _run_name() -> str:
    return one_line(f"settle {flow_run.parameters.get('batch') or 'all batches'}")


@flow(name="settle", flow_run_name=_run_name, persist_result=False, validate_parameters=True)
@ends_in_a_state
async def settle(  # noqa: PLR0913, PLR0917 - a flow's parameters are its form in Prefect's UI
    batch: str | None = None,
    downloads: str | None = None,
    wait: bool = True,
    config: str | None = None,
    results: str | None = None,
    base_url: str | None = None,
    sandbox: bool = False,
    overrides: dict[str, Any] | None = None,
    own_table: bool = False,
) -> State[Any]:
    """Follow every video that is queued or rendering.

    Args:
        batch: which batch; default: all.
        downloads: folder or URL for the videos; default: they are not downloaded.
        wait: stay until all are finished; otherwise look once at what is due.
        config: path of a YAML file with settings.
        results: SQLAlchemy URL of the results table.
        base_url: the API's address.
        sandbox: ask a local sandbox.
        overrides: any further settings by their names.
        own_table: take a SQLite file of the machine, where no results table is stated: on one machine alone.
    """
    given = locals()
    try:
        async with opened(given, must_exist=True) as at:
            return await _settle(at, batch, wait=wait)
    except NoTableYet:
        return nothing_to_do("nothing to settle: there is no results table yet, the first generate makes one")


async def _settle(at: Opened, batch: str | None, *, wait: bool) -> State[Any]:
    ledger, settings = at.ledger, at.settings
    if not ledger.read(batch_names):
        return nothing_to_do("nothing to settle: the results table has no batch yet")
    chosen = the_batch(ledger, batch) if batch is not None else None
    if not chosen and (left := left_elsewhere(ledger, api_of(settings.base_url))):
        get_run_logger().warning("%s", left)
    since = utc_now()
    async with open_settler(ledger, settings, chosen, wait=wait) as settler:
        with stopping_gently(settler.stop):
            await follow_videos(settler)
    work = Settled(await asyncio.to_thread(batches_of, ledger, settings, chosen), since, settler.stats)
    names = await asyncio.to_thread(to_export, ledger, work)
    problem = await export_settled(ledger, names) if names else None
    return settled_state(await report_settle(ledger, work, problem))


if __name__ == "__main__":
    run_from_command_line(settle)
