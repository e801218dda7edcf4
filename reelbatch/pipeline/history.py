"""What ran, and what the table holds: for a user who comes back after a while."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from reelbatch.domain import Batch, Budget
from reelbatch.errors import SettingsError
from reelbatch.ledger import history, queries, runs, utc_now
from reelbatch.ledger.history import Cost, KnownBatch
from reelbatch.ledger.past_run import PastRun
from reelbatch.pipeline.next_step import next_step_of
from reelbatch.pipeline.resources import batches_named
from reelbatch.pipeline.status import BatchStatus, batch_status

if TYPE_CHECKING:
    from reelbatch.ledger import Ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEntry:
    """A run, what it has cost, and what its batch needs next, where no later run of that is listed."""

    run: PastRun
    cost: Cost
    next_step: str | None = None

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        spent = self.cost.credits
        cost = {"cost": spent.charged - spent.refunded, "credits": asdict(spent)}
        counts = {"requests": self.cost.requests, "videos": self.cost.videos}
        return {**asdict(self.run), **counts, **cost, "next_step": self.next_step}


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchEntry:
    """A batch of the table, how it stands with its last run, and what it needs next."""

    known: KnownBatch
    status: BatchStatus
    next_step: str | None

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        status = self.status
        states = {state.value: rows for state, rows in status.states.items()}
        standing = {"rows": status.rows, "states": states, "credits": asdict(status.credits)}
        last_run = None if status.last_run is None else asdict(status.last_run)
        return {**asdict(self.known), **standing, "last_run": last_run, "next_step": self.next_step}


def list_runs(ledger: Ledger, batch: str | None, last: int, budget: Budget | None = None) -> list[RunEntry]:
    """The last runs, of one batch or of all that are not archived; the newest first.

    Raises:
        SettingsError: there is no such batch.
    """
    names = batches_named(ledger, batch)
    found = ledger.read(partial(history.past_runs, of=names, limit=last))
    costs = ledger.read(partial(history.costs, of=[run.run_id for run in found]))
    steps = {name: next_step_of(ledger, batch_status(ledger, name), budget) for name in {run.batch for run in found}}
    # Only with the newest of each batch: what came before it is history.
    return [
        RunEntry(run=run, cost=costs.get(run.run_id, Cost()), next_step=steps.pop(run.batch, None)) for run in found
    ]


def list_batches(ledger: Ledger, budget: Budget | None = None, *, archived: bool = False) -> list[BatchEntry]:
    """The batches of the table; with `archived` those that are, too."""
    known = ledger.read(history.known_batches)
    return [_entry(ledger, each, budget) for each in known if archived or each.archived_at is None]


def _entry(ledger: Ledger, known: KnownBatch, budget: Budget | None) -> BatchEntry:
    status = batch_status(ledger, known.batch)
    return BatchEntry(known=known, status=status, next_step=next_step_of(ledger, status, budget))


def archive(ledger: Ledger, name: str, *, back: bool = False) -> bool:
    """Take a batch out of what commands mean that name none, or back in. Every line of it stays, and counts.

    Returns:
        Whether that changed anything.

    Raises:
        SettingsError: there is no such batch.
    """
    known = ledger.read(queries.batch_names)
    if name not in known:
        which = "--unarchive" if back else "--archive"
        raise SettingsError(
            f'{which} "{name}": the results table has no such batch. It has: {", ".join(known) or "none"}'
        )
    at = None if back else utc_now()
    return ledger.change(lambda connection: runs.archive(connection, Batch(name), at))
