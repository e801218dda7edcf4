"""What to do next about a batch, by the states of its rows."""

from __future__ import annotations

from functools import partial

from reelbatch.domain import HELD, UNSETTLED, RowState
from reelbatch.pipeline.status import BatchStatus
from reelbatch.typed_options import command

_FAILED = (RowState.REJECTED, RowState.ERROR, RowState.CANCELED)


def next_step(status: BatchStatus) -> str | None:
    """The one command, or the deed, that comes first; None: nothing is left to do."""
    if status.count(*HELD):
        return "a run is at work on it"
    again = "the same `reelbatch generate` again"
    of_batch = partial(command, batch=status.batch)
    steps = (
        (status.to_send, f"{again}: ", "to send"),
        (status.count(*UNSETTLED), f"{of_batch('settle')}   # ", "not finished"),
        (status.failures(RowState.IN_DOUBT), f"{of_batch('reconcile')}   # ", "in doubt"),
        (status.failures(*_FAILED), f"{of_batch('rerun')}   # ", "failed"),
        (status.failures(RowState.INVALID), "correct the manifest, then " + again + ": ", "invalid"),
    )
    return next((f"{deed}{rows:,} {what}" for rows, deed, what in steps if rows > 0), None)
