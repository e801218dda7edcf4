"""Credits in the API's answers: one reading of a figure, for creates, questions and events alike."""

from __future__ import annotations

from math import ceil, isfinite
from typing import Any, NamedTuple

LARGEST = 10_000_000
"""Credits. No video costs more; a figure above it is a mistake, and adding it up would hide what is true."""
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
