"""A look at a catalogue that nothing is known of yet: how it is written, its columns, its first rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from reelbatch.errors import ManifestError
from reelbatch.home_folder import at_home
from reelbatch.manifest import ManifestOptions
from reelbatch.manifest.encodings import readings
from reelbatch.manifest.manifest import open_source
from reelbatch.manifest.readers.base import RawRows, Source
from reelbatch.manifest.readers.csv import DelimitedSource
from reelbatch.storage.files import redact_url, scheme_of

SAMPLE_ROWS = 2_000
"""Rows whose cells are looked at; whether keys are unique is looked for in all of them."""
_DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_WAYS: Sequence[Mapping[str, Any]] = (
    {},
    {"encoding": "cp1252"},
    {"escape": "backslash"},
    {"quoting": "none"},
    {"multiline": "allow"},
)
"""How text is read, the usual way first; another one only where fewer rows are damaged by it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A file's columns and the cells of its first rows. `reading`: settings that it takes to read it."""

    source: str
    columns: tuple[str, ...]
    cells: Mapping[str, Sequence[str]]
    reading: Mapping[str, Any]
    written: str  # in words: "comma-separated, utf-8"

    @property
    def name(self) -> str:
        """For messages: without what a URL has of secrets."""
        return redact_url(self.source)

    @property
    def folder(self) -> Path | None:
        """Where its relative image paths start; None: elsewhere than on this machine."""
        return None if scheme_of(self.source) is not None else Path(at_home(self.source)).absolute().parent


def look_at(source: str, encoding: str | None = None) -> Table:
    """Read the column names and the first rows. `encoding`: what someone says it is.

    Raises:
        ManifestError: it can't be read, in no way that is known.
    """
    reading = _best_way(source, encoding)
    _, opened = open_source(source, ManifestOptions(**reading))
    cells: dict[str, list[str]] = {column: [] for column in opened.columns}
    for raw in _first_rows(opened):
        for column, texts in raw.columns.items():
            cells[column] += map(str.strip, texts)
    return Table(source=source, columns=tuple(opened.columns), cells=cells, reading=reading, written=_written(opened))


def _first_rows(opened: Source) -> Iterator[RawRows]:
    seen = 0
    with closing(_generator(opened)) as batches:
        for raw in batches:
            yield RawRows(raw.numbers[:SAMPLE_ROWS], {name: of[:SAMPLE_ROWS] for name, of in raw.columns.items()})
            seen += len(raw.numbers)
            if seen >= SAMPLE_ROWS:
                return


def _generator(opened: Source) -> Any:
    yield from opened.read(opened.columns)


def _best_way(source: str, encoding: str | None) -> Mapping[str, Any]:
    """The way in which the fewest rows are damaged.

    Raises:
        ManifestError: it can't be read in any of them; what is wrong with the usual one.
    """
    found: list[tuple[int, Mapping[str, Any]]] = []
    wrong: ManifestError | None = None
    ways = _WAYS if encoding is None else [{**way, "encoding": encoding} for way in _WAYS if "encoding" not in way]
    for way in ways:
        try:
            found.append((_damaged_rows(source, way), way))
        except ManifestError as error:
            wrong = wrong or error
            continue
        if found[-1][0] == 0:
            break
    if not found:
        raise wrong or ManifestError(f"{redact_url(source)}: can't be read.")
    return min(found, key=lambda one: one[0])[1]


def _damaged_rows(source: str, way: Mapping[str, Any]) -> int:
    _, opened = open_source(source, ManifestOptions(**way))
    if not isinstance(opened, DelimitedSource):
        return 0
    if way.get("quoting") != "none":
        return sum(len(raw.broken) for raw in opened.read(opened.columns[:1]))
    return sum(len(raw.broken) + _rows_with_marks(raw) for raw in opened.read(opened.columns))


def _rows_with_marks(raw: RawRows) -> int:
    """Rows whose cells stand between quotation marks: they are no text there."""
    cells = zip(*raw.columns.values(), strict=True)
    return sum(any(len(cell) > 1 and cell[0] == cell[-1] == '"' for cell in map(str.strip, row)) for row in cells)


def _written(opened: Source) -> str:
    if not isinstance(opened, DelimitedSource):
        return type(opened).__name__.removesuffix("Source")
    return f"{_DELIMITERS.get(opened.delimiter, repr(opened.delimiter))}-separated, {opened.encoding}"


def shown_in(table: Table, encoding: str) -> str:
    """What the first text of a table with other letters than English ones looks like, in each encoding."""
    every = chain(table.columns, *table.cells.values())
    text = next(filter(lambda cell: not cell.isascii(), every), "")
    odd = next((place for place, sign in enumerate(text) if not sign.isascii()), 0)
    return readings(text[max(odd - 20, 0) : odd + 20].encode(encoding))
