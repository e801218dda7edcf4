"""How a batch stands, by the results table alone."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from reelbatch.domain import NEEDS_ATTENTION, Batch, RowState
from reelbatch.ledger import Ledger, reading
from reelbatch.ledger.reading import Credits


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
    states = ledger.read(lambda connection: reading.counts(connection, batch))
    money = ledger.read(lambda connection: reading.credits_of(connection, batch))
    models = ledger.read(lambda connection: reading.credits_by_model(connection, batch)) if by_model else {}
    return BatchStatus(batch=batch, rows=sum(states.values()), states=states, credits=money, by_model=models)
