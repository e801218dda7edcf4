"""What becomes of a row whose intent was not admitted, and what a run may still take after it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

from reelbatch.domain import Budget, ClaimedRow
from reelbatch.ledger.admission import Admission, Ruling
from reelbatch.ledger.paid_requests import HELD_CODE
from reelbatch.submit.concurrency import Stopped
from reelbatch.submit.prices import NoPrice, SeenPrices
from reelbatch.submit.run_stats import ExitReason, RunStats
from reelbatch.typed_options import as_stated, command

TOO_DEAR_CODE = "over_whole_budget"
"""Of rows that cost more than the budget of a whole period, as the table keeps it."""
UNKNOWN_RATE_CODE = "unknown_rate"
"""Of rows of which no one knows what they cost, where there is a cap or budget."""


class Withdrawn(Stopped):
    """The row went back before its request left. `code`: why, where it is the row's own affair."""

    code: str | None = None


class Held(Withdrawn):
    """The request is paid for under another name, and the row says so."""

    code = HELD_CODE


class Wait(Exception):  # noqa: N818 - a signal of the submitter
    """Another row finds out the price, or frees credits: wait for an answer, then try again."""


class WindowFull(Exception):  # noqa: N818 - a signal of the submitter
    """As many videos are unfinished as may be."""


class Refusals:
    """What a run is told of its cap and budget.

    `most`: a row that is estimated above it is not taken, since it would not fit; None: any row may. `bound`: what
    leaves no room for all rows of a yes.

    Args:
        end: ends the run; what was admitted before still leaves.
    """

    def __init__(
        self,
        limits: tuple[int | None, Budget | None],
        stats: RunStats,
        prices: SeenPrices,
        end: Callable[[ExitReason, str | None], None],
    ) -> None:
        max_credits, budget = limits
        self.most = None if budget is None else budget.credits
        self.bound: ExitReason | None = None
        self._end = end
        self._max_credits = max_credits
        self._budget = budget
        self._stats = stats
        self._prices = prices
        self._full: ExitReason | None = None
        self._passed_over: ExitReason | None = None

    @property
    def is_bounded(self) -> bool:
        """Whether there is a cap or a budget: a row of which no one knows what it costs is refused then."""
        return self._max_credits is not None or self._budget is not None

    def pass_over(self, room: int, bound: ExitReason) -> None:
        """Rows that are dearer than the room that is left are not tried."""
        self.most = room if self.most is None else min(self.most, room)
        self._passed_over = bound

    def leave_out(self) -> None:
        """A row is not among those of the yes: it finds no room beside them."""
        self._passed_over = self._passed_over or self.bound

    @property
    def is_full(self) -> bool:
        """Whether some row has found no room."""
        return self._full is not None

    def conclude(self) -> None:
        """At the run's end: rows wait for more room, where nothing else ended it."""
        full = self._full or self._passed_over
        if full is ExitReason.CAP:
            self._stats.end(full, f"the next row would take the batch over its cap of {self._max_credits:,} credits")
        elif full is not None:
            self._stats.end(full, None)

    def refuse(self, row: ClaimedRow, ruling: Ruling) -> NoReturn:
        """What happens to a row that may not be sent now, as the signal that is raised."""
        match ruling.admission:
            case Admission.OVER_CAP | Admission.OVER_BUDGET:
                self._no_room(ruling)
            case Admission.TOO_DEAR:
                whole = 0 if self._budget is None else self._budget.credits
                raise NoPrice(TOO_DEAR_CODE, f"costs {ruling.reserved:,} credits, and a whole budget is {whole:,}")
            case Admission.UNKNOWN_COST:
                self._end(ExitReason.CAP, _unknown_cost())
                raise Stopped
            case Admission.UNKNOWN_RATE:
                why = "its cost is not known, and a cap or budget is set; state a rate (`--rate`, the setting `rate`)"
                raise NoPrice(UNKNOWN_RATE_CODE, why)
            case Admission.DRIFTED:
                raise self._prices.drifted(row, ruling.reserved)
            case Admission.WAIT:
                raise Wait
            case Admission.WINDOW_FULL:
                raise WindowFull
            case Admission.HELD:
                raise Held
            case Admission.MADE:
                raise Withdrawn
        raise AssertionError(ruling)

    def _no_room(self, ruling: Ruling) -> NoReturn:
        """Smaller rows may fit. What is under way may free its credits, so nothing is settled before its answer."""
        if self._stats.credits_reserved > 0:
            raise Wait
        self.most = ruling.room if self.most is None else min(self.most, ruling.room)
        if ruling.admission is Admission.OVER_CAP or self._full is None:
            self._full = ExitReason.CAP if ruling.admission is Admission.OVER_CAP else ExitReason.BUDGET
        raise Stopped


def _unknown_cost() -> str:
    return as_stated(
        "a cap or budget is set, and what was spent of it is not known: requests of unknown rate may have been "
        f"charged. State a --rate to count them, or clear them up: `{command('reconcile')}`, `{command('settle')}`"
    )
