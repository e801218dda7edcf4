"""What every kind of manifest file looks like to the checks: named columns of text cells, in batches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from reelbatch.errors import ManifestError

BATCH_ROWS = 5_000


class BrokenRow(NamedTuple):
    """A row whose cells can't be told apart."""

    number: int
    text: str  # as it stands in the file
    what: str
    remedy: str
    first_cell: str = ""  # the only cell that is surely in its place


class RawRows(NamedTuple):
    """One batch: a list of cells for each wanted column; "" is an empty or missing cell."""

    numbers: Sequence[int]  # row numbers; 1 is the first row of data
    columns: Mapping[str, list[str]]
    broken: Sequence[BrokenRow] = ()


class Source(Protocol):
    """One manifest, opened: its columns are known, its rows not yet read."""

    @property
    def columns(self) -> Sequence[str]:
        """The names of the columns, stripped."""

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

    Raises:
        ManifestError: two columns have the same name.
    """
    stripped = [column.strip() for column in columns]
    twice = [column for column, count in Counter(stripped).items() if count > 1 and column]
    if twice:
        names = ", ".join(f'"{column}"' for column in twice)
        raise ManifestError(f"{name}: more than one column is called {names}. Rename all but one of them.")
    return tuple(column or f"(column {place})" for place, column in enumerate(stripped, start=1))
