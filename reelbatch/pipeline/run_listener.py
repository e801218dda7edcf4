"""Who follows a run: the command line's progress line is told each step, and asked before anything is spent."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from reelbatch.errors import ReelbatchError

if TYPE_CHECKING:
    from reelbatch.pipeline.export import Exported
    from reelbatch.pipeline.plan import Plan
    from reelbatch.pipeline.rerun import RerunPlan
    from reelbatch.pipeline.run_context import RunContext
    from reelbatch.pipeline.run_summary import RunSummary
    from reelbatch.pipeline.settle_report import SettleReport
    from reelbatch.settle import Settler


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """What someone said yes to. Credits are integers."""

    rows: int
    credits_estimated: int
    unknown_rate: int

    @classmethod
    def to(cls, plan: Plan | RerunPlan) -> Self:
        """What `plan` announces."""
        rows, credits_, unknown = plan.announced
        return cls(rows=rows, credits_estimated=credits_, unknown_rate=unknown)

    def covers(self, plan: Plan | RerunPlan) -> bool:
        """Whether `plan` sends no more, and costs no more."""
        wanted = self.to(plan)
        return (
            wanted.rows <= self.rows
            and wanted.credits_estimated <= self.credits_estimated
            and wanted.unknown_rate <= self.unknown_rate
        )


class NotAgreed(ReelbatchError):  # noqa: N818 - a signal within a run
    """More would be sent than someone said yes to. `asked`: they were asked again, and said no."""

    def __init__(self, message: str, *, asked: bool) -> None:
        super().__init__(message)
        self.asked = asked


class RunListener:
    """Is told how a run goes on. By itself it does nothing: override what is of interest."""

    prints_report = False
    """Whether it prints the report after the run's end. Then it closes the order too, and not before that."""

    def started(self, context: RunContext) -> None:
        """A run is open."""

    def asked(self, plan: Plan | RerunPlan) -> Agreement | None:  # noqa: ARG002 - for those who override it
        """Before anything is changed: what binds the run; None: no one was asked, so nothing does.

        Called in a thread, which may wait for an answer.

        Raises:
            NotAgreed: the plan may not be carried out.
        """
        return None

    def planned(self, plan: Plan | RerunPlan) -> None:
        """The table has the rows to send; nothing was sent yet."""

    def settling(self, settler: Settler) -> None:
        """A settler begins to follow videos, in a run or by itself."""

    def settled(self, report: SettleReport) -> None:
        """A settle by itself has ended."""

    def reported(self, summary: RunSummary) -> None:
        """The run has a report. From here on its work is done and written down, but for the export."""

    def exported(self, exported: Exported) -> None:
        """The table was exported, or could not be."""

    def finished(self) -> None:
        """All work is done and the table is closed; what is left is only Prefect's own."""


listening: ContextVar[RunListener] = ContextVar("listening", default=RunListener())  # noqa: B039 - has no state
"""The listener of runs that open in this context."""
