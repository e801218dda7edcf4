"""What someone said yes to, as it is used up: a run may cost no more, whatever another worker makes of the table."""

from __future__ import annotations

from dataclasses import dataclass

from reelbatch.domain import ClaimedRow


@dataclass(slots=True)
class AgreedCost:
    """Credits that rows may still be estimated at, and how many more rows of unknown cost may be sent.

    `passes_over`: some row was not sent, and others take its place. A dearer one is left then; it does not mean that
    there is more to send than was announced.
    """

    credits: int
    unknown: int
    passes_over: bool = False

    @property
    def most(self) -> int | None:
        """A row that is estimated above it need not be tried; None: every row is."""
        return self.credits if self.passes_over else None

    def covers(self, row: ClaimedRow) -> bool:
        """Whether `row` is within it; what it is estimated at is used up then."""
        cost, unknown = row.credits_estimated or 0, int(row.credits_estimated is None)
        if cost > self.credits or unknown > self.unknown:
            return False
        self.credits -= cost
        self.unknown -= unknown
        return True

    def give_back(self, row: ClaimedRow) -> None:
        """`row` was covered, and is not sent after all."""
        self.credits += row.credits_estimated or 0
        self.unknown += row.credits_estimated is None
