"""How a run or a settle ended, and its exit code: the table that the command line and the flows go by."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING

from reelbatch.domain import RowState
from reelbatch.submit import ExitReason

if TYPE_CHECKING:
    from reelbatch.pipeline.run_summary import RunReport

KEY_PLACES = "MAGIC_HOUR_API_KEY for the worker, or the Secret block `magic-hour-api-key`,"
"""Where the key of a flow run is stated."""


class Situation(StrEnum):
    """What became of the work. The value is how a headline says it."""

    DONE = "done"
    NOTHING_TO_DO = "nothing to do"
    BUDGET_REACHED = "waits for the budget"
    WITH_FAILURES = "completed with failures"
    ALL_INVALID = "every row is invalid"
    HALTED = "halted"
    INTERRUPTED = "interrupted"


EXIT_CODES: Mapping[Situation, int] = {
    Situation.DONE: 0,
    Situation.NOTHING_TO_DO: 0,
    Situation.BUDGET_REACHED: 0,
    Situation.WITH_FAILURES: 1,
    Situation.ALL_INVALID: 1,
    Situation.HALTED: 3,
    Situation.INTERRUPTED: 130,
}
"""A command, config, manifest, table or server that can't be used is exit code 2; it has no situation."""

_ENDED: Mapping[ExitReason, Situation] = {
    ExitReason.INTERRUPTED: Situation.INTERRUPTED,
    ExitReason.DECLINED: Situation.DONE,
}
_OWN_END = frozenset({ExitReason.DONE, ExitReason.BUDGET})


def situation_of(report: RunReport, *, export_failed: bool = False) -> Situation:
    """How a run ended that sends rows; what halted it comes before what became of single rows."""
    if report.exit_reason not in _OWN_END:
        return _ENDED.get(report.exit_reason, Situation.HALTED)
    if _is_all_invalid(report):
        return Situation.ALL_INVALID
    if report.has_failures or export_failed:
        return Situation.WITH_FAILURES
    if report.exit_reason is ExitReason.BUDGET:
        return Situation.BUDGET_REACHED
    looked = report.settled is not None and report.settled.polled
    return Situation.DONE if report.sent or report.cleared_up or looked else Situation.NOTHING_TO_DO


def _is_all_invalid(report: RunReport) -> bool:
    """Whether the manifest has rows, and each of them that counts failed its checks."""
    status = report.status
    rows = sum(status.states.values()) - sum(status.gone.values()) - sum(status.dismissed.values())
    return 0 < rows == status.failures(RowState.INVALID)
