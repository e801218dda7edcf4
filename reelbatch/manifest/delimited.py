"""Manifests of delimited text: comma, semicolon, tab or bar.

A row is what a spreadsheet shows as one: the row number counts blank rows too, though they are not sent.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
from pyarrow import csv as arrow_csv

from reelbatch.errors import ManifestError
from reelbatch.manifest.bytestream import open_text
from reelbatch.manifest.options import ManifestOptions
from reelbatch.manifest.sources import BATCH_ROWS, BrokenRow, RawRows, unique_names

BLOCK = 2 << 20
"""Bytes parsed at a time: the longest row there can be."""
DELIMITERS = ",;\t|"
_EXCEL_HINT = re.compile(rb'\s*"?sep=(.)"?[ ]*(?:\r\n|\r|\n)', re.IGNORECASE)
_QUOTES_AND_ENDS = re.compile(rb'"|\r\n|\r|\n')
_BEFORE_QUOTE = b',;\t|"'


class _Header(NamedTuple):
    columns: tuple[str, ...]
    delimiter: str
    size: int  # bytes up to the first row of data


class DelimitedSource:
    """A CSV or TSV file, opened by reading its header."""

    def __init__(self, path: str, options: ManifestOptions, known: Collection[str]) -> None:
        """Read the header; of several possible delimiters the one that yields most `known` columns wins."""
        self._path = path
        self._encoding = options.encoding
        with open_text(path, options.encoding) as stream:
            head = stream.read(BLOCK)
        self._header = _read_header(path, head, options.delimiter, known)

    @property
    def columns(self) -> Sequence[str]:
        """The names of the columns, stripped."""
        return self._header.columns

    def read(self, wanted: Sequence[str]) -> Iterator[RawRows]:
        """Read the rows; one with too few or too many cells is `broken`, one without any content is left out."""
        with open_text(self._path, self._encoding) as stream:
            stream.read(self._header.size)
            if not stream.peek(1):
                return
            places = [self.columns.index(column) for column in wanted]
            pen = _Pen(self._header)
            for batch in _record_batches(self._path, stream, pen):
                yield _raw_rows(batch, pen, dict(zip(wanted, places, strict=True)))
            if broken := pen.release(None):
                yield RawRows((), {column: [] for column in wanted}, broken)


class _Pen:
    """Holds the rows that the parser refuses until their place in the file is reached, and counts rows."""

    def __init__(self, header: _Header) -> None:
        self.header = header
        self._next = 1
        self._broken: dict[int, BrokenRow] = {}

    def refuse(self, row: Any) -> str:
        """Arrow's handler of rows with too few or too many cells: keep them, go on with the others."""
        text = row.text
        cells = next(csv.reader(io.StringIO(text, newline=""), delimiter=self.header.delimiter), [])
        what = f"{row.actual_columns} cells where the header has {row.expected_columns}"
        remedy = "Put quotation marks around values that contain the delimiter, a line break or quotation marks."
        if row.actual_columns < row.expected_columns and "\n" in text and not text.rstrip().endswith('"'):
            what = "a quotation mark is opened and not closed, so the rest of the file belongs to this row"
            remedy = "Close it, or double it if it is part of the text."
        first = cells[0].strip() if cells else ""
        self._broken[row.number] = BrokenRow(row.number, text, what, remedy, first)
        return "skip"

    def number(self, count: int) -> Sequence[int]:
        """The numbers of the next `count` rows that were not refused."""
        first = self._next
        if not self._broken:
            self._next += count
            return range(first, self._next)
        numbers: list[int] = []
        while len(numbers) < count:
            if self._next not in self._broken:
                numbers.append(self._next)
            self._next += 1
        return numbers

    def release(self, before: int | None) -> list[BrokenRow]:
        """The refused rows before a row number (None: all that are left)."""
        numbers = sorted(number for number in self._broken if before is None or number < before)
        return [self._broken.pop(number) for number in numbers]


