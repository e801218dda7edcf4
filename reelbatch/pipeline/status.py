"""How a batch stands, by the results table alone."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from reelbatch.domain import NEEDS_ATTENTION, Batch, Credits, RowState
from reelbatch.ledger.quick_status import glance, plain_path
from reelbatch.pipeline.resources import any_rescued
from reelbatch.report_view import Facts, ReportView, as_texts
from reelbatch.typed_options import note_manifests

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection

    from reelbatch.ledger import Ledger
    from reelbatch.ledger.budgets import BudgetLeft
    from reelbatch.ledger.failures import Failure
    from reelbatch.ledger.orders import OpenOrder
    from reelbatch.ledger.past_run import PastRun
    from reelbatch.ledger.queries import OddFigure
    from reelbatch.settings import Settings

NO_ROWS = "no rows in the results table yet"
"""Of a batch whose manifest was not read so far, as where a run was halted before it was."""
ODD_FIGURES_SHOWN = 100
FAILURES_SHOWN = 20
KEYS_KEPT = 100


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class BatchStatus(ReportView):
    """A batch as the table has it."""

    batch: Batch
    rows: int
    states: dict[RowState, int]
    credits: Credits
    by_model: dict[str, Credits]
    gone: dict[RowState, int] = field(default_factory=dict)  # of `states`: rows that the manifest no longer has
    order: OpenOrder | None = None  # rows that are being made again
    earlier_videos: int = 0  # of rows that have a later one
    dismissed: dict[RowState, int] = field(default_factory=dict)  # of `states`: failed rows that count for nothing
    odd_figure_rows: int = 0  # requests of which a figure of the API was not believed
    odd_figures: list[OddFigure] = field(default_factory=list)  # the first of them
    last_run: PastRun | None = None

    @property
    def needs_attention(self) -> int:
        """Rows of the manifest that are invalid, rejected, in error, canceled or in doubt, and not dismissed."""
        return self.failures(*NEEDS_ATTENTION)

    def failures(self, *states: RowState) -> int:
        """Rows in one of `states` that the manifest still has and that were not dismissed."""
        return sum(self.states.get(each, 0) - self.gone.get(each, 0) - self.dismissed.get(each, 0) for each in states)

    @property
    def to_send(self) -> int:
        """Rows of the manifest that the same command sends, those of an order aside."""
        ordered = 0 if self.order is None else self.order.to_send
        return self.count(RowState.PENDING) - self.gone.get(RowState.PENDING, 0) - ordered

    def count(self, *states: RowState) -> int:
        """Rows in one of `states`."""
        return sum(self.states.get(state, 0) for state in states)

    def facts(self) -> Facts:
        """For a notebook."""
        states = {state.value: rows for state, rows in self.states.items()}
        money = {f"credits_{name}": value for name, value in asdict(self.credits).items() if value}
        lines = [] if self.order is None else [f"An order is open: {self.order}"]
        return Facts(f"batch {self.batch}", {"rows": self.rows, **states, **money}, lines)

    def as_json(self) -> dict[str, Any]:
        """For `--json`: every state, also those without rows."""
        states = {state.value: self.states.get(state, 0) for state in RowState}
        by_model = {model: asdict(money) for model, money in self.by_model.items()}
        money = {"credits": asdict(self.credits), "credits_by_model": by_model}
        order = None if self.order is None else str(self.order)
        dismissed = sum(self.dismissed.values())
        gone = {"gone": sum(self.gone.values()), "dismissed": dismissed}
        more = {**gone, "earlier_videos": self.earlier_videos, "order": order}
        odd = {"odd_figure_rows": self.odd_figure_rows, "odd_figures": [asdict(one) for one in self.odd_figures]}
        last_run = {"last_run": None if self.last_run is None else as_texts(self.last_run)}
        return {"batch": self.batch, "rows": self.rows, "states": states, **more, **money, **odd, **last_run}


def batch_status(ledger: Ledger, batch: Batch, *, by_model: bool = False) -> BatchStatus:
    """Counts by state, and the money; by model too where that is asked for."""
    return ledger.read(lambda connection: _batch_status(connection, batch, by_model=by_model))


def _batch_status(connection: Connection, batch: Batch, *, by_model: bool) -> BatchStatus:
    from reelbatch.ledger import dismissals, history, orders, queries, selection

    odd_rows, odd = queries.odd_figures(connection, batch, ODD_FIGURES_SHOWN)
    return BatchStatus(
        batch=batch,
        odd_figure_rows=odd_rows,
        odd_figures=odd,
        rows=selection.rows_of(connection, batch),
        states=queries.counts(connection, batch),
        credits=queries.credits_of(connection, batch),
        by_model=queries.credits_by_model(connection, batch) if by_model else {},
        gone=queries.counts_of_gone(connection, batch),
        dismissed=dismissals.counts_of_dismissed(connection, batch),
        order=orders.open_order(connection, batch),
        earlier_videos=sum(selection.superseded(connection, batch).values()),
        last_run=next(iter(history.past_runs(connection, [batch], 1)), None),
    )


def budgets_of(ledger: Ledger, settings: Settings, names: Iterable[Batch]) -> list[BudgetLeft]:
    """How the budget of each account stands that paid for one of these batches."""
    from reelbatch.ledger import budgets

    budget = settings.budget
    if budget is None:
        return []

    def found(connection: Connection) -> list[BudgetLeft]:
        accounts = budgets.accounts_of(connection, names)
        return [budgets.left(connection, api, account, budget) for api, account in accounts]

    return ledger.read(found)


def statuses_at_a_glance(url: str, batch: str | None = None) -> list[BatchStatus] | None:
    """Each batch of a table, or one, without opening it as a ledger; None where that can't be avoided."""
    path = plain_path(url)
    if path is None or any_rescued(path):
        return None
    found = glance(path, batch)
    if found is None or (batch is not None and not found):
        return None
    note_manifests({name: standing.manifest for name, standing in found.items() if standing.manifest})
    return [
        BatchStatus(batch=name, rows=sum(states.values()), states=states, credits=money, by_model={}, last_run=run)
        for name, (states, money, run, _) in found.items()
    ]


@dataclass(frozen=True, slots=True)
class BatchFailures:
    """Why rows of a batch failed, were given back or are not finished; `kinds` are the newest."""

    kinds_in_all: int
    kinds: list[Failure]

    @property
    def given_back(self) -> list[Failure]:
        """Of these, the reasons of rows that wait to be sent."""
        return [failure for failure in self.kinds if failure.is_given_back]

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {"failure_kinds": self.kinds_in_all, "failures": [failure.as_json() for failure in self.kinds]}


def batch_failures(ledger: Ledger, batch: Batch, kinds: int = FAILURES_SHOWN) -> BatchFailures:
    """The newest reasons, each with how often and the first keys."""
    from reelbatch.ledger.failures import failures

    return BatchFailures(*ledger.read(lambda connection: failures(connection, batch, kinds, KEYS_KEPT)))
