"""What to do next, for someone who looks at a run in Prefect's UI: complete commands of Prefect's own."""

from __future__ import annotations

import json
import shlex

from reelbatch.domain import RowState
from reelbatch.ledger.selection import RepeatPolicy
from reelbatch.pipeline.advice import too_dear
from reelbatch.pipeline.run_summary import RunReport
from reelbatch.pipeline.situations import KEY_PLACES
from reelbatch.submit import ExitReason
from reelbatch.submit.refusals import UNKNOWN_RATE_CODE

PUT_THE_KEY = f"Set {KEY_PLACES} to one that the API accepts."

_HALTED = {
    ExitReason.NOT_AGREED: "Look at the plan again, then start another run.",
    ExitReason.DECLINED: "Nothing was sent.",
    ExitReason.INTERRUPTED: "Stopped. Another run goes on where this one left off.",
    ExitReason.BAD_KEY: f"The API refused the key. {PUT_THE_KEY} The next run sends the rows.",
    ExitReason.NO_ACCOUNT: "Nothing was sent. Start another run when the API answers.",
    ExitReason.NO_CREDITS: "The account is out of credits. Top it up; the next run sends the rows.",
    ExitReason.CAP: "The cap was reached. Raise max_credits; the next run sends the rows.",
    ExitReason.SAME_FAILURE: "Row after row failed in the same way, so the run was stopped. Fix the cause first.",
    ExitReason.DOUBTS: "Row after row went into doubt, so the run was stopped. Start another when the API answers.",
    ExitReason.NONE_SENT: "Not one row could be sent. The next run tries all of them again.",
    ExitReason.UNREACHABLE: "The API said nothing about the videos. The next settle follows them.",
    ExitReason.LEDGER_FAILED: "The results table could not be written. Fix that; the next run goes on.",
}


def prefect_hints(report: RunReport, results: str | None = None) -> list[str]:
    """What to do next, by what happened. `results`: the table, for commands that are for the worker's machine."""
    status, batch, lines = report.status, report.batch, []
    if text := _HALTED.get(report.exit_reason):
        lines.append(text)
    if report.held_rows and report.repeats is RepeatPolicy.HOLD:
        lines.append("Held rows are paid for under another name: the parameter repeats says what becomes of them.")
    lines += _about_the_rest(report)
    if status.order is not None and not status.order.is_done:
        goes_on = " The same parameters go on with it." if status.order.goes_on else ""
        lines.append(f"An order is open: {status.order}.{goes_on}")
    if status.failures(RowState.INVALID):
        lines.append("Invalid rows: correct them in the manifest; the next run sends them.")
    if status.failures(RowState.REJECTED, RowState.ERROR, RowState.CANCELED):
        lines.append(f"Failed rows again: {_run('rerun', batch=batch)}")
    if status.count(RowState.IN_DOUBT):
        words = ["--results", results] if results else []
        clear_up = shlex.join(["reelbatch", "reconcile", *words, "--batch", batch])
        lines.append(f"Rows in doubt, on the worker's machine: {clear_up}")
    if status.count(RowState.QUEUED, RowState.RENDERING):
        lines.append(f"Videos to their end: {_run('settle', batch=batch)}")
    return lines


def _about_the_rest(report: RunReport) -> list[str]:
    """How what was not sent is sent; another run now sends none of what waits for a budget or a rate."""
    lines = []
    if UNKNOWN_RATE_CODE in report.unsent:
        lines.append("Rows of unknown rate are not sent under a cap or budget: state `rate` among the overrides.")
    if report.budget is not None and report.too_dear:
        lines.append(too_dear(report, report.budget))
    if report.exit_reason is ExitReason.BUDGET:
        lines.append(f"{report.message}: a run sends them then, or at once with a larger `budget`.")
    elif report.still_to_send > 0:
        with_ = "the manifest and the batch" if report.chosen_only else "this run's parameters"
        lines.append(f"Rows still to be sent: {report.still_to_send:,}. {_run('generate')}, with {with_}.")
    return lines


def _run(name: str, **parameters: object) -> str:
    stated = [f" --param {shlex.quote(f'{key}={_value(value)}')}" for key, value in parameters.items()]
    return f"prefect deployment run {name}/{name}{''.join(stated)}"


def _value(value: object) -> str:
    """Prefect reads parameters as JSON where it can: a batch called 2026 is no number."""
    text = str(value)
    try:
        json.loads(text)
    except ValueError:
        return text
    return json.dumps(text)
