"""Which rows in doubt could explain credits that are left over: every answer that the sum allows, and none chosen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

MOST = 8
"""Readings that are shown; beyond that the sum says next to nothing."""


@dataclass(frozen=True, slots=True)
class Part:
    """`count` of the rows `of` that cost `price` credits each; equal prices can't be told apart."""

    price: int
    count: int
    of: tuple[str, ...]

    @property
    def is_certain(self) -> bool:
        """Whether all rows of this price are meant."""
        return self.count == len(self.of)


Reading = tuple[Part, ...]
"""Rows that would be charged; empty: none."""


def readings(left_over: int, prices: Mapping[str, int], most: int = MOST) -> list[Reading]:
    """Every set of rows whose prices come to `left_over` credits, as far as `most`.

    Args:
        left_over: credits that went and that nothing explains.
        prices: of the rows in doubt, by what they are called; in credits.
        most: sets that are looked for.
    """
    rows: dict[int, list[str]] = {}
    for row, price in prices.items():
        rows.setdefault(price, []).append(row)
    classes = [(price, tuple(rows[price])) for price in sorted(rows, reverse=True) if price > 0]
    if left_over < 0:
        return []
    return list(islice(_sums(left_over, classes, _reachable(left_over, classes)), most))


_Class = tuple[int, tuple[str, ...]]
"""A price, and the rows that have it."""


def _reachable(most: int, classes: Sequence[_Class]) -> list[int]:
    """For each class the sums that it and those after it can come to, as bits: no way is tried that leads nowhere."""
    found, limit = [1], (1 << (most + 1)) - 1
    for price, rows in reversed(classes):
        sums = found[-1]
        for _ in rows:
            sums |= (sums << price) & limit
        found.append(sums)
    return found[::-1]


def _sums(left: int, classes: Sequence[_Class], reachable: Sequence[int]) -> Iterator[Reading]:
    """Ways to come to `left` with a number of each price; larger prices first."""
    if not reachable[0] >> left & 1:
        return
    if not classes:
        yield ()
        return
    price, rows = classes[0]
    for count in range(min(len(rows), left // price), -1, -1):
        taken = (Part(price, count, rows),) if count else ()
        yield from (taken + rest for rest in _sums(left - count * price, classes[1:], reachable[1:]))
