"""The progress line: live on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from rich.live import Live
from rich.text import Text

from reelbatch.cli.confirm import Question, says_the_same
from reelbatch.cli.plan_text import print_findings, print_whole_plan
from reelbatch.cli.render import err, print_rerun_plan
from reelbatch.errors import ReelbatchError
from reelbatch.ledger.failures import Failure
from reelbatch.pipeline.export import Exported
from reelbatch.pipeline.plan import Plan
from reelbatch.pipeline.progress_text import progress_text
from reelbatch.pipeline.rerun import RerunPlan
from reelbatch.pipeline.run_context import RunContext
from reelbatch.pipeline.run_listener import Agreement, RunListener, listening
from reelbatch.pipeline.run_summary import RunSummary
from reelbatch.pipeline.settle_report import SettleReport
from reelbatch.pipeline.status import batch_failures
from reelbatch.settle import Settler

_REFRESH_S = 0.2
_PLAIN_EVERY_S = 10.0


class RowsToSend(ReelbatchError):  # noqa: N818 - a signal within a run
    """A run that was to find nothing to do has rows to send: it changed and sent nothing, and one of its own does."""


class ProgressLine(RunListener):
    """Follows the run that opens inside of `watching`, and asks once more where there is more to send than before."""

    prints_report = True

    def __init__(self, question: Question | None, *, show_plan: bool) -> None:
        self.context: RunContext | None = None
        self.summary: RunSummary | None = None
        self.given_back: list[Failure] = []  # why, where nothing was sent
        self.export: Exported | None = None
        self.settler: Settler | None = None
        self.settle_report: SettleReport | None = None
        self.done = asyncio.Event()
        self.server_lost = False
        self.waits_for = "starting"
        self.expects_nothing = False
        self._question = question
        self._show_plan = show_plan
        self._shown = None if question is None else question.shown
        self._live: Live | None = None

    @property
    def has_report(self) -> bool:
        """Whether there is something to print about what was done."""
        if self.context is not None:
            return self.summary is not None
        return self.settle_report is not None

    @property
    def export_problem(self) -> str | None:
        """Why the table was not exported."""
        return None if self.export is None else self.export.problem

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Show progress on standard error until the block ends."""
        token = listening.set(self)
        show = asyncio.create_task(self._on_terminal() if err.is_terminal else self._as_lines())
        try:
            yield
        finally:
            show.cancel()
            await asyncio.gather(show, return_exceptions=True)
            listening.reset(token)

    def started(self, context: RunContext) -> None:
        """There is a run to show."""
        self.context = context

    def asked(self, plan: Plan | RerunPlan) -> Agreement | None:
        """What was said yes to before the run binds it. A run that is to find nothing to do ends where it does."""
        if self.expects_nothing and plan.announced.rows:
            if self.context is not None:
                self.context.stats.withdrawn = True
            raise RowsToSend("there are rows to send")
        if self._question is None:
            return None
        with self._apart():
            agreement = self._question.bind(plan)
        if agreement != Agreement.to(self._question.shown):  # there was more by now, and that was shown too
            self._shown = plan
        return agreement

    def planned(self, plan: Plan | RerunPlan) -> None:
        """Show what is to be sent, unless the question has shown it."""
        if says_the_same(plan, self._shown):
            return
        with self._apart():
            if isinstance(plan, Plan):
                print_findings(plan)
            if self._show_plan:
                print_whole_plan(plan) if isinstance(plan, Plan) else print_rerun_plan(plan)

    def settling(self, settler: Settler) -> None:
        """There are videos to show."""
        self.settler = settler

    def settled(self, report: SettleReport) -> None:
        """Keep what is printed at the end of a settle by itself."""
        self.settle_report = report

    def reported(self, summary: RunSummary) -> None:
        """Keep what is printed at the end."""
        self.summary = summary
        if self.context is not None and not summary.report.sent:
            self.given_back = batch_failures(self.context.ledger, summary.report.batch).given_back

    def exported(self, exported: Exported) -> None:
        """Keep what to say of it."""
        self.export = exported

    def finished(self) -> None:
        """All that is left is Prefect's own."""
        self.done.set()

    async def _on_terminal(self) -> None:
        with Live(console=err, refresh_per_second=1 / _REFRESH_S, transient=True) as self._live:
            while True:
                await asyncio.sleep(_REFRESH_S)
                self._live.update(Text(self.text(), overflow="ellipsis", no_wrap=True))

    @contextmanager
    def _apart(self) -> Iterator[None]:
        """The progress line makes room for what is printed, and begins on a line of its own again."""
        if self._live is None or not self._live.is_started:
            yield
            return
        self._live.stop()
        try:
            yield
        finally:
            self._live.start()

    async def _as_lines(self) -> None:
        last, said = "", time.monotonic()
        while True:
            await asyncio.sleep(_REFRESH_S)
            line = self.text()
            if line != last and time.monotonic() - said >= _PLAIN_EVERY_S:
                err.print(line)
                last, said = line, time.monotonic()

    def text(self) -> str:
        """`312/2,000 rows · 48.2 rows/s · …`."""
        return progress_text(self.context, self.settler) or self.waits_for
