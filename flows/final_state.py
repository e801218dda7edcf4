"""The state that a run which sends rows ends in."""

from __future__ import annotations

from typing import Any

from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from reelbatch.pipeline.export import Exported
from reelbatch.pipeline.run_summary import RunReport
from reelbatch.printable import one_line
from reelbatch.submit import ExitReason


def final_state(report: RunReport, exported: Exported) -> State[Any]:
    """Failed where the run was halted, so that a schedule shows red; otherwise completed, with the counts."""
    if exported.problem is not None:
        return Failed(message=one_line(f"the rows were sent, but the table was not exported: {exported.problem}"))
    message = f"{report.submitted} of {report.status.rows} rows got their id in this run"
    if report.exit_code == 0 and report.exit_reason is ExitReason.BUDGET:
        return Completed(name="BudgetReached", message=one_line(report.message or message))
    if report.exit_code in {0, 1}:
        return Completed(message=message)
    return Failed(message=one_line(f"{report.exit_reason.value}: {report.message or message}"))
