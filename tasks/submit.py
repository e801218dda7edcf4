"""Send the rows of one range. Safe to repeat: a second try finds only rows that may be sent."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, StateType
from prefect.runtime import task_run

from reelbatch.domain import HAS_ID, RowKey, RowState
from reelbatch.errors import ReelbatchError
from reelbatch.ledger import queries, waiting_rows
from reelbatch.pipeline.run_context import RunContext, current_run
from reelbatch.printable import one_line


class RowFailed(ReelbatchError):  # noqa: N818 - what became of it
    """The one row of a task run was not created. The run goes on; only this task run shows it."""

    def __init__(self, message: str, taken: int) -> None:
        super().__init__(message)
        self.taken = taken


async def submit_range(batch: str, first: int, last: int) -> int:
    """Returns how many rows this worker took, whatever became of them."""
    submit: Any = submit_rows  # Prefect's types have it that its state need not be awaited
    state = await submit(batch, first, last, return_state=True)
    ended: Any = await state.aresult(raise_on_failure=False)
    if isinstance(ended, RowFailed):
        return ended.taken
    if isinstance(ended, BaseException):
        raise ended
    return int(ended)


def _run_name() -> str:
    stated = task_run.parameters
    batch, first, last = stated["batch"], stated["first"], stated["last"]
    key = _key_of(current_run(), first) if first == last else None
    return one_line(f"{batch} rows {first}-{last}" if key is None else f"{batch} row {first}: {key}")


def _key_of(context: RunContext, number: int) -> RowKey | None:
    """Of a chunk of one row: by its number, or its place in a sample."""
    if (sample := context.scope.sample) is not None:
        return sample[number - 1]
    return context.ledger.read(partial(waiting_rows.claimable_key, scope=context.scope, row_number=number))


async def _is_no_row_of_its_own(_: object, __: object, state: State[Any]) -> bool:
    """What failed is the task, and not the row that it sent."""
    return not isinstance(await state.aresult(raise_on_failure=False), RowFailed)


@task(
    name="submit rows",
    task_run_name=_run_name,
    retries=2,
    retry_delay_seconds=5,
    retry_condition_fn=_is_no_row_of_its_own,
    persist_result=False,
    cache_policy=NO_CACHE,
)
async def submit_rows(batch: str, first: int, last: int) -> Any:
    """Returns how many rows this worker took; where it is one, in the state that the row is in then."""
    del batch  # only for the run's name
    context = current_run()
    key = await asyncio.to_thread(_key_of, context, first) if first == last else None
    taken = await context.submit(first, last)
    return taken if key is None or not taken else await asyncio.to_thread(_state_of, context, key, taken)


def _state_of(context: RunContext, key: RowKey, taken: int) -> State[Any]:
    """Named like the row's state. Red where it was not created: refused, in doubt, invalid or given back."""
    end = context.ledger.read(partial(queries.end_of, batch=context.batch, row_key=key))
    name = end.state.value.title().replace("_", "")
    failed = end.state not in HAS_ID and (end.state is not RowState.PENDING or end.error_code is not None)
    if not failed:
        return State(type=StateType.COMPLETED, name=name, data=taken)
    message = one_line(f"{key}: {end.error_message or end.error_code or name}")
    return State(type=StateType.FAILED, name=name, message=message, data=RowFailed(message, taken))
