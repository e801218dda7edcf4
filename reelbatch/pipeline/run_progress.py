"""A glance at a run while it goes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reelbatch.machine import monotonic_s

if TYPE_CHECKING:
    from reelbatch.pipeline.run_context import RunState
    from reelbatch.submit import ConcurrencyLimiter, RunStats


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A glance at a run. Credits are integers, times seconds."""

    rows: int
    done: int
    in_flight: int
    slowed_to: int | None  # creates in flight that the API asked for, where that is fewer than the setting
    rows_per_second: float
    seconds_left: float | None
    credits_charged: int
    credits_worst_case: int  # of this run: charged + reserved + in doubt
    in_doubt: int
    failed: int
    given_back: int  # rows that were not sent, and may be by the same command


def progress_of(stats: RunStats, limiter: ConcurrencyLimiter, state: RunState) -> Progress:
    """How far a run is by now."""
    rows = state.rows_to_send
    running = monotonic_s() - (stats.first_sent or state.started)
    rate = stats.done / running if running > 0 else 0.0
    return Progress(
        rows=rows,
        done=stats.done,
        in_flight=limiter.in_flight,
        slowed_to=limiter.allowed if limiter.slowed else None,
        rows_per_second=rate,
        seconds_left=max(0, rows - stats.done) / rate if rate else None,
        credits_charged=stats.credits_charged,
        credits_worst_case=stats.credits_charged + stats.credits_reserved + stats.credits_in_doubt,
        in_doubt=stats.in_doubt,
        failed=stats.rejected + stats.invalid,
        given_back=stats.unsent,
    )
