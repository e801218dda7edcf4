"""A plan for people: what is wrong in the manifest, what would be sent, and what is to be expected of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from time import monotonic
from typing import TYPE_CHECKING

from rich.text import Text

from reelbatch.cli.render import cell, err, out, print_plan
from reelbatch.pipeline.findings import Cause
from reelbatch.pipeline.plan import Plan
from reelbatch.printable import counted, printable
from reelbatch.signals import unwinding
from reelbatch.typed_options import MANIFEST, command

if TYPE_CHECKING:  # what a live line takes is imported where there is one
    from rich.console import Console
    from rich.live import Live

_CAUSES_SHOWN = 50
_PATIENCE_S = 0.5
_LONGEST_LINE = 400
"""Characters of a line of a request: a prompt may fill the screen many times."""


class ReadingLine:
    """How many rows of a manifest were read so far, on a terminal's last line.

    There is none for a manifest that is read in one go, or before `patience_s` are over.
    """

    def __init__(self, console: Console, patience_s: float = _PATIENCE_S) -> None:
        self._console = console
        self._from = monotonic() + patience_s
        self._is_long = False
        self._live: Live | None = None

    def __call__(self, rows: int) -> None:
        """The number by now."""
        if self._live is None and self._is_long and monotonic() >= self._from:
            from rich.live import Live

            self._live = Live(console=self._console, refresh_per_second=5, transient=True)
            self._live.start()
        if self._live is not None:
            self._live.update(Text(f"reading the manifest: {rows:,} rows"))
        self._is_long = True

    def close(self) -> None:
        """Leave nothing on the screen."""
        if self._live is not None:
            self._live.stop()


@contextmanager
def reading_line() -> Iterator[ReadingLine | None]:
    """What is told of the rows that were read; nothing where standard error is no terminal."""
    if not err.is_terminal:
        yield None
        return
    line = ReadingLine(err)
    with unwinding():  # else Ctrl-C would leave the terminal without its cursor, which the line hides
        try:
            yield line
        finally:
            line.close()


def print_findings(plan: Plan) -> None:
    """Problems and warnings of the manifest, on standard error: each cause once."""
    warnings = list(plan.warnings)
    _list(warnings, f"{counted(plan.warning_count, 'warning')} in the manifest", "yellow")
    if more := plan.warning_count - len(warnings[:_CAUSES_SHOWN]):
        listed = "them" if plan.warning_count == len(warnings) else f"the first {len(warnings):,}"
        err.print(f"  and {more:,} more; `{_listing(plan)}` lists {listed}", markup=False)
    causes = [Cause(**cause) for cause in plan.causes]
    where, colour = "the manifest", "red"
    if not plan.to_correct:
        where, colour = "rows of which nothing is asked: they have their video, or were dismissed", "yellow"
    _list(list(map(str, causes)), f"{counted(plan.problem_count, 'problem')} in {where}", colour)
    if more := plan.unlisted + sum(cause.rows for cause in islice(causes, _CAUSES_SHOWN, None)):
        listed = f"the first {len(causes):,} kinds" if plan.unlisted else "them"
        err.print(f"  and {more:,} more of other kinds; `{_listing(plan)}` lists {listed}", markup=False)


def _listing(plan: Plan) -> str:
    return command("plan", MANIFEST, "--json", batch=plan.batch)


def print_whole_plan(plan: Plan) -> None:
    """What `generate` would do, and how long it takes."""
    print_plan(plan)
    if plan.duration is not None:
        out.print(f"Time: {plan.duration}")


def print_requests(plan: Plan) -> None:
    """The first creates."""
    if not plan.requests:
        return
    first = "request" if len(plan.requests) == 1 else f"{len(plan.requests)} requests"
    out.print(f"The first {first}, as sent (files of images are uploaded before):")
    for request in plan.requests:
        for line in json.dumps(request, ensure_ascii=False, indent=2).splitlines():
            out.print(Text(printable(f"  {_cut(line)}"), style="dim"))


def _cut(line: str) -> str:
    return line if len(line) <= _LONGEST_LINE else f"{line[:_LONGEST_LINE]}…"


def _list(lines: list[str], title: str, colour: str) -> None:
    if lines:
        err.print(f"[{colour}]{title}:[/]")
    for line in lines[:_CAUSES_SHOWN]:
        err.print(f"  {cell(line)}")
