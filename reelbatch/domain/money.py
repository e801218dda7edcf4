"""Credits: what a batch's are made of, and how a figure in the API's answers is read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, isfinite
from typing import Any, NamedTuple, Self

SUMS = ("estimated", "charged", "final", "refunded", "reserved", "in_doubt", "unknown")
"""What a batch's credits are made of: its running sums in the results table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credits:
    """The money of a batch, in credits. `worst_case` = charged + reserved + in doubt, refunds taken off.

    It is a least figure where `unknown` is not 0.
    """

    estimated: int = 0  # rows that have an id, as estimated before they were sent
    charged: int = 0  # what the creates charged; until settled no less than was estimated
    final: int = 0  # settled figures
    refunded: int = 0  # charged minus final, where settled
    reserved: int = 0  # requests under way
    in_doubt: int = 0
    unknown: int = 0  # requests that cost something, or may, and no one knows how much
    worst_case: int = 0

    @classmethod
    def of(cls, sums: Iterable[Any]) -> Self:
        """From figures in the order of `SUMS`."""
        known = dict(zip(SUMS, map(int, sums), strict=True))
        worst = known["charged"] - known["refunded"] + known["reserved"] + known["in_doubt"]
        return cls(**known, worst_case=worst)


LARGEST = 10_000_000
"""Credits. No video costs more; a figure above it is a mistake, and adding it up would hide what is true."""
MOST_CREDITS = 10**15
"""Of a cap or a budget: more than anyone has, and less than a column of the results table holds."""
MISSING = "no figure"
_SHOWN = 60


class Figure(NamedTuple):
    """What an answer says of its credits. `credits`: None where it counts as the estimate; `odd` says why."""

    credits: int | None
    odd: str | None = None


def figure(value: Any) -> Figure:
    """Read `value` as credits: fractions are rounded up; what is no number, negative or too large is not believed."""
    if value is None:
        return Figure(None, MISSING)
    credits_ = _rounded_up(value)
    if credits_ is None:
        return Figure(None, f"{_shown(value)} is no number")
    if credits_ < 0:
        return Figure(None, f"{_shown(value)} is negative")
    if credits_ > LARGEST:
        return Figure(None, f"{_shown(value)} is above {LARGEST:,}")
    return Figure(credits_)


def _rounded_up(value: Any) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if not isinstance(value, float | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return (ceil(number) if number > 0 else -ceil(-number)) if isfinite(number) else None


def _shown(value: Any) -> str:
    """The value's first characters, as any database keeps them."""
    text = str(value) if isinstance(value, str | bool) else _digits(value)
    return text.encode("ascii", "backslashreplace").decode().replace("\x00", "")[:_SHOWN]


def _digits(value: Any) -> str:
    try:
        return repr(value)
    except (ValueError, RecursionError):  # an integer of more digits than Python writes
        return "a number of very many digits"
