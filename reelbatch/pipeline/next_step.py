"""What to do next about a batch, by the states of its rows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from reelbatch.domain import HELD, UNSETTLED, Budget, RowState, RunId
from reelbatch.pipeline.status import BatchStatus
from reelbatch.typed_options import MANIFEST, command

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from reelbatch.ledger import Ledger

_FAILED = (RowState.REJECTED, RowState.ERROR, RowState.CANCELED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Why rows that are to be sent were not: counts of those that the same command does not send, and the last run.

    Args:
        held: paid for under another name.
        unknown_rate: not sent under a cap or budget.
        too_dear: cost more than the budget of a whole period.
        sent_again: no row that waits, but a request in doubt whose row was paid for once more.
        cap: of the last run, in credits.
        why: the last run ended.
        until: when the budget has room again that it used up.
    """

    held: int = 0
    unknown_rate: int = 0
    too_dear: int = 0
    sent_again: int = 0
    cap: int | None = None
    why: str | None = None
    until: str | None = None


def next_step(status: BatchStatus, waiting: Waiting = Waiting()) -> str | None:
    """The one command, or the deed, that comes first; None: nothing is left to do."""
    if status.count(*HELD):
        return "a run is at work on it"
    of_batch = partial(command, batch=status.batch)
    plan = of_batch("plan", MANIFEST)
    to_send = status.to_send - waiting.held - waiting.unknown_rate - waiting.too_dear
    ordered = 0 if status.order is None else status.order.count(RowState.PENDING)
    steps = (
        (0 if waiting.until else to_send, *_sending(status, waiting)),
        (ordered, "" if status.order is None else status.order.command, "of an order to send"),
        (status.count(*UNSETTLED), of_batch("settle"), "not finished"),
        (status.failures(RowState.IN_DOUBT), of_batch("reconcile"), "in doubt"),
        (waiting.sent_again, of_batch("reconcile"), "in doubt, of rows that were to be paid for once more"),
        (status.failures(*_FAILED), of_batch("rerun"), "failed"),
        (status.failures(RowState.INVALID), plan, "invalid: correct the manifest, then generate"),
        (
            waiting.unknown_rate,
            of_batch("generate", MANIFEST, "--rate", "N"),
            "of unknown rate: N credits a second",
        ),
        (waiting.held, plan, "held: it names what has paid for them; generate with --repeats send sends them"),
        (waiting.too_dear, plan, "cost more than a whole budget: generate with a larger `budget` sends them"),
        (to_send, of_batch("generate", MANIFEST), f"to send when the budget has room again, {waiting.until}"),
    )
    return next((f"{deed}   # {rows:,} {what}" for rows, deed, what in steps if rows > 0), None)


def _sending(status: BatchStatus, waiting: Waiting) -> tuple[str, str]:
    """The command that sends the rest, under the cap of the last run, and what to know of it."""
    cap, what = None if waiting.cap is None else str(waiting.cap), "to send"
    match waiting.why:
        case "cap" if waiting.cap is not None:
            cap, what = "N", f"to send: the cap of {waiting.cap:,} was reached, so N has to be more"
        case "no_credits":
            what = "to send, once the account is topped up"
        case "bad_key":
            what = "to send, with a key that the API accepts in MAGIC_HOUR_API_KEY"
    stated = () if cap is None else ("--max-credits", cap)
    return command("generate", MANIFEST, *stated, batch=status.batch), what


def needs_a_look(status: BatchStatus) -> bool:
    """Whether it takes more than the counts to say what comes first, and no one is at it."""
    doubtful = status.credits.in_doubt + status.credits.unknown > 0 and not status.failures(RowState.IN_DOUBT)
    return (status.to_send > 0 or doubtful) and not status.count(*HELD)


def next_step_of(ledger: Ledger, status: BatchStatus, budget: Budget | None) -> str | None:
    """The same, by what its rows wait for; `budget`: of the account, where one is set."""
    if not needs_a_look(status):
        return next_step(status)
    return next_step(status, ledger.read(lambda connection: _waiting_of(connection, status, budget)))


def _waiting_of(connection: Connection, status: BatchStatus, budget: Budget | None) -> Waiting:
    from reelbatch.ledger import engine, sent_again, waiting_rows
    from reelbatch.ledger.paid_requests import HELD_CODE
    from reelbatch.ledger.selection import RepeatPolicy, Scope
    from reelbatch.submit import ExitReason
    from reelbatch.submit.refusals import TOO_DEAR_CODE, UNKNOWN_RATE_CODE

    scope, last_run = Scope(status.batch, RunId("")), status.last_run
    why = None if last_run is None else last_run.exit_reason
    too_dear, until = 0, None
    if budget is not None:
        too_dear, _ = waiting_rows.too_dear(connection, scope, budget.credits, TOO_DEAR_CODE, 1)
        period = budget.period(engine.now(connection))
        if last_run is not None and why == ExitReason.BUDGET and last_run.started_at >= period.starts_at:
            until = f"{budget.until(period)} ({budget.timezone})"
    return Waiting(
        held=waiting_rows.given_back_as(connection, scope._replace(repeats=RepeatPolicy.SEND), HELD_CODE),
        unknown_rate=waiting_rows.given_back_as(connection, scope, UNKNOWN_RATE_CODE),
        too_dear=too_dear,
        sent_again=len(sent_again.doubts(connection, status.batch)),
        cap=None if last_run is None else last_run.max_credits,
        why=why,
        until=until,
    )
