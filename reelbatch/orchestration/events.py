"""What a run tells Prefect's event bus at its end, so that an automation can send a message or start a run.

Nothing of it can stop, slow or fail a run: Prefect's client queues events and sends them in a thread of its own. A
temporary server ends with the run, so events are not sent there.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from reelbatch.domain import RowState
from reelbatch.pipeline.run_summary import RunReport
from reelbatch.pipeline.situations import EXIT_CODES, Situation
from reelbatch.settle import SettleStats
from reelbatch.submit import ExitReason

on_temporary_server: ContextVar[bool] = ContextVar("on_temporary_server", default=False)
"""Whether the server in use ends with this run: then no one can read its events."""
NEAR = 0.8
"""The share of a cap from which on it counts as near."""
_LONGEST = 500


@dataclass(frozen=True, slots=True)
class BatchEvent:
    """One event about a batch. `payload`: figures, and messages of at most 500 characters; never keys or prompts."""

    name: str
    payload: dict[str, Any]


def events_of_run(report: RunReport) -> list[BatchEvent]:
    """What the end of a run that sends is worth telling."""
    status, money = report.status, report.status.credits
    figures = {
        "batch": report.batch,
        "run_id": report.run_id,
        "rows": status.rows,
        "submitted": report.submitted,
        "in_doubt": status.count(RowState.IN_DOUBT),
        "credits_charged": report.credits_charged,
        "credits_worst_case": money.worst_case,
        "max_credits": report.max_credits,
        "exit_reason": report.exit_reason.value,
        "exit_code": report.exit_code,
        "message": (report.message or "")[:_LONGEST],
    }
    halted = report.exit_code == EXIT_CODES[Situation.HALTED]
    events = [BatchEvent("reelbatch.batch.halted" if halted else "reelbatch.batch.finished", figures)]
    if figures["in_doubt"]:
        events.append(BatchEvent("reelbatch.rows.in-doubt", figures))
    if report.exit_reason is ExitReason.CAP:
        events.append(BatchEvent("reelbatch.cap.reached", figures))
    elif report.max_credits and money.worst_case >= NEAR * report.max_credits:
        events.append(BatchEvent("reelbatch.cap.near", figures))
    if report.exit_reason is ExitReason.BUDGET:
        events.append(BatchEvent("reelbatch.budget.reached", figures))
    elif report.budget is not None and report.budget.is_short:
        events.append(BatchEvent("reelbatch.budget.near", figures))
    if report.dearer:
        events.append(
            BatchEvent("reelbatch.price.drift", {**figures, "drift": [each[:_LONGEST] for each in report.dearer]})
        )
    return events


def events_of_settle(batch: str, stats: SettleStats) -> list[BatchEvent]:
    """What the end of a settle is worth telling: videos that failed while they rendered."""
    if not stats.error:
        return []
    figures = {"batch": batch, "failed": stats.error, "complete": stats.complete, "unsettled": stats.unsettled}
    return [BatchEvent("reelbatch.videos.failed", {**figures, "credits_refunded": stats.credits_refunded})]


def emit(events: list[BatchEvent], batch: str, run_id: str | None = None) -> None:
    """Hand events over to Prefect's client: the batch is the resource, the run a related one."""
    if on_temporary_server.get():
        return
    from prefect.events import emit_event

    resource = {"prefect.resource.id": f"reelbatch.batch.{batch}", "prefect.resource.name": batch}
    run = {"prefect.resource.id": f"reelbatch.run.{run_id}", "prefect.resource.role": "run"}
    for event in events:
        emit_event(event=event.name, resource=resource, related=[run] if run_id else [], payload=event.payload)
