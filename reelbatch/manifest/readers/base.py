"""What every kind of manifest file looks like to the checks: named columns of text cells, in batches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from struct import pack
from typing import Any, NamedTuple, Protocol

import pyarrow as pa
from pyarrow import compute as pc

from reelbatch.domain import Issue
from reelbatch.errors import ManifestError
from reelbatch.manifest.options import COLUMNS

BATCH_ROWS = 5_000


class BrokenRow(NamedTuple):
    """A row whose cells can't be told apart."""

    number: int
    text: str  # as it stands in the file
    what: str
    remedy: str
    first_cell: str = ""  # the only cell that is surely in its place
    line: int | None = None  # of the file, where it begins; None: the row's number says it


class RawRows(NamedTuple):
    """One batch: a list of cells for each wanted column; "" is an empty or missing cell."""

    numbers: Sequence[int]  # row numbers; 1 is the first row of data
    columns: Mapping[str, list[str]]
    broken: Sequence[BrokenRow] = ()


class ArrowStream(Protocol):
    """A table that hands out its rows by Arrow's C stream interface: of polars, Arrow, DuckDB."""

    def __arrow_c_stream__(self, requested_schema: Any = None) -> object:
        """A PyCapsule with the stream, anew with each call."""


class Source(Protocol):
    """One manifest, opened: its columns are known, its rows not yet read."""

    @property
    def columns(self) -> Sequence[str]:
        """The names of the columns, stripped."""

    @property
    def warnings(self) -> Sequence[Issue]:
        """What is odd about the whole file."""

    def read(self, wanted: Sequence[str]) -> Iterator[RawRows]:
        """Read the rows from the beginning, with the cells of the `wanted` columns.

        Raises:
            ManifestError: the file turned out to be damaged.
        """


def bare_name(name: str) -> str:
    """A column's name as it is compared: without regard to case, blanks around it and byte order marks."""
    return name.replace("\ufeff", "").strip().casefold()


def unique_names(name: str, columns: Iterable[str]) -> tuple[str, ...]:
    """Strip the `columns` of the manifest `name`; a column without a name is called after its place.

    So are columns that share a name: none can be taken for another, and who uses neither is not bothered.

    Raises:
        ManifestError: two columns have the same name, and it is one of ours.
    """
    stripped = [column.strip() for column in columns]
    twice = {column for column, count in Counter(stripped).items() if count > 1 and column}
    if ours := sorted(column for column in twice if bare_name(column) in COLUMNS):
        names = ", ".join(f'"{column}"' for column in ours)
        raise ManifestError(f"{name}: more than one column is called {names}. Rename all but one of them.")
    placed = [(f"{column} " if column in twice else "", column) for column in stripped]
    return tuple(
        f"{before}(column {place})" if before or not column else column
        for place, (before, column) in enumerate(placed, start=1)
    )


def texts(column: Any) -> list[str]:
    """The cells of a column of strings; "" where there is none.

    Where all say the same they share one text, which costs little to make and to compare.
    """
    filled = column.cast(pa.string())
    if filled.null_count:
        filled = pc.fill_null(filled, _scalar(""))
    if len(filled) and pc.all(pc.equal(filled, filled[0])).as_py():
        return [filled[0].as_py()] * len(filled)
    cells: list[str] = filled.to_pylist()
    return cells


def _scalar(text: str) -> Any:
    buffers = (pack("ii", 0, len(text)), text.encode())
    return pa.Array.from_buffers(pa.string(), 1, [None, *map(pa.py_buffer, buffers)])[0]
