"""What a run tells Prefect's event bus, so that an automation can send a message or start a run.

Most of it is told at its end; that a cap or budget is near or reached, while rows are sent.

Nothing of it can stop, slow or fail a run: Prefect's client queues events and sends them in a thread of its own. A
temporary server ends with the run, so events are not sent there.
"""

from __future__ import annotations

from collections.abc import Collection
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any

from reelbatch.domain import RowState, RunId
from reelbatch.ledger import queries
from reelbatch.ledger.budgets import BudgetLeft
from reelbatch.pipeline.funds import budget_left
from reelbatch.pipeline.run_context import RunContext
from reelbatch.pipeline.run_summary import RunReport
from reelbatch.pipeline.situations import EXIT_CODES, Situation
from reelbatch.pipeline.status import BatchStatus, batch_status
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


def events_under_way(context: RunContext) -> list[BatchEvent]:
    """A cap or budget that is near or reached while rows are sent: each once for a run.

    Raises:
        LedgerError: the table could not be read.
    """
    cap, reason = context.settings.max_credits, context.stats.reason
    if on_temporary_server.get() or (not cap and context.settings.budget is None):
        return []
    worst = context.ledger.read(partial(queries.worst_case, batch=context.batch)) if cap else 0
    budget = budget_left(context.ledger, context.settings, context.payer.account)
    told = context.state.told
    news = [name for name in _limits(reason, worst, cap, budget) if name not in told]
    if not news:
        return []
    told.update(news)
    figures = {
        **_standing(batch_status(context.ledger, context.batch), context.scope.run_id),
        "submitted": context.stats.submitted,
        "credits_charged": context.stats.credits_charged,
        "max_credits": cap,
        "exit_reason": None if reason is ExitReason.DONE else reason.value,
        "exit_code": None,
        "message": (context.stats.message or "")[:_LONGEST],
    }
    return [BatchEvent(name, figures) for name in news]


def events_of_run(report: RunReport, told: Collection[str] = ()) -> list[BatchEvent]:
    """What the end of a run that sends is worth telling; without the events that were `told` before."""
    figures = {
        **_standing(report.status, report.run_id),
        "submitted": report.submitted,
        "credits_charged": report.credits_charged,
        "max_credits": report.max_credits,
        "exit_reason": report.exit_reason.value,
        "exit_code": report.exit_code,
        "message": (report.message or "")[:_LONGEST],
    }
    halted = report.exit_code == EXIT_CODES[Situation.HALTED]
    events = [BatchEvent("reelbatch.batch.halted" if halted else "reelbatch.batch.finished", figures)]
    if figures["in_doubt"]:
        events.append(BatchEvent("reelbatch.rows.in-doubt", figures))
    worst = report.status.credits.worst_case
    limits = _limits(report.exit_reason, worst, report.max_credits, report.budget)
    events += [BatchEvent(name, figures) for name in limits if name not in told]
    if report.dearer:
        events.append(
            BatchEvent("reelbatch.price.drift", {**figures, "drift": [each[:_LONGEST] for each in report.dearer]})
        )
    return events


def _standing(status: BatchStatus, run_id: RunId) -> dict[str, Any]:
    """Figures of the whole batch."""
    doubts, worst = status.count(RowState.IN_DOUBT), status.credits.worst_case
    counts = {"rows": status.rows, "in_doubt": doubts, "credits_worst_case": worst}
    return {"batch": status.batch, "run_id": run_id, **counts}


def _limits(reason: ExitReason, worst: int, cap: int | None, budget: BudgetLeft | None) -> list[str]:
    """Events about money. `worst`, `cap`: the batch's worst case and its cap, in credits."""
    names = []
    if reason is ExitReason.CAP:
        names.append("reelbatch.cap.reached")
    elif cap and worst >= NEAR * cap:
        names.append("reelbatch.cap.near")
    if reason is ExitReason.BUDGET:
        names.append("reelbatch.budget.reached")
    elif budget is not None and budget.is_short:
        names.append("reelbatch.budget.near")
    return names


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
