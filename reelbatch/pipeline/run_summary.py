"""What a run tells at its end, to people and to machines."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from reelbatch.domain import Batch, RowKey, RowState, RunId
from reelbatch.errors import LedgerError
from reelbatch.ledger import Ledger, orders, queries, utc_now, waiting_rows
from reelbatch.ledger.budgets import BudgetLeft
from reelbatch.ledger.paid_requests import HELD_CODE, Held, SharedId, shared_ids
from reelbatch.ledger.queries import OddFigure
from reelbatch.ledger.selection import RepeatPolicy, Scope
from reelbatch.pipeline.advice import advice
from reelbatch.pipeline.funds import Funds, budget_left
from reelbatch.pipeline.pilot import Pilot, pilot_of
from reelbatch.pipeline.plan import Plan
from reelbatch.pipeline.prices import drifted_in
from reelbatch.pipeline.situations import EXIT_CODES, situation_of
from reelbatch.pipeline.status import BatchStatus, batch_status
from reelbatch.report_view import Facts, ReportView
from reelbatch.storage.files import redact_url
from reelbatch.submit import ExitReason
from reelbatch.submit.refusals import TOO_DEAR_CODE, UNKNOWN_RATE_CODE

if TYPE_CHECKING:
    from reelbatch.pipeline.export import Exported
    from reelbatch.pipeline.run_context import RunContext
    from reelbatch.settle import SettleStats

FAILED_ROWS_SHOWN = 100


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RunReport(ReportView):
    """A run that has ended. `status` is the whole batch; the rest is this run's own doing."""

    batch: Batch
    run_id: RunId
    sent: int
    submitted: int
    retries: int
    credits_charged: int
    submit_seconds: float
    rows_per_second: float
    exit_reason: ExitReason
    message: str | None
    unsent: dict[str, int]  # why rows were given back in this run
    status: BatchStatus
    max_credits: int | None
    held_rows: int = 0  # rows whose request is paid for under another name
    held: list[Held] = field(default_factory=list)  # the first of them
    repeats: RepeatPolicy = RepeatPolicy.HOLD
    shared_rows: int = 0  # rows of the batch whose video id another row had before
    shared_ids: list[SharedId] = field(default_factory=list)  # the first of them
    odd_figure_rows: int = 0  # rows that count as their estimate, since the API's figure can't be believed
    odd_figures: list[OddFigure] = field(default_factory=list)  # the first of them
    cleared_up: int = 0  # rows in doubt before this run, of whose noted id the API could say by now what it is
    credits_assumed: int = 0  # of what this run was to send: the estimate of rows without a model
    assumed_models: list[str] = field(default_factory=list)  # that the API is taken to make them with
    left_out: int = 0  # rows of the manifest that `where` did not let through
    changed_invalid: int = 0  # rows with an id of which the manifest asks for something that fails its checks
    dearer: list[str] = field(default_factory=list)  # kinds of video that cost more than the table of models says
    chosen_only: bool = False  # it takes rows that it was told to, and leaves those that wait to `generate`
    settled: SettleStats | None = None  # where the run waited for its videos
    not_downloaded: int = 0  # finished videos of the batch that are in no file
    drifted: list[str] = field(default_factory=list)  # kinds whose finished videos cost more or less than that
    funds: Funds | None = None  # what the run could spend when it began
    budget: BudgetLeft | None = None  # how the budget stands now
    pilot: Pilot | None = None  # what the sample says of the rest
    too_dear_rows: int = 0  # rows that cost more than the budget of a whole period
    too_dear: list[RowKey] = field(default_factory=list)  # the first of them

    @property
    def unsent_otherwise(self) -> dict[str, int]:
        """Why rows were given back, those that are held aside."""
        return {code: rows for code, rows in self.unsent.items() if code != HELD_CODE}

    @property
    def stopped_early(self) -> bool:
        """Whether something ended the run before its rows did; rows that wait for a budget are as they should be."""
        return self.exit_reason not in {ExitReason.DONE, ExitReason.BUDGET}

    @property
    def waiting(self) -> int:
        """Rows that the same command sends, now or when there is a budget for them."""
        order = self.status.order
        held = self.held_rows - (0 if order is None else order.held)  # an order's are not among those to send
        return self.status.to_send - held - self.too_dear_rows

    @property
    def still_to_send(self) -> int:
        """The same without rows of unknown rate, which this run gave back and the same command would."""
        return self.waiting - self.unsent.get(UNKNOWN_RATE_CODE, 0)

    @property
    def exit_code(self) -> int:
        """0 all done, 1 done with rows that need attention, 3 halted early, 130 interrupted."""
        return EXIT_CODES[situation_of(self)]

    @property
    def has_failures(self) -> bool:
        """Whether rows of the manifest, or their videos, need someone's attention."""
        held = self.held_rows and self.repeats is RepeatPolicy.HOLD
        left = self.settled is not None and (self.settled.unsettled or self.settled.downloads_failed)
        rows = self.status.needs_attention or self.changed_invalid or self.unsent_otherwise or self.too_dear_rows
        return bool(rows or held or left)

    def facts(self) -> Facts:
        """For a notebook."""
        own = {"exit_reason": self.exit_reason.value, "sent": self.sent, "submitted": self.submitted}
        more = {"credits_charged": self.credits_charged, "held_rows": self.held_rows, "exit_code": self.exit_code}
        states = {state.value: rows for state, rows in self.status.states.items()}
        said = [self.message] if self.message else []
        return Facts(f"run {self.run_id} of batch {self.batch}", {**own, **more, **states}, [*said, *advice(self)])

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        status = self.status
        return {
            "batch": self.batch,
            "run_id": self.run_id,
            "rows": status.rows,
            "sent": self.sent,
            "submitted": self.submitted,
            "retries": self.retries,
            **{state.value: status.count(state) for state in (*_COUNTED,)},
            "credits_charged": self.credits_charged,
            "submit_seconds": round(self.submit_seconds, 3),
            "rows_per_second": round(self.rows_per_second, 1),
            "exit_reason": self.exit_reason.value,
            "message": self.message,
            "unsent": self.unsent,
            "held_rows": self.held_rows,
            "held": [held.as_json() for held in self.held],
            "cleared_up": self.cleared_up,
            "shared_ids": [shared._asdict() for shared in self.shared_ids],
            "odd_figure_rows": self.odd_figure_rows,
            "odd_figures": [asdict(odd) for odd in self.odd_figures],
            "price_drift": [*self.dearer, *self.drifted],
            "credits_assumed": self.credits_assumed,
            "assumed_models": self.assumed_models,
            "left_out": self.left_out,
            "changed_invalid": self.changed_invalid,
            **({"account": None, "cap": None} if self.funds is None else self.funds.as_json()),
            "budget": None if self.budget is None else self.budget.as_json(),
            "too_dear_rows": self.too_dear_rows,
            "too_dear": self.too_dear,
            "pilot": None if self.pilot is None else self.pilot.as_json(),
            "order": None if status.order is None else str(status.order),
            "max_credits": self.max_credits,
            "credits": asdict(status.credits),
        }


