"""flows/rerun.py and tasks/rerun.py without Prefect."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from flows.steps import as_flow, opened, send
from reelbatch.ledger import reruns
from reelbatch.ledger.reruns import Selection
from reelbatch.pipeline.rerun import RerunOptions, preview, rerun_assignment, selection
from reelbatch.pipeline.run_context import Session, open_session


@as_flow
async def rerun(**given: Any) -> None:
    """Send failed rows again."""
    order = RerunOptions(batch=given["batch"], states=tuple(given["states"] or ()), row_keys=given["rows"])
    async with opened(given, must_exist=True) as (settings, ledger):
        chosen = selection(order, ledger)
        async with open_session(ledger, settings, rerun_assignment(ledger, chosen)) as session:
            choose = partial(_choose, session, chosen, given["limit"])
            await send(session, choose, limit=given["limit"], settle=given["settle"])


async def _choose(session: Session, chosen: Selection, limit: int | None) -> None:
    plan = await asyncio.to_thread(preview, session.ledger, chosen, session.settings, limit)
    session.take_plan(plan)
    await asyncio.to_thread(session.ledger.change, partial(reruns.request, selection=chosen, limit=limit))
