"""What a run tells at its end, to people and to machines."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from reelbatch.domain import Batch, RowState, RunId
from reelbatch.errors import LedgerError
from reelbatch.ledger import Ledger, orders, queries, utc_now
from reelbatch.ledger.paid_requests import HELD_CODE, Held, SharedId, shared_ids
from reelbatch.ledger.queries import OddFigure
from reelbatch.ledger.selection import RepeatPolicy
from reelbatch.pipeline.plan import Plan
from reelbatch.pipeline.situations import EXIT_CODES, situation_of
from reelbatch.pipeline.status import BatchStatus, batch_status
from reelbatch.storage.files import redact_url
from reelbatch.submit import ExitReason

if TYPE_CHECKING:
    from reelbatch.pipeline.export import Exported
    from reelbatch.pipeline.run_context import RunContext
    from reelbatch.settle import SettleStats

FAILED_ROWS_SHOWN = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
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
    dearer: list[str] = field(default_factory=list)  # kinds of video that cost more than the table of models says
    is_rerun: bool = False
    settled: SettleStats | None = None  # where the run waited for its videos

    @property
    def unsent_otherwise(self) -> dict[str, int]:
        """Why rows were given back, those that are held aside."""
        return {code: rows for code, rows in self.unsent.items() if code != HELD_CODE}

    @property
    def stopped_early(self) -> bool:
        """Whether something ended the run before its rows did."""
        return self.exit_reason is not ExitReason.DONE

    @property
    def exit_code(self) -> int:
        """0 all done, 1 done with rows that need attention, 3 halted early, 130 interrupted."""
        return EXIT_CODES[situation_of(self)]

    @property
    def has_failures(self) -> bool:
        """Whether rows of the manifest, or their videos, need somebody's attention."""
        held = self.held_rows and self.repeats is RepeatPolicy.HOLD
        left = self.settled is not None and (self.settled.unsettled or self.settled.downloads_failed)
        return bool(self.status.needs_attention or self.unsent_otherwise or held or left)

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
            "price_drift": self.dearer,
            "credits_assumed": self.credits_assumed,
            "assumed_models": self.assumed_models,
            "left_out": self.left_out,
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
    """How the run stands now, at its end; whoever listens is told."""
    summary = RunSummary(_report(context), failed_rows(context.ledger, context.batch))
    context.listener.reported(summary)
    return summary


def _report(context: RunContext) -> RunReport:
    """As the table and the stats have it."""
    ledger, scope, stats, plan = context.ledger, context.scope, context.stats, context.state.plan
    held_rows, held = ledger.read(partial(queries.held, batch=scope.batch, limit=FAILED_ROWS_SHOWN))
    shared_rows, shared = ledger.read(partial(shared_ids, batch=scope.batch, limit=FAILED_ROWS_SHOWN))
    odd_rows, odd = ledger.read(
        lambda connection: queries.odd_figures(connection, scope.batch, FAILED_ROWS_SHOWN, scope.run_id)
    )
    return RunReport(
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
        cleared_up=context.cleared_up,
        is_rerun=scope.rerun,
        settled=None if context.state.settler is None else context.state.settler.stats,
        credits_assumed=0 if plan is None else plan.credits_assumed,
        assumed_models=[] if plan is None else plan.assumed_models,
        left_out=plan.left_out if isinstance(plan, Plan) else 0,
    )


def did_all(context: RunContext, exported: Exported | None = None) -> bool:
    """Whether the run did what it was asked for. Otherwise the same command comes again, and means this order."""
    settler = context.state.settler
    left = settler is not None and (settler.stats.unsettled or settler.stats.downloads_failed)
    failed = exported is not None and exported.problem is not None
    return context.stats.reason is ExitReason.DONE and not failed and not left


def finish_order(context: RunContext, exported: Exported | None = None) -> None:
    """Close the order that is done, unless whoever listens prints the report: then it is closed after that."""
    if not context.listener.prints_report and did_all(context, exported):
        close_order(context.ledger, context.batch)


