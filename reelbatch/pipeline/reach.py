"""How far a number of credits reaches: the cap, a budget or the account's balance, over the rows to be sent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """What some credits pay for, by what rows are reserved at.

    Attributes:
        rows: that are covered; those of unknown price are not among them.
        of: rows to be sent, those of unknown price included.
        credits: that the covered rows are reserved at.
        unknown: rows of unknown rate, or of a price that drifted and halts them.
    """

    rows: int
    of: int
    credits: int
    unknown: int = 0

    @property
    def is_enough(self) -> bool:
        """Whether every row is surely covered."""
        return self.rows == self.of

    def __str__(self) -> str:
        """`covers 640 of 812 rows`."""
        if self.is_enough:
            return "covers the row" if self.of == 1 else f"covers all {self.of:,} rows"
        unknown = f" ({self.unknown:,} of unknown price)" if self.unknown else ""
        return f"covers {self.rows:,} of {self.of:,} rows{unknown}"


def reach(costs: Iterable[tuple[int | None, int]], room: int, *, passes_over: bool = True) -> Reach:
    """How many rows `room` credits pay for.

    Args:
        costs: credits that a row is reserved at (None: unknown) and the number of rows that follow each other at that
            price, in the order in which they are sent.
        room: credits that are left; below 0 counts as 0.
        passes_over: whether smaller rows behind one that does not fit are tried, as a cap and a budget do. A
            balance that is used up ends the run at that row.
    """
    left, covered, rows, unknown, ended = max(0, room), 0, 0, 0, False
    for credits_, count in costs:
        rows += count
        if credits_ is None:
            unknown += count
            continue
        fitting = 0 if ended else count if credits_ <= 0 else min(count, left // credits_)
        covered += fitting
        left -= fitting * max(0, credits_)
        ended = ended or (fitting < count and not passes_over)
    return Reach(rows=covered, of=rows, credits=max(0, room) - left, unknown=unknown)
