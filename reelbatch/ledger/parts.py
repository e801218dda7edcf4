"""Long lists in parts: a statement takes no more than some ten thousand parameters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
_AT_ONCE = 500
STREAMED = {"yield_per": 10_000}
"""Of a statement whose rows are fetched in parts."""


def in_parts(items: Iterable[Item]) -> Iterator[list[Item]]:
    """All of `items`, in their order."""
    left = iter(items)
    while part := list(islice(left, _AT_ONCE)):
        yield part