_COUNTED = (
    RowState.PENDING,
    RowState.INVALID,
    RowState.REJECTED,
    RowState.IN_DOUBT,
    RowState.QUEUED,
    RowState.RENDERING,
    RowState.COMPLETE,
    RowState.ERROR,
    RowState.CANCELED,
)


@dataclass(frozen=True, slots=True)
class RunSummary:
    """The report of a run, and the first rows that need attention."""

    report: RunReport
    failed: list[dict[str, Any]]


def report(context: RunContext) -> RunSummary:
    """How the run stands now, at its end; the listener is told."""
    summary = RunSummary(_report(context), failed_rows(context.ledger, context.batch))
    context.listener.reported(summary)
    return summary


def _report(context: RunContext) -> RunReport:
    """As the table and the stats have it."""
    ledger, scope, stats, plan = context.ledger, context.scope, context.stats, context.state.plan
    held_rows, held = ledger.read(partial(queries.held, batch=scope.batch, limit=FAILED_ROWS_SHOWN))
    shared_rows, shared = ledger.read(partial(shared_ids, batch=scope.batch, limit=FAILED_ROWS_SHOWN))
    odd_figures = partial(queries.odd_figures, batch=scope.batch, limit=FAILED_ROWS_SHOWN, run_id=scope.run_id)
    odd_rows, odd = ledger.read(odd_figures)
    budget = budget_left(ledger, context.settings, context.payer.account)
    dear_rows, dear = _too_dear(ledger, scope, budget)
    made = RunReport(
        shared_rows=shared_rows,
        shared_ids=shared,
        batch=scope.batch,
        run_id=scope.run_id,
        sent=stats.sent,
        submitted=stats.submitted,
        retries=stats.retries,
        credits_charged=stats.credits_charged,
        submit_seconds=stats.submit_seconds,
        rows_per_second=stats.rows_per_second,
        exit_reason=stats.reason,
        message=stats.message,
        unsent=dict(stats.failures),
        status=batch_status(ledger, scope.batch),
        max_credits=context.settings.max_credits,
        held_rows=held_rows,
        held=held,
        repeats=scope.repeats,
        odd_figure_rows=odd_rows,
        odd_figures=odd,
        dearer=context.submitter.sender.dearer,
        drifted=drifted_in(ledger, context.settings, scope.batch, context.payer),
        cleared_up=context.cleared_up,
        chosen_only=scope.rerun or scope.only_order,
        settled=None if context.state.settler is None else context.state.settler.stats,
        credits_assumed=0 if plan is None else plan.credits_assumed,
        assumed_models=[] if plan is None else plan.assumed_models,
        not_downloaded=_not_downloaded(context),
        left_out=plan.left_out if isinstance(plan, Plan) else 0,
        changed_invalid=plan.changed_invalid if isinstance(plan, Plan) else 0,
        funds=None if plan is None else plan.funds,
        budget=budget,
        pilot=pilot_of(context),
        too_dear_rows=dear_rows,
        too_dear=dear,
    )
    if budget is not None and made.exit_reason is ExitReason.BUDGET:
        waiting = made.waiting - sum(made.unsent_otherwise.values())
        words = "row waits" if waiting == 1 else "rows wait"
        return replace(made, message=f"{waiting:,} {words} until {budget.until}")
    return made


