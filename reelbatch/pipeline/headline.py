"""What happened in a run, in one line: the message of its state, and the head of its summary."""

from __future__ import annotations

from reelbatch.pipeline.run_summary import RunReport
from reelbatch.pipeline.situations import Situation, situation_of
from reelbatch.pipeline.status import NO_ROWS
from reelbatch.submit import ExitReason


def headline(report: RunReport, export_problem: str | None = None) -> str:
    """What happened, the rows by state, and why, as far as there is a reason."""
    parts = [_happened(report, situation_of(report)), _counts(report)]
    if export_problem is not None:
        parts.append(f"the table was not exported: {export_problem}")
    return "; ".join(filter(None, parts))


def _happened(report: RunReport, situation: Situation) -> str:
    sent = f"{report.submitted:,} of {report.status.rows:,} rows got their id in this run"
    match situation:
        case Situation.HALTED | Situation.INTERRUPTED:
            why = f" ({report.message})" if report.message else ""
            return f"{report.exit_reason.value}{why}: {sent if report.sent else 'nothing was sent'}"
        case Situation.ALL_INVALID:
            return "every row is invalid, nothing was sent"
        case Situation.NOTHING_TO_DO:
            return "nothing to do"
        case Situation.BUDGET_REACHED:
            return f"{report.message or situation.value}; {sent if report.sent else 'nothing was sent'}"
    if report.exit_reason is ExitReason.DECLINED:
        return "nothing was sent, since no one agreed to it"
    return sent if report.sent else "nothing was sent in this run"


def _counts(report: RunReport) -> str:
    """Rows by state; of the failed ones those that count."""
    status = report.status
    counts = [f"{rows:,} {state.value.replace('_', ' ')}" for state, rows in status.states.items()]
    aside = {
        "changed and invalid": report.changed_invalid,
        "held": report.held_rows,
        "gone": sum(status.gone.values()),
        "dismissed": sum(status.dismissed.values()),
    }
    counts += [f"{rows:,} {name}" for name, rows in aside.items() if rows]
    if back := report.unsent_otherwise:
        counts.append("given back: " + ", ".join(f"{rows:,} {code}" for code, rows in back.items()))
    left = report.settled
    if left is not None and left.downloads_failed:
        counts.append(f"{left.downloads_failed:,} not downloaded")
    return f"{report.batch}: {', '.join(counts) or NO_ROWS}"
