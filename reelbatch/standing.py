"""How a batch stands, by the results table alone."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from reelbatch.domain import NEEDS_ATTENTION, Batch, Credits, RowState
from reelbatch.ledger.glance import glance, plain_path
from reelbatch.opening import any_rescued

if TYPE_CHECKING:
    from reelbatch.ledger import Ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchStatus:
    """A batch as the table has it."""

    batch: Batch
    rows: int
    states: dict[RowState, int]
    credits: Credits
    by_model: dict[str, Credits]

    @property
    def needs_attention(self) -> int:
        """Rows that are invalid, rejected, in error, canceled or in doubt."""
        return sum(rows for state, rows in self.states.items() if state in NEEDS_ATTENTION)

    def count(self, *states: RowState) -> int:
        """Rows in one of `states`."""
        return sum(self.states.get(state, 0) for state in states)

    def as_json(self) -> dict[str, Any]:
        """For `--json`: every state, also those without rows."""
        states = {state.value: self.states.get(state, 0) for state in RowState}
        by_model = {model: asdict(money) for model, money in self.by_model.items()}
        money = {"credits": asdict(self.credits), "credits_by_model": by_model}
        return {"batch": self.batch, "rows": self.rows, "states": states, **money}


def batch_status(ledger: Ledger, batch: Batch, *, by_model: bool = False) -> BatchStatus:
    """Counts by state, and the money; by model too where that is asked for."""
    from reelbatch.ledger import reading

    states = ledger.read(lambda connection: reading.counts(connection, batch))
    money = ledger.read(lambda connection: reading.credits_of(connection, batch))
    models = ledger.read(lambda connection: reading.credits_by_model(connection, batch)) if by_model else {}
    return _status(batch, states, money, models)


def statuses_at_a_glance(url: str, batch: str | None = None) -> list[BatchStatus] | None:
    """Each batch of a table, or one, without opening it as a ledger; None where that can't be avoided."""
    path = plain_path(url)
    if path is None or not path.exists() or any_rescued(path):
        return None
    found = glance(path, batch)
    if found is None or (batch is not None and not found):
        return None
    return [_status(name, states, money, {}) for name, (states, money) in found.items()]


def _status(batch: Batch, states: dict[RowState, int], money: Credits, by_model: dict[str, Credits]) -> BatchStatus:
    return BatchStatus(batch=batch, rows=sum(states.values()), states=states, credits=money, by_model=by_model)
