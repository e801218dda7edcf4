"""Why rows failed, were given back or are not finished, as people see it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.text import Text

from reelbatch.cli.render import cell, out
from reelbatch.domain import UNSETTLED
from reelbatch.typed_options import command

if TYPE_CHECKING:
    from reelbatch.ledger.failures import Failure
    from reelbatch.pipeline.run_summary import RunReport
    from reelbatch.pipeline.status import BatchFailures

_KEYS_SHOWN = 5
_INDENT = " " * 10


def print_failures(found: BatchFailures) -> None:
    """`status --failed`: each reason with its count and first keys, the newest first."""
    if not found.kinds:
        out.print("  no rows failed, were given back, or have a video that the API does not speak of")
    for failure in found.kinds:
        when = "" if failure.last_at is None else f"  [dim]{failure.last_at:%Y-%m-%d %H:%M} UTC[/]"
        out.print(f"  {failure.rows:>7,} {what(failure)}{when}")
        _indented(cell(why(failure)))
        _indented(f"[dim]{cell(_keys(failure))}[/]")
    if more := found.kinds_in_all - len(found.kinds):
        rows = cell(command("export", "PATH"))
        out.print(f"  and {more:,} more reasons; --json lists {len(found.kinds):,}, `{rows}` all rows")


def _indented(text: str) -> None:
    """In as many lines as it takes, each below the first."""
    for line in out.render_str(text).wrap(out, max(20, out.width - len(_INDENT))):
        line.rstrip()
        out.print(Text(_INDENT) + line)


def what(failure: Failure) -> str:
    """What became of the rows."""
    if failure.is_given_back:
        return "given back unsent"
    if failure.state in UNSETTLED:
        return "not finished"
    return failure.state.value.replace("_", " ")


def why(failure: Failure) -> str:
    """`http_422: the API's words`."""
    code = None if failure.error_code == failure.state else failure.error_code  # `invalid`, for one
    return ": ".join(part for part in (code, failure.error_message) if part) or "no reason was given"


def _keys(failure: Failure) -> str:
    keys = ", ".join(failure.row_keys[:_KEYS_SHOWN])
    more = failure.rows - len(failure.row_keys[:_KEYS_SHOWN])
    return f"{keys} and {more:,} more" if more else keys


def why_nothing_was_sent(report: RunReport, given_back: Iterable[Failure]) -> list[str]:
    """The reasons of a run that sent no row; none where its message says it."""
    if report.message:
        return []
    if lines := [f"{failure.rows:,} {what(failure)}: {why(failure)}" for failure in given_back]:
        return lines
    return [] if report.status.to_send else ["No row was waiting to be sent."]
