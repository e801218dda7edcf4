"""Follow videos to their end: final states, final credits, downloads.

python -m flows.settle sandbox=true downloads=videos
"""

from __future__ import annotations

import asyncio
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed

from flows.setting_up import opened, run_from_command_line
from reelbatch.pipeline.resources import the_batch
from reelbatch.pipeline.settle import left_elsewhere, open_settler, to_export
from reelbatch.printable import one_line
from reelbatch.settings import api_of
from reelbatch.settle import SettleReason
from reelbatch.signals import stopping_gently
from tasks.export import export_settled
from tasks.settle import follow_videos


@flow(name="settle", persist_result=False, validate_parameters=True)
async def settle(  # noqa: PLR0913, PLR0917 - a flow's parameters are its form in Prefect's UI
    batch: str | None = None,
    downloads: str | None = None,
    wait: bool = True,
    config: str | None = None,
    results: str | None = None,
    base_url: str | None = None,
    sandbox: bool = False,
    overrides: dict[str, Any] | None = None,
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
    """
    async with opened(locals(), must_exist=True) as at:
        chosen = the_batch(at.ledger, batch) if batch else None
        if not chosen and (left := left_elsewhere(at.ledger, api_of(at.settings.base_url))):
            get_run_logger().warning("%s", left)
        async with open_settler(at.ledger, at.settings, chosen, wait=wait) as settler:
            with stopping_gently(settler.stop):
                await follow_videos(settler)
        if names := await asyncio.to_thread(to_export, at.ledger, at.settings, chosen, settler.stats):
            await export_settled(at.ledger, names)
    stats = settler.stats
    message = f"{stats.complete} complete, {stats.error} failed, {stats.unsettled} still rendering"
    if stats.reason in {SettleReason.DONE, SettleReason.TIMED_OUT}:
        return Completed(message=message)
    return Failed(message=one_line(f"{stats.reason.value}: {stats.message or message}"))


if __name__ == "__main__":
    run_from_command_line(settle)
