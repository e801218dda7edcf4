"""What to do next about a batch, by the states of its rows."""

from __future__ import annotations

from reelbatch.domain import HELD, UNSETTLED, RowState
from reelbatch.pipeline.status import BatchStatus

_FAILED = (RowState.REJECTED, RowState.ERROR, RowState.CANCELED)


def next_step(status: BatchStatus, options: str = "") -> str | None:
    """The one command, or the deed, that comes first; None: nothing is left to do.

    `options` are those that a command has to repeat.
    """
    if status.count(*HELD):
        return "a run is at work on it"
    again = "the same `reelbatch generate` again"
    steps = (
        (status.to_send, f"{again}: ", "to send"),
        (status.count(*UNSETTLED), f"reelbatch settle{options}   # ", "not finished"),
        (status.failures(RowState.IN_DOUBT), f"reelbatch reconcile{options}   # ", "in doubt"),
        (status.failures(*_FAILED), f"reelbatch rerun{options}   # ", "failed"),
        (status.failures(RowState.INVALID), "correct the manifest, then " + again + ": ", "invalid"),
    )
    return next((f"{deed}{rows:,} {what}" for rows, deed, what in steps if rows > 0), None)
