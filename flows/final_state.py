"""The state that a flow ends in: one table from what became of the work to what Prefect shows."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple, ParamSpec

from prefect.client.schemas.objects import State, StateType
from prefect.exceptions import ParameterTypeError

from reelbatch.errors import ReelbatchError, UnusableKey, UsageError
from reelbatch.pipeline.export import Exported
from reelbatch.pipeline.headline import headline
from reelbatch.pipeline.hints import PUT_THE_KEY
from reelbatch.pipeline.run_summary import RunReport
from reelbatch.pipeline.settle_report import SettleReport
from reelbatch.pipeline.situations import EXIT_CODES, Situation, situation_of
from reelbatch.printable import one_line
from reelbatch.typed_options import as_parameters

Parameters = ParamSpec("Parameters")


class _Shown(NamedTuple):
    """A state's type, and its name where that is another than the type's."""

    type: StateType
    name: str | None = None


STATES: Mapping[Situation, _Shown] = {
    Situation.DONE: _Shown(StateType.COMPLETED),
    Situation.NOTHING_TO_DO: _Shown(StateType.COMPLETED, "NothingToDo"),
    Situation.BUDGET_REACHED: _Shown(StateType.COMPLETED, "BudgetReached"),
    Situation.WITH_FAILURES: _Shown(StateType.COMPLETED, "CompletedWithFailures"),
    Situation.ALL_INVALID: _Shown(StateType.FAILED),
    Situation.HALTED: _Shown(StateType.FAILED),
    Situation.INTERRUPTED: _Shown(StateType.CANCELLED),
}


class RunFailed(ReelbatchError):  # noqa: N818 - what the run did
    """A run that was halted or had nothing but invalid rows; what a flow meets that called it."""

    def __init__(self, message: str, report: RunReport | SettleReport, exit_code: int) -> None:
        super().__init__(message)
        self.report = report
        self.exit_code = exit_code


def final_state(report: RunReport, exported: Exported) -> State[Any]:
    """Of a run that sends rows."""
    situation = situation_of(report, export_failed=exported.problem is not None)
    return _state(situation, headline(report, exported.problem), report)


def settled_state(report: SettleReport) -> State[Any]:
    """Of a settle by itself."""
    return _state(report.situation, report.message, report)


def nothing_to_do(message: str) -> State[Any]:
    """Of a flow that found nothing to begin with."""
    return State(type=StateType.COMPLETED, name=STATES[Situation.NOTHING_TO_DO].name, message=one_line(message))


def _state(situation: Situation, message: str, report: RunReport | SettleReport) -> State[Any]:
    """With the report as what the flow returns to one that called it; Prefect keeps none of it."""
    shown, text = STATES[situation], one_line(message)
    data: Any = report
    if shown.type is StateType.FAILED:
        data = RunFailed(text, report, EXIT_CODES[situation])
    return State(type=shown.type, name=shown.name, message=text, data=data)


def ends_in_a_state(
    work: Callable[Parameters, Awaitable[State[Any]]],
) -> Callable[Parameters, Awaitable[State[Any]]]:
    """What can't be used ends a flow as Failed, with its message; a traceback would say nothing more."""

    @functools.wraps(work)
    async def flow(*args: Parameters.args, **kwargs: Parameters.kwargs) -> State[Any]:
        try:
            return await work(*args, **kwargs)
        except UsageError as error:
            return State(type=StateType.FAILED, message=one_line(_words(error)), data=error)

    return flow


def _words(error: UsageError) -> str:
    """As someone needs it who looks at the run in Prefect's UI."""
    return f"{error.what}. {PUT_THE_KEY}" if isinstance(error, UnusableKey) else as_parameters(str(error))


def exit_code_of(state: State[Any]) -> int:
    """What a process returns that ran the flow: as the command line does."""
    if state.is_cancelled():
        return EXIT_CODES[Situation.INTERRUPTED]
    if state.is_completed():
        named = {shown.name: situation for situation, shown in STATES.items() if shown.name}
        return EXIT_CODES[named.get(state.name or "", Situation.DONE)]
    ended = state.data.result if hasattr(state.data, "result") else state.data
    if isinstance(ended, UsageError | ParameterTypeError):
        return 2
    return ended.exit_code if isinstance(ended, RunFailed) else EXIT_CODES[Situation.HALTED]
