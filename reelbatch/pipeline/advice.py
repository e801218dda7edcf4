"""What to type after a run, by what happened in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reelbatch.domain import RowState
from reelbatch.ledger.selection import RepeatPolicy
from reelbatch.printable import counted
from reelbatch.submit import ExitReason
from reelbatch.submit.refusals import UNKNOWN_RATE_CODE
from reelbatch.typed_options import MANIFEST, command

if TYPE_CHECKING:
    from reelbatch.ledger.budgets import BudgetLeft
    from reelbatch.pipeline.run_summary import RunReport

_NAMED = 10


def advice(report: RunReport, rest: str | None = None) -> list[str]:
    """What to type next, by what happened; `rest`: the command that sends what a pilot left."""
    status, batch, lines = report.status, report.batch, []
    if text := _HALTED.get(report.exit_reason):
        lines.append(text)
    if report.exit_reason is ExitReason.UNREACHABLE:
        follows = f"`{command('settle', batch=batch)}` follows them when it answers"
        lines.append(f"The API said nothing about the videos. {follows}.")
    if UNKNOWN_RATE_CODE in report.unsent:
        lines.append(
            "Rows of unknown rate are not sent under a cap or budget. State one with --rate, or leave it out."
        )
    if report.budget is not None:
        lines += _about_budget(report, report.budget)
    lines += _about_the_rest(report, rest)
    lines += _open_ends(report)
    lines += _failed(report, rest)
    if status.count(RowState.IN_DOUBT):
        lists = f"`{command('reconcile', batch=batch)}` lists the rows in doubt"
        lines.append(f"{lists}; they are never sent again by themselves.")
    if status.count(RowState.QUEUED, RowState.RENDERING):
        settle = command("settle", "--download", "videos", batch=batch)
        lines.append(f"`{settle}` waits for the videos and fetches them.")
    elif report.settled is not None and report.not_downloaded:
        settle = command("settle", "--download", "videos", batch=batch)
        lines.append(f"`{settle}` fetches the videos that were not downloaded: {report.not_downloaded:,}.")
    return lines


def not_exported(problem: str, *, is_complete: bool) -> str:
    """That a run's file was not written; `is_complete`: the table, at least, has every answer."""
    start = "The results table is complete, but was not exported" if is_complete else "The results were not exported"
    return f"{start}. {problem}"


def after_trial(report: RunReport, live: str | None) -> list[str]:
    """What to type after a run in the sandbox, where videos are drawings; `live`: the same with the vendor's API."""
    if live is None or report.exit_reason is not ExitReason.DONE:
        return []
    return [f"This was a trial; nothing was paid. With a key in MAGIC_HOUR_API_KEY, `{live}` makes the real videos."]


def _failed(report: RunReport, rest: str | None) -> list[str]:
    """What to do about rows that failed, before or after they were sent."""
    status, batch, lines = report.status, report.batch, []
    if status.failures(RowState.INVALID):
        lines.append(f"Correct the invalid rows in the manifest and run {_sends_the_rest(report, rest)}.")
    if report.changed_invalid:
        rows = f"{counted(report.changed_invalid, 'row')} with a video"
        lines.append(f"The manifest asks for something invalid for {rows}, which stay as they are. Correct it.")
    if status.failures(RowState.REJECTED):
        again = f"`{command('rerun', batch=batch)}`"
        lines.append(f"Rejected rows: correct them in the manifest, or send them as they are with {again}.")
    if status.failures(RowState.ERROR, RowState.CANCELED):
        lines.append(f"`{command('rerun', batch=batch)}` makes videos that failed or were canceled again.")
    return lines


def _about_the_rest(report: RunReport, rest: str | None) -> list[str]:
    """How what was not sent is sent."""
    waiting = report.still_to_send
    if report.pilot is not None and report.pilot.rest_rows:
        return [f"{_sends_the_rest(report, rest)} sends the rest; nothing is paid for twice."]
    if waiting <= 0 or report.exit_reason is ExitReason.BUDGET:
        return []
    return [f"{waiting:,} row{'s are' if waiting > 1 else ' is'} still to be sent: {_sends_the_rest(report, rest)}."]


def _sends_the_rest(report: RunReport, rest: str | None) -> str:
    """What sends rows that wait, also those that are corrected: not a run that takes chosen rows or a sample only."""
    if report.pilot is not None:
        return "the same command without --pilot" if rest is None else f"`{rest}`"
    generate = f"`{command('generate', MANIFEST, batch=report.batch)}`"
    return generate if report.chosen_only else "the same command again"


def _about_budget(report: RunReport, left: BudgetLeft) -> list[str]:
    lines = []
    if report.exit_reason is ExitReason.BUDGET:
        lines.append(f"{report.message}: the same command sends them then, or at once with a larger `budget`.")
    if report.too_dear:
        lines.append(too_dear(report, left))
    return lines


def too_dear(report: RunReport, left: BudgetLeft) -> str:
    """Which rows no period of the budget has room for."""
    named = ", ".join(report.too_dear[:_NAMED]) + (", …" if report.too_dear_rows > _NAMED else "")
    return (
        f"{report.too_dear_rows:,} cost more than the budget of a whole {left.budget.per} "
        f"({left.budget.credits:,} credits) and are never sent with it: {named}."
    )


def _open_ends(report: RunReport) -> list[str]:
    """Rows that wait for someone's word."""
    lines, order = [], report.status.order
    if report.shared_ids:
        first = report.shared_ids[0]
        lines.append(
            f"{report.shared_rows:,} got a video id that another row has, such as {first.row_key} that of "
            f"{first.other_row_key} ({first.video_id}): look at these videos, and ask the vendor."
        )
    if report.held_rows and report.repeats is RepeatPolicy.HOLD:
        lines.append(
            "Held rows are paid for under another name: --repeats send sends them, --repeats skip is silent."
        )
    if order is not None and not order.is_done:
        lines.append(f"An order is open: {order}. {'; '.join(order.next_steps)}.")
    return lines


_HALTED = {
    ExitReason.NOT_AGREED: "Look at the plan again, then run the same command.",
    ExitReason.DECLINED: "Nothing was sent.",
    ExitReason.INTERRUPTED: "Stopped. The same command again goes on where this run left off.",
    ExitReason.BAD_KEY: "The API refused the key. Check MAGIC_HOUR_API_KEY, then run the same command again.",
    ExitReason.NO_ACCOUNT: "Nothing was sent. Run the same command again when the API answers.",
    ExitReason.NO_CREDITS: "The account is out of credits. Top it up, then run the same command again.",
    ExitReason.CAP: "The cap was reached. Raise --max-credits, then run the same command again.",
    ExitReason.SAME_FAILURE: (
        "Row after row failed in the same way, so the run was stopped. "
        "Fix the cause, then run the same command again."
    ),
    ExitReason.DOUBTS: (
        "Row after row went into doubt, also those that were tried one at a time, so the run was stopped. "
        "Run the same command again when the API answers as usual: what was not sent is sent then."
    ),
    ExitReason.NONE_SENT: "Not one row could be sent. Run the same command again when the cause is fixed.",
    ExitReason.LEDGER_FAILED: "The results table could not be written. Fix that, then run the same command again.",
}
