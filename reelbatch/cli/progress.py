"""The progress line: live on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from rich.live import Live
from rich.text import Text

from reelbatch.cli.confirm import Question
from reelbatch.cli.plan_text import print_findings, print_whole_plan
from reelbatch.cli.render import err, print_rerun_plan
from reelbatch.pipeline.export import Exported
from reelbatch.pipeline.plan import Plan
from reelbatch.pipeline.progress_text import progress_text
from reelbatch.pipeline.rerun import RerunPlan
from reelbatch.pipeline.run_context import RunContext
from reelbatch.pipeline.run_listener import Agreement, RunListener, listening
from reelbatch.pipeline.run_summary import RunSummary
from reelbatch.settle import Settler

_REFRESH_S = 0.2
_PLAIN_EVERY_S = 10.0


class ProgressLine(RunListener):
    """Follows the run that opens inside of `watching`, and asks once more where there is more to send than before."""

    prints_report = True

    def __init__(self, question: Question | None, *, show_plan: bool) -> None:
        self.context: RunContext | None = None
        self.summary: RunSummary | None = None
        self.export: Exported | None = None
        self.settler: Settler | None = None
        self.done = asyncio.Event()
        self.server_lost = False
        self.waits_for = "starting"
        self._question = question
        self._show_plan = show_plan

    @property
    def has_report(self) -> bool:
        """Whether there is something to print about what was done."""
        if self.context is not None:
            return self.summary is not None
        return self.settler is not None and self.settler.ended

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
        """What was said yes to before the run binds it."""
        return None if self._question is None else self._question.bind(plan)

    def planned(self, plan: Plan | RerunPlan) -> None:
        """Show what is to be sent."""
        if isinstance(plan, Plan):
            print_findings(plan)
        if self._show_plan:
            print_whole_plan(plan) if isinstance(plan, Plan) else print_rerun_plan(plan)

    def settling(self, settler: Settler) -> None:
        """There are videos to show."""
        self.settler = settler

    def reported(self, summary: RunSummary) -> None:
        """Keep what is printed at the end."""
        self.summary = summary

    def exported(self, exported: Exported) -> None:
        """Keep what to say of it."""
        self.export = exported

    def finished(self) -> None:
        """All that is left is Prefect's own."""
        self.done.set()

    async def _on_terminal(self) -> None:
        with Live(console=err, refresh_per_second=1 / _REFRESH_S, transient=True) as live:
            while True:
                await asyncio.sleep(_REFRESH_S)
                live.update(Text(self.text()))

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
