"""What flows/setting_up.py and flows/sending.py do, without Prefect."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from reelbatch.errors import ReelbatchError
from reelbatch.ledger import Ledger
from reelbatch.pipeline.export import export
from reelbatch.pipeline.generate import send_all
from reelbatch.pipeline.resources import opened_ledger
from reelbatch.pipeline.run_context import RunContext, on_done
from reelbatch.settings import Settings, load_settings
from reelbatch.signals import stopping_gently

_SETTINGS = ("results", "base_url", "concurrency", "max_credits", "export", "downloads", "repeats")


class Ended:
    """How a flow ended, as Prefect's state tells it."""

    def __init__(self, error: BaseException | None = None) -> None:
        self._error = error

    async def result(self) -> None:
        """Raises what ended the flow."""
        if self._error is not None:
            raise self._error


def as_flow(steps: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[Ended]]:
    """A flow's errors become its state."""

    async def flow(*, return_state: bool, **parameters: Any) -> Ended:
        assert return_state
        try:
            await steps(**parameters)
        except Exception as error:  # noqa: BLE001 - as Prefect does
            return Ended(error)
        return Ended()

    return flow


@asynccontextmanager
async def opened(
    parameters: Mapping[str, Any], *, must_exist: bool = False
) -> AsyncIterator[tuple[Settings, Ledger]]:
    """Settings and table of a flow."""
    options = {name: parameters[name] for name in _SETTINGS if name in parameters}
    options |= parameters.get("overrides") or {}
    settings = load_settings(parameters["config"], options)
    with opened_ledger(settings, must_exist=must_exist) as ledger:
        yield settings, ledger
    if (listener := on_done.get()) is not None:
        listener()


async def send(
    context: RunContext, load: Callable[[], Awaitable[object]], *, limit: int | None, settle: bool
) -> None:
    """The steps of every run that sends rows; whoever watches prints the report and closes the order."""
    target = context.export_target
    with stopping_gently(context.interrupt):
        await load()
        await send_all(context, lambda _, first, last: context.submit(first, last), limit=limit)
        if settle:
            await context.settle()
    await asyncio.to_thread(context.make_report)
    try:
        await asyncio.to_thread(export, context.ledger, target, context.scope.batch)
    except ReelbatchError as error:
        context.export_problem = str(error)
