"""What to do next about a batch, by the states of its rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from reelbatch.domain import HELD, UNSETTLED, Budget, RowState, RunId
from reelbatch.pipeline.status import BatchStatus
from reelbatch.typed_options import MANIFEST, command

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from reelbatch.ledger import Ledger
    from reelbatch.ledger.orders import OpenOrder
    from reelbatch.ledger.selection import Scope

_FAILED = (RowState.REJECTED, RowState.ERROR, RowState.CANCELED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stuck:
    """Rows that are to be sent, and that the same command does not send.

    Args:
        held: paid for under another name.
        unknown_rate: not sent under a cap or budget.
        too_dear: cost more than the budget of a whole period.
        later: of an order, rows whose video so far is not finished.
    """

    held: int = 0
    unknown_rate: int = 0
    too_dear: int = 0
    later: int = 0

    @property
    def rows(self) -> int:
        """All of them."""
        return self.held + self.unknown_rate + self.too_dear + self.later


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting(Stuck):
    """Why rows that are to be sent were not: of no order, of the one that is open, and by the last run.

    Args:
        of_order: lines of the order.
        sent_again: no row that waits, but a request in doubt whose row was paid for once more.
        cap: of the last run, in credits.
        why: the last run ended.
        until: when the budget has room again that it used up.
    """

    of_order: Stuck = Stuck()
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
    to_send = status.to_send - waiting.rows
    ordered = 0 if status.order is None else status.order.to_send - waiting.of_order.rows
    cap, why = _cap_of(waiting)
    later = f"when the budget has room again, {waiting.until}"
    steps = (
        (0 if waiting.until else to_send, of_batch("generate", MANIFEST, *cap), f"to send{why}"),
        (0 if waiting.until else ordered, _going_on(status, *cap), f"of an order to send{why}"),
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
        *_stuck_of_order(status, waiting.of_order),
        (to_send, of_batch("generate", MANIFEST), f"to send {later}"),
        (ordered, _going_on(status), f"of an order to send {later}"),
    )
    return next((f"{deed}   # {rows:,} {what}" for rows, deed, what in steps if rows > 0), None)


def _cap_of(waiting: Waiting) -> tuple[tuple[str, ...], str]:
    """The cap of the last run, as options of the command that sends the rest, and what to know of it."""
    cap, why = None if waiting.cap is None else str(waiting.cap), ""
    match waiting.why:
        case "cap" if waiting.cap is not None:
            cap, why = "N", f": the cap of {waiting.cap:,} was reached, so N has to be more"
        case "no_credits":
            why = ", once the account is topped up"
        case "bad_key":
            why = ", with a key that the API accepts in MAGIC_HOUR_API_KEY"
    return () if cap is None else ("--max-credits", cap), why


def _going_on(status: BatchStatus, *options: str) -> str:
    return "" if status.order is None else status.order.command_with(*options)


def _stuck_of_order(status: BatchStatus, stuck: Stuck) -> list[tuple[int, str, str]]:
    """The same of an order, by what goes on with it."""
    if status.order is None:
        return []
    order, larger = status.order, "a larger `budget` sends them"
    return [
        (stuck.unknown_rate, order.command_with("--rate", "N"), "of an order of unknown rate: N credits a second"),
        (stuck.held, order.preview, "of an order held: what goes on with it sends them with --repeats send"),
        (stuck.too_dear, order.preview, f"of an order cost more than a whole budget: {larger}"),
        (order.unsent_gone, order.cancel_command, "of an order left the manifest: this drops them"),
    ]


def needs_a_look(status: BatchStatus) -> bool:
    """Whether it takes more than the counts to say what comes first, and no one is at it."""
    doubtful = status.credits.in_doubt + status.credits.unknown > 0 and not status.failures(RowState.IN_DOUBT)
    ordered = 0 if status.order is None else status.order.to_send
    return (status.to_send > 0 or ordered > 0 or doubtful) and not status.count(*HELD)


def next_step_of(ledger: Ledger, status: BatchStatus, budget: Budget | None) -> str | None:
    """The same, by what its rows wait for; `budget`: of the account, where one is set."""
    if not needs_a_look(status):
        return next_step(status)
    return next_step(status, ledger.read(lambda connection: _waiting_of(connection, status, budget)))


def _waiting_of(connection: Connection, status: BatchStatus, budget: Budget | None) -> Waiting:
    from reelbatch.ledger import engine, sent_again
    from reelbatch.ledger.selection import Scope
    from reelbatch.submit import ExitReason

    last_run = status.last_run
    why = None if last_run is None else last_run.exit_reason
    until = None
    if budget is not None:
        period = budget.period(engine.now(connection))
        if last_run is not None and why == ExitReason.BUDGET and last_run.started_at >= period.starts_at:
            until = f"{budget.until(period)} ({budget.timezone})"
    own = _stuck(connection, Scope(status.batch, RunId("")), budget)
    return Waiting(
        held=own.held,
        unknown_rate=own.unknown_rate,
        too_dear=own.too_dear,
        of_order=Stuck() if status.order is None else _stuck_of(connection, status.order, budget),
        sent_again=len(sent_again.doubts(connection, status.batch)),
        cap=None if last_run is None else last_run.max_credits,
        why=why,
        until=until,
    )


def _stuck(connection: Connection, scope: Scope, budget: Budget | None) -> Stuck:
    from reelbatch.ledger import waiting_rows
    from reelbatch.ledger.paid_requests import HELD_CODE
    from reelbatch.ledger.selection import RepeatPolicy
    from reelbatch.submit.refusals import TOO_DEAR_CODE, UNKNOWN_RATE_CODE

    too_dear = 0
    if budget is not None:
        too_dear, _ = waiting_rows.too_dear(connection, scope, budget.credits, TOO_DEAR_CODE, 1)
    return Stuck(
        held=waiting_rows.given_back_as(connection, scope._replace(repeats=RepeatPolicy.SEND), HELD_CODE),
        unknown_rate=waiting_rows.given_back_as(connection, scope, UNKNOWN_RATE_CODE),
        too_dear=too_dear,
    )


def _stuck_of(connection: Connection, order: OpenOrder, budget: Budget | None) -> Stuck:
    from reelbatch.ledger import waiting_rows
    from reelbatch.ledger.selection import RepeatPolicy, Scope

    scope = Scope(order.batch, RunId(""), order=order.order_id, only_order=True)
    ready = waiting_rows.claimable(connection, scope._replace(repeats=RepeatPolicy.SEND))
    return replace(_stuck(connection, scope, budget), later=order.to_send - ready)