def _not_downloaded(context: RunContext) -> int:
    """Asked only where the run waited for its videos: of a large batch it takes a while."""
    if context.state.settler is None:
        return 0
    return context.ledger.read(partial(queries.not_downloaded, batch=context.batch))


def _too_dear(ledger: Ledger, scope: Scope, budget: BudgetLeft | None) -> tuple[int, list[RowKey]]:
    if budget is None:
        return 0, []
    whole = budget.budget.credits
    return ledger.read(lambda found: waiting_rows.too_dear(found, scope, whole, TOO_DEAR_CODE, FAILED_ROWS_SHOWN))


def did_all(context: RunContext, exported: Exported | None = None) -> bool:
    """Whether the run did what it was asked for. Otherwise the same command comes again, and means this order."""
    settler = context.state.settler
    left = settler is not None and (settler.stats.unsettled or settler.stats.downloads_failed)
    failed = exported is not None and exported.problem is not None
    return context.stats.reason is ExitReason.DONE and not failed and not left


def finish_order(context: RunContext, exported: Exported | None = None) -> None:
    """Close the order that is done, unless the listener prints the report: then it is closed after that."""
    if not context.listener.prints_report and did_all(context, exported):
        close_order(context.ledger, context.batch)


def close_order(ledger: Ledger, batch: Batch) -> None:
    """Close the batch's open order if every row of it has its new id; where that fails, the next run does."""
    with suppress(LedgerError):
        ledger.change(lambda connection: orders.close(connection, batch, utc_now()))


def failed_rows(ledger: Ledger, batch: Batch, limit: int = FAILED_ROWS_SHOWN) -> list[dict[str, Any]]:
    """The first rows that need someone's attention, with their images' addresses as they may be printed."""
    rows = ledger.read(lambda connection: queries.failed(connection, batch, limit))
    return [{**row, "image_path": redact_url(row["image_path"])} for row in rows]
