"""What the progress line counts as what."""

from __future__ import annotations

from reelbatch.domain import Batch, RunId
from reelbatch.ledger.selection import Scope
from reelbatch.pipeline.progress_text import sending
from reelbatch.pipeline.run_context import RunState
from reelbatch.pipeline.run_progress import progress_of
from reelbatch.submit import ConcurrencyLimiter, RunStats


async def test_rows_that_were_given_back_unsent_have_not_failed() -> None:
    """After Ctrl-C the rest of a manifest is no failure: nothing was sent, and the same command sends it."""
    stats = RunStats(submitted=3, rejected=1, invalid=1, unsent=40)
    state = RunState(scope=Scope(Batch("spring"), RunId("r")), rows_to_send=45)
    now = progress_of(stats, ConcurrencyLimiter(4), state)
    line = sending(now, stops=True)
    assert line.startswith("45/45 rows")
    assert " · 2 failed · 40 given back unsent · stopping" in line
    stats.unsent = 0
    assert "given back" not in sending(progress_of(stats, ConcurrencyLimiter(4), state), stops=True)