def close_order(ledger: Ledger, batch: Batch) -> None:
    """Close the batch's open order if every row of it has its new id; where that fails, the next run does."""
    with suppress(LedgerError):
        ledger.change(lambda connection: orders.close(connection, batch, utc_now()))


def failed_rows(ledger: Ledger, batch: Batch, limit: int = FAILED_ROWS_SHOWN) -> list[dict[str, Any]]:
    """The first rows that need somebody's attention, with their images' addresses as they may be printed."""
    rows = ledger.read(lambda connection: queries.failed(connection, batch, limit))
    return [{**row, "image_path": redact_url(row["image_path"])} for row in rows]


def advice(report: RunReport, options: str = "") -> list[str]:
    """What to type next, by what happened; `options` are those that the commands have to repeat."""
    status, lines = report.status, []
    if text := _HALTED.get(report.exit_reason):
        lines.append(text)
    if "unknown_rate" in report.unsent:
        lines.append("Rows of unknown rate are not sent under a cap. State one with --rate, or leave the cap out.")
    waiting = status.to_send - report.held_rows
    if waiting > 0 and set(report.unsent) != {"unknown_rate"}:
        again = "`reelbatch generate` with the manifest" if report.is_rerun else "the same command again"
        lines.append(f"{waiting:,} row{'s are' if waiting > 1 else ' is'} still to be sent: {again}.")
    lines += _open_ends(report)
    if status.failures(RowState.INVALID):
        lines.append("Correct the invalid rows in the manifest and run the same command again.")
    if status.failures(RowState.REJECTED):
        again = f"`reelbatch rerun{options}`"
        lines.append(f"Rejected rows: correct them in the manifest, or send them as they are with {again}.")
    if status.failures(RowState.ERROR, RowState.CANCELED):
        lines.append(f"`reelbatch rerun{options}` makes videos that failed or were canceled again.")
    if status.count(RowState.IN_DOUBT):
        lines.append(
            f"`reelbatch reconcile{options}` lists the rows in doubt; they are never sent again by themselves."
        )
    if status.count(RowState.QUEUED, RowState.RENDERING):
        lines.append(f"`reelbatch settle{options} --download videos` waits for the videos and fetches them.")
    return lines


def _open_ends(report: RunReport) -> list[str]:
    """Rows that wait for somebody's word."""
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
        lines.append(
            f"An order is open: {order}. The same options go on with it; --regenerate cancel drops the rest."
        )
    return lines


_HALTED = {
    ExitReason.NOT_AGREED: "Nothing was sent. Look at the plan again, then run the same command.",
    ExitReason.DECLINED: "Nothing was sent.",
    ExitReason.INTERRUPTED: "Stopped. The same command again goes on where this run left off.",
    ExitReason.BAD_KEY: "The API refused the key. Check MAGIC_HOUR_API_KEY, then run the same command again.",
    ExitReason.NO_ACCOUNT: "Nothing was sent. Run the same command again when the API answers.",
    ExitReason.NO_CREDITS: "The account is out of credits. Top it up, then run the same command again.",
    ExitReason.CAP: "The cap was reached. Raise --max-credits, then run the same command again.",
    ExitReason.SAME_FAILURE: "Row after row failed in the same way, so the run was stopped. Mend the cause first.",
    ExitReason.DOUBTS: (
        "Row after row went into doubt, also those that were tried one at a time, so the run was stopped. "
        "Run the same command again when the API answers as usual: what was not sent is sent then."
    ),
    ExitReason.NONE_SENT: "Not one row could be sent. Run the same command again when the cause is mended.",
    ExitReason.UNREACHABLE: "The API said nothing about the videos. `reelbatch settle` follows them when it answers.",
    ExitReason.LEDGER_FAILED: "The results table could not be written. Mend that, then run the same command again.",
}
