"""What every kind of manifest file looks like to the checks: named columns of text cells, in batches."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from struct import pack
from typing import Any, NamedTuple, Protocol
from unicodedata import normalize

import pyarrow as pa
from pyarrow import compute as pc

from reelbatch.domain import Issue
from reelbatch.manifest.parsing import INVISIBLE

BATCH_ROWS = 5_000
_BLANK = re.compile(r"[^\S\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
_LONGEST_SHOWN = 200
_PLACE = re.compile(r" \(column \d+\)\Z")


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
    """A column's name as it is compared: without regard to case, byte order marks and how blank its blanks are."""
    return " ".join(unbroken(name).split()).casefold()


def unbroken(name: str) -> str:
    """A column's name as it is shown and stated: in one line, also where a spreadsheet has it in several.

    Signs that can't be seen are off, blanks are plain ones, and letters with marks are one sign each.
    """
    if not name.isascii():
        name = normalize("NFC", _BLANK.sub(" ", INVISIBLE.sub("", name)))
    return " ".join(part.strip() for part in name.splitlines() if part.strip())


def unique_names(columns: Iterable[str]) -> tuple[str, ...]:
    """The names of `columns`; one without a name is called after its place.

    So are columns that share a name: none can be taken for another, and who uses neither is not bothered.
    """
    names = list(map(unbroken, columns))
    twice = {name for name, count in Counter(names).items() if count > 1 and name}
    placed = [(f"{name} " if name in twice else "", name) for name in names]
    return tuple(
        f"{before}(column {place})" if before or not name else name
        for place, (before, name) in enumerate(placed, start=1)
    )


def without_place(name: str) -> str:
    """What `unique_names` has called after its place: `label` of `label (column 5)`."""
    return _PLACE.sub("", name)


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


def is_unnamed(column: str) -> bool:
    """Whether it is called by its place alone."""
    return column.startswith("(column ")


def short_name(column: str) -> str:
    """A column's name for a message, however long it is."""
    return column if len(column) <= _LONGEST_SHOWN else f"{column[:_LONGEST_SHOWN]}…"


def title_above(columns: Iterable[str]) -> str:
    """A remedy where the first line looks like a title: one name only, or facts such as `Version=1.0.0`."""
    named = [column for column in columns if not is_unnamed(column)]
    facts = [column for column in named if "=" in column.split("(")[0]]
    title = next(iter(facts or named), "")
    if not facts and len(named) != 1:
        return ""
    return f'If "{short_name(title)}" is a title, take away what stands above the line with the names of the columns.'
