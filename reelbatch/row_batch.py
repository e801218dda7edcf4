"""Rows kept column by column: a manifest of a million rows passes as lists, without an object for each of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import compress
from typing import Any, overload

from reelbatch.domain import Request, Row

_LAST = ("fingerprint", "credits_estimated", "problem", "unseen", "image_stat", "image_bytes")
FIELDS = ("row_key", "row_number", *Request._fields, *_LAST)
"""What each of the columns holds: a row's fields, with those of its request spread out."""
_REQUEST = slice(2, 2 + len(Request._fields))


class RowColumns(Sequence[Row]):
    """A sequence of rows; `columns` in the order of FIELDS, all of the same length."""

    __slots__ = ("columns",)

    def __init__(self, columns: Sequence[Sequence[Any]]) -> None:
        self.columns = columns

    @classmethod
    def of(cls, rows: Iterable[Row]) -> RowColumns:
        """`rows` as columns; columns as they are."""
        if isinstance(rows, RowColumns):
            return rows
        flat = [(row.row_key, row.row_number, *row.request, *row[3:]) for row in rows]
        return cls(list(zip(*flat, strict=True)) or [()] * len(FIELDS))

    def column(self, field: str) -> Sequence[Any]:
        """The values of one of FIELDS."""
        return self.columns[FIELDS.index(field)]

    def where(self, wanted: Sequence[object]) -> RowColumns:
        """The rows for which `wanted` holds something true."""
        return RowColumns([list(compress(column, wanted)) for column in self.columns])

    def flat(self) -> Iterator[tuple[Any, ...]]:
        """One tuple for each row, in the order of FIELDS."""
        return zip(*self.columns, strict=True)

    def __len__(self) -> int:
        return len(self.columns[0])

    @overload
    def __getitem__(self, index: int, /) -> Row: ...
    @overload
    def __getitem__(self, index: slice, /) -> list[Row]: ...
    def __getitem__(self, index: int | slice, /) -> Row | list[Row]:
        if isinstance(index, slice):
            return list(self)[index]
        return _row(tuple(column[index] for column in self.columns))

    def __iter__(self) -> Iterator[Row]:
        return map(_row, self.flat())


def _row(flat: tuple[Any, ...]) -> Row:
    return Row(flat[0], flat[1], Request(*flat[_REQUEST]), *flat[_REQUEST.stop :])