def _record_batches(path: str, stream: io.BufferedReader, pen: _Pen) -> Iterator[Any]:
    """Arrow's batches of text cells, no longer than BATCH_ROWS each."""
    names = [str(place) for place in range(len(pen.header.columns))]
    try:
        with arrow_csv.open_csv(
            pa.PythonFile(stream, "r"),
            read_options=arrow_csv.ReadOptions(use_threads=False, block_size=BLOCK, column_names=names),
            parse_options=arrow_csv.ParseOptions(
                delimiter=pen.header.delimiter,
                newlines_in_values=True,
                ignore_empty_lines=False,
                invalid_row_handler=pen.refuse,
            ),
            convert_options=arrow_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
        ) as reader:
            for block in reader:
                for start in range(0, block.num_rows, BATCH_ROWS):
                    yield block.slice(start, BATCH_ROWS)
    except pa.ArrowInvalid as error:
        raise _unparsable(path, pen, error) from error


def _unparsable(path: str, pen: _Pen, error: Exception) -> ManifestError:
    row = pen.number(1)[0]
    if "straddling" in str(error):
        what = f"a row is longer than {BLOCK:,} bytes; most likely a quotation mark is not closed"
        return ManifestError(f"{path}, row {row} or after: {what}. Close it, or double it if it is part of the text.")
    return ManifestError(f"{path}, row {row} or after: {error}. Correct the file or export it again.")


def _raw_rows(batch: Any, pen: _Pen, places: dict[str, int]) -> RawRows:
    numbers = pen.number(batch.num_rows)
    columns = {column: _texts(batch.column(place)) for column, place in places.items()}
    blank = _blank_rows(batch, next(iter(columns.values()), []))
    if blank:
        numbers = [number for index, number in enumerate(numbers) if index not in blank]
        columns = {
            column: [cell for index, cell in enumerate(cells) if index not in blank]
            for column, cells in columns.items()
        }
    return RawRows(numbers, columns, pen.release(numbers[-1] if numbers else None))


def _texts(column: Any) -> list[str]:
    return column.to_numpy(zero_copy_only=False).tolist()  # type: ignore[no-any-return]


def _blank_rows(batch: Any, cells: list[str]) -> set[int]:
    """The rows without content; `cells` is one of the columns, for a quick look."""
    suspects = [index for index, cell in enumerate(cells) if not cell or cell.isspace()]
    return {index for index in suspects if not any(str(column[index].as_py()).strip() for column in batch.columns)}


def _read_header(path: str, head: bytes, delimiter: str | None, known: Collection[str]) -> _Header:
    blank = len(head) - len(head.lstrip(b" \r\n"))
    if hint := _EXCEL_HINT.match(head):
        delimiter, blank = delimiter or hint[1].decode("latin-1"), hint.end()
    if not head.strip():
        raise ManifestError(f"{path}: is empty. A manifest begins with a line of column names.")
    size = _first_record(path, head, blank)
    text = head[blank:size].decode("utf-8", "replace")
    if delimiter is None:
        delimiter = max(DELIMITERS, key=lambda option: _score(_split(text, option), known))
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise ManifestError(f'The delimiter "{delimiter}" can\'t be used. Give one character, such as ";".')
    return _Header(unique_names(path, _split(text, delimiter)), delimiter, size)


def _first_record(path: str, head: bytes, start: int) -> int:
    """Where the header ends: at the first line break outside quotation marks."""
    quoted = False
    for match in _QUOTES_AND_ENDS.finditer(head, start):
        at = match.start()
        if match[0] != b'"':
            if not quoted:
                return match.end()
        elif quoted or at == start or head[at - 1] in _BEFORE_QUOTE:
            quoted = not quoted
    if quoted or len(head) == BLOCK:
        raise ManifestError(f"{path}: the line of column names does not end. Close its quotation marks.")
    return len(head)


def _split(text: str, delimiter: str) -> list[str]:
    return next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), [])


def _score(columns: list[str], known: Collection[str]) -> tuple[int, int]:
    return sum(column.strip() in known for column in columns), len(columns)
