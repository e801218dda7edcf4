"""Which rows are sent, by the words of the command line and of the calls from Python."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Integral

from reelbatch.domain import RowKey
from reelbatch.errors import SettingsError
from reelbatch.ledger.selection import Regenerate, RepeatPolicy, SendOptions
from reelbatch.pipeline.python_words import listed

MOST_IN_PILOT = 1000


def send_options(
    *,
    regenerate: str = "none",
    rows: Iterable[str] | None = None,
    repeats: str = "hold",
    limit: int | None = None,
    pilot: int | None = None,
) -> SendOptions:
    """Which rows are sent, by the words of the command line.

    Raises:
        SettingsError: no such word or limit, or rows are named although none are made again.
    """
    if regenerate not in set(Regenerate):
        raise SettingsError(f'--regenerate "{regenerate}": use none, changed or all; cancel drops an order')
    if repeats not in set(RepeatPolicy):
        raise SettingsError(f'--repeats "{repeats}": use hold, send or skip')
    options = SendOptions(
        regenerate=Regenerate(regenerate),
        row_keys=None if rows is None else tuple(map(RowKey, listed(rows))),
        repeats=RepeatPolicy(repeats),
        limit=checked_limit(limit),
        pilot=_checked_pilot(pilot, limit),
    )
    if options.row_keys is not None and not options.makes_again:
        raise SettingsError("--rows names videos that are made again: add --regenerate all (or changed)")
    return options


def checked_limit(limit: int | None) -> int | None:
    """How many rows are sent at most.

    Raises:
        SettingsError: it is no number of rows.
    """
    if limit is not None and (not _is_whole(limit) or limit < 0):
        raise SettingsError(f'--limit "{limit}": rows are counted from 0 on; leave it out for all of them')
    return None if limit is None else int(limit)


def _is_whole(number: object) -> bool:
    """Also one of NumPy's, as a sum of a column is."""
    return isinstance(number, Integral) and not isinstance(number, bool)


def _checked_pilot(pilot: int | None, limit: int | None) -> int | None:
    if pilot is None:
        return None
    if limit is not None:
        raise SettingsError("--pilot says how many rows are sent: leave --limit out")
    if not _is_whole(pilot) or not 1 <= pilot <= MOST_IN_PILOT:
        raise SettingsError(f"--pilot {pilot}: a sample has 1 to {MOST_IN_PILOT:,} rows")
    return int(pilot)
