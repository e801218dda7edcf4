"""Manifests of delimited text: comma, semicolon, tab or bar.

A row is what a spreadsheet shows as one: the row number counts blank rows too, though they are not sent.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from reelbatch.manifest.options import ManifestOptions
from reelbatch.manifest.readers.base import BATCH_ROWS, BrokenRow, RawRows, texts
from reelbatch.manifest.readers.csv_blocks import count_lines, parse, sound_end
from reelbatch.manifest.readers.csv_grammar import Dialect, Record
from reelbatch.manifest.readers.csv_header import ALL_IN_MARKS, DELIMITERS, LONGEST, read_header
from reelbatch.manifest.text_file import TextFile

_MARKS = (
    "Put quotation marks around values that contain the delimiter, and begin them right behind it; if a backslash "
    "stands before each delimiter that is text, set manifest.escape to backslash."
)
_SWALLOWED = (
    "a quoted cell has line ends, and one of its lines alone could be a row",
    "Close the quotation mark where it belongs; if such cells are meant, set manifest.multiline to allow.",
)
_CUT_OFF = "See whether the file is whole; if it is, end its last line."


class DelimitedSource:
    """A CSV or TSV file, opened by reading its header."""

    def __init__(self, path: str, options: ManifestOptions, known: Collection[str]) -> None:
        """Read the header; of several possible delimiters the one that yields most `known` columns wins."""
        self._file = TextFile.look_at(path, options.encoding, options.largest_text)
        self.warnings = self._file.warnings
        marks = Dialect(
            ",",
            quoted=options.quoting == "strict",
            escaped=options.escape == "backslash",
            multiline=options.multiline == "allow",
        )
        with self._file.open() as stream:
            head = stream.read(LONGEST)
        self._header = read_header(path, head, options.delimiter, known, marks)
        self._first_line = 1 + count_lines(head, 0, self._header.size)
        self._dialect = replace(marks, delimiter=self._header.delimiter, width=len(self._header.columns))

    @property
    def columns(self) -> Sequence[str]:
        """The names of the columns, stripped."""
        return self._header.columns

    @property
    def delimiter(self) -> str:
        """What stands between two cells."""
        return self._dialect.delimiter

    @property
    def encoding(self) -> str:
        """As Python calls it."""
        return self._file.encoding

    def read(self, wanted: Sequence[str]) -> Iterator[RawRows]:
        """Read the rows; a damaged one is `broken`, one without any content is left out."""
        places = {column: self.columns.index(column) for column in wanted}
        return _Reading(self._dialect, places, self._first_line).rows(self._file, self._header.size)


class _Reading:
    """One reading of a file: what was not read yet, and how far it has come."""

    def __init__(self, dialect: Dialect, places: dict[str, int], line: int) -> None:
        self._dialect = dialect
        self._places = places
        self._line = line  # of the file, where `_text` begins
        self._number = 1  # of the next row
        self._counted = 0  # bytes of `_text` whose line ends are in `_line`
        self._text = b""
        self._in_long_line = False  # what follows belongs to a line that was given up

    def rows(self, file: TextFile, skipped: int) -> Iterator[RawRows]:
        """All rows behind the first `skipped` bytes."""
        for chunk in file.chunks():  # the last one is empty
            self._text += chunk[skipped:]
            skipped = max(0, skipped - len(chunk))
            if self._in_long_line:
                self._leave_long_line()
            if self._in_long_line and chunk:
                continue
            yield from self._next(last=not chunk)

    def _next(self, *, last: bool) -> Iterator[RawRows]:
        """The rows that have come whole: those of sound text together, else one by one."""
        size = sound_end(self._text, self._dialect, last=last) if self._text else 0
        batch = parse(self._text, size, self._dialect) if size else None
        if batch is None:
            size = yield from self._one_by_one(last=last)
        else:
            yield from self._together(batch)
        self._count_lines(size)
        self._text, self._counted = self._text[size:], 0

    def _together(self, batch: Any) -> Iterator[RawRows]:
        parts = -(-batch.num_rows // BATCH_ROWS)
        step = -(-batch.num_rows // parts)
        for start in range(0, batch.num_rows, step):
            part = batch.slice(start, step)
            numbers: Sequence[int] = range(self._number, self._number + part.num_rows)
            self._number += part.num_rows
            columns = {column: texts(part.column(place)) for column, place in self._places.items()}
            if blank := _blank_rows(part, next(iter(columns.values()), [])):
                numbers = [number for index, number in enumerate(numbers) if index not in blank]
                columns = {
                    column: [cell for index, cell in enumerate(cells) if index not in blank]
                    for column, cells in columns.items()
                }
            yield RawRows(numbers, columns)

    def _one_by_one(self, *, last: bool) -> Generator[RawRows, None, int]:
        """Rows by the grammar. Returns how many bytes they took."""
        at, rows, broken = 0, [], []
        while at < len(self._text) and (record := self._dialect.read(self._text, at, last=last)) is not None:
            record = self._judged(record)
            at = record.end
            if record.damage:
                broken.append(self._broken(record))
                self._in_long_line = not (record.closed or last)
            elif any(map(str.strip, record.cells)):
                rows.append((self._number, record.cells))
            self._number += 1
            if len(rows) + len(broken) >= BATCH_ROWS:
                yield self._raw_rows(rows, broken)
                rows, broken = [], []
        if rows or broken:
            yield self._raw_rows(rows, broken)
        return at

    def _raw_rows(self, rows: list[tuple[int, list[str]]], broken: list[BrokenRow]) -> RawRows:
        columns = {column: [cells[place] for _, cells in rows] for column, place in self._places.items()}
        return RawRows([number for number, _ in rows], columns, broken)

    def _judged(self, record: Record) -> Record:
        """The row with as many cells as the header has, or with what is wrong with it."""
        width, cells = self._dialect.width, record.cells
        if record.damage:
            return record
        if not self._dialect.multiline and self._dialect.could_be_rows(self._text, record):
            return self._dialect.give_up(self._text, record, *_SWALLOWED)
        if len(cells) < width:
            return self._short(record)
        if any(map(str.strip, cells[width:])):
            what = f"{len(cells)} cells where the header has {width}"
            return self._dialect.give_up(self._text, record, what, _MARKS)
        return record._replace(cells=cells[:width])

    def _short(self, record: Record) -> Record:
        """Cells left out at the end are empty, as Excel has it; at the end of the file the row may be cut off."""
        width, cells = self._dialect.width, record.cells
        filled = any(map(str.strip, cells))
        if filled and width > 1 and (trouble := self._written_otherwise(record)):
            return self._dialect.give_up(self._text, record, *trouble)
        if filled and not record.closed:
            what = f"{len(cells)} cells where the header has {width}, at the end of the file without a line end"
            return self._dialect.give_up(self._text, record, what, _CUT_OFF)
        return record._replace(cells=[*cells, *[""] * (width - len(cells))])

    def _written_otherwise(self, record: Record) -> tuple[str, str] | None:
        """Why the row has few cells, and what to do: another delimiter, or the marks around all of it, make it so."""
        own, first = self._dialect.delimiter, record.cells[0]
        if len(record.cells) == 1 and self._fits(first, own):
            return ALL_IN_MARKS, "Take away the marks at its ends, and make single ones of the doubled ones within."
        line = self._dialect.first_line(self._text, record)
        other = next((sign for sign in DELIMITERS if sign != own and sign in first and self._fits(line, sign)), None)
        if other is None:
            return None
        what = f'its cells are set apart by "{_name(other)}", those of the header by "{_name(own)}"'
        return what, "Use one delimiter in the whole file."

    def _fits(self, line: str, delimiter: str) -> bool:
        """Whether `line`, with this delimiter, has as many cells as the header."""
        alone = replace(self._dialect, delimiter=delimiter).read(line.encode(), 0, last=True)
        return alone is not None and not alone.damage and len(alone.cells) == self._dialect.width

    def _broken(self, record: Record) -> BrokenRow:
        self._count_lines(record.start)
        first = record.cells[0].strip() if record.cells else ""
        text = self._dialect.first_line(self._text, record)
        return BrokenRow(self._number, text, record.damage, record.remedy, first, self._line)

    def _count_lines(self, end: int) -> None:
        self._line += count_lines(self._text, self._counted, end)
        self._counted = end

    def _leave_long_line(self) -> None:
        end = self._dialect.line_end(self._text)
        self._in_long_line = not end
        self._text = self._text[end:] if end else self._text[-1:].strip(b"\n")
        self._line += bool(end)


def _name(delimiter: str) -> str:
    return "tab" if delimiter == "\t" else delimiter


def _blank_rows(batch: Any, cells: list[str]) -> set[int]:
    """The rows without content; `cells` is one of the columns, for a quick look."""
    if all(map(str.strip, cells)):
        return set()
    blank = [index for index, cell in enumerate(cells) if not cell or cell.isspace()]
    for column in batch.columns:
        others = texts(column.take(pa.array(blank, pa.int64())))
        blank = [index for index, cell in zip(blank, others, strict=True) if not cell.strip()]
    return set(blank)
