"""Manifests of delimited text: comma, semicolon, tab or bar.

A row is what a spreadsheet shows as one: the row number counts blank rows too, though they are not sent.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from typing import Any

import pyarrow as pa
from pyarrow import csv as arrow_csv

from reelbatch.errors import ManifestError
from reelbatch.manifest.options import ManifestOptions
from reelbatch.manifest.readers.base import BATCH_ROWS, BrokenRow, RawRows, texts
from reelbatch.manifest.text_file import LONGEST, Header, TextFile, damaged, read_header

SMALL_BLOCK, BLOCK = 1 << 18, 1 << 20
"""Bytes parsed at a time: the longest row there can be. Arrow reads 32 blocks ahead, so the small ones come first."""
_JOINED = 2
"""Small blocks whose rows go on together: what is done for each batch takes a while."""
_OPEN_QUOTE = "a quotation mark is opened and not closed, so the rest of the file belongs to this row"
_CLOSE_QUOTE = "Close it, or double it if it is part of the text."


class DelimitedSource:
    """A CSV or TSV file, opened by reading its header."""

    def __init__(self, path: str, options: ManifestOptions, known: Collection[str]) -> None:
        """Read the header; of several possible delimiters the one that yields most `known` columns wins."""
        self._path = path
        self._file = TextFile.look_at(path, options.encoding, options.largest_text)
        with self._file.open() as stream:
            head = stream.read(LONGEST)
        self._header = read_header(path, head, options.delimiter, known)

    @property
    def columns(self) -> Sequence[str]:
        """The names of the columns, stripped."""
        return self._header.columns

    def read(self, wanted: Sequence[str]) -> Iterator[RawRows]:
        """Read the rows; one with too few or too many cells is `broken`, one without any content is left out."""
        places = {column: self.columns.index(column) for column in wanted}
        pen = _MalformedRows(self._header)
        last = None
        for batch in _record_batches(self._file, pen):
            if last is not None:
                yield _raw_rows(last, pen, places)
            last = batch
        if last is not None:
            kept = pen.refuse_swallower(self._file, last)
            yield _raw_rows(kept, pen, places)
        if broken := pen.release(None):
            yield RawRows((), {column: [] for column in wanted}, broken)


class _MalformedRows:
    """Holds the rows that the parser refuses until their place in the file is reached, and counts rows."""

    def __init__(self, header: Header) -> None:
        self.header = header
        self._next = 1
        self._released = 0
        self._broken: dict[int, BrokenRow] = {}

    def refuse(self, row: Any) -> str:
        """Arrow's handler of rows with too few or too many cells: keep them, go on with the others."""
        if row.number <= self._released:  # the file is read for a second time
            return "skip"
        text = row.text.rstrip("\r\n")
        cells = next(csv.reader(io.StringIO(text, newline=""), delimiter=self.header.delimiter), [])
        what = f"{row.actual_columns} cells where the header has {row.expected_columns}"
        remedy = "Put quotation marks around values that contain the delimiter, a line break or quotation marks."
        first = cells[0].strip() if cells else ""
        broken = BrokenRow(row.number, text, what, remedy, first)
        if row.actual_columns < row.expected_columns and "\n" in text and not text.rstrip().endswith('"'):
            broken = broken._replace(what=_OPEN_QUOTE, remedy=_CLOSE_QUOTE)
        self._broken[row.number] = broken
        return "skip"

    def refuse_swallower(self, file: TextFile, batch: Any) -> Any:
        """Take the file's last row off its last `batch` if an open quotation mark ends with the file."""
        end = batch.column(batch.num_columns - 1)[-1].as_py() if batch.num_rows else ""
        if "\n" not in end or self._broken or file.verify().rstrip().endswith(b'"'):
            return batch
        cells = [column[-1].as_py() for column in batch.columns]
        number = self._next + batch.num_rows - 1
        text = self.header.delimiter.join(cells)
        self._broken[number] = BrokenRow(number, text, _OPEN_QUOTE, _CLOSE_QUOTE, cells[0].strip())
        return batch.slice(0, batch.num_rows - 1)

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
        self._released = max([self._released, *numbers])
        return [self._broken.pop(number) for number in numbers]


def _record_batches(file: TextFile, pen: _MalformedRows) -> Iterator[Any]:
    """Arrow's batches of text cells, no longer than BATCH_ROWS each.

    A row that is longer than a small block is found when it is reached: the file is read again, in large ones.
    """
    done = 0
    for size in (SMALL_BLOCK, BLOCK):
        again = done
        try:
            for block in _blocks(file, pen, size):
                known = min(again, block.num_rows)
                again -= known
                for start in range(known, block.num_rows, BATCH_ROWS):
                    yield block.slice(start, BATCH_ROWS)
                done += block.num_rows - known
        except pa.ArrowInvalid as error:
            if size == BLOCK or not _straddles(error):
                raise _unparsable(file, pen, error) from error
        else:
            return


def _blocks(file: TextFile, pen: _MalformedRows, size: int) -> Iterator[Any]:
    names = [str(place) for place in range(len(pen.header.columns))]
    try:
        with (
            file.open_native(pen.header.size) as stream,
            arrow_csv.open_csv(
                stream,
                read_options=arrow_csv.ReadOptions(use_threads=False, block_size=size, column_names=names),
                parse_options=arrow_csv.ParseOptions(
                    delimiter=pen.header.delimiter,
                    newlines_in_values=True,
                    ignore_empty_lines=False,
                    invalid_row_handler=pen.refuse,
                ),
                convert_options=arrow_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
            ) as reader,
        ):
            blocks = iter(reader)
            while some := list(islice(blocks, 1 if size == BLOCK else _JOINED)):
                yield pa.concat_batches(some)
    except pa.ArrowInvalid as error:
        if "Empty CSV file" not in str(error):
            raise
    except OSError as error:
        raise damaged(file.path, error) from error


def _straddles(error: Exception) -> bool:
    return "straddling" in str(error)


def _unparsable(file: TextFile, pen: _MalformedRows, error: Exception) -> ManifestError:
    file.verify()  # the encoding is the likeliest cause, and this names the line
    row = pen.number(1)[0]
    if _straddles(error):
        what = f"a row is longer than {BLOCK:,} bytes; most likely a quotation mark is not closed"
        return ManifestError(f"{file.path}, row {row} or after: {what}. {_CLOSE_QUOTE}")
    return ManifestError(f"{file.path}, row {row} or after: {error}. Correct the file or export it again.")


def _raw_rows(batch: Any, pen: _MalformedRows, places: dict[str, int]) -> RawRows:
    numbers = pen.number(batch.num_rows)
    columns = {column: texts(batch.column(place)) for column, place in places.items()}
    blank = _blank_rows(batch, next(iter(columns.values()), []))
    if blank:
        numbers = [number for index, number in enumerate(numbers) if index not in blank]
        columns = {
            column: [cell for index, cell in enumerate(cells) if index not in blank]
            for column, cells in columns.items()
        }
    return RawRows(numbers, columns, pen.release(numbers[-1] if numbers else None))


def _blank_rows(batch: Any, cells: list[str]) -> set[int]:
    """The rows without content; `cells` is one of the columns, for a quick look."""
    if all(map(str.strip, cells)):
        return set()
    suspects = [index for index, cell in enumerate(cells) if not cell or cell.isspace()]
    return {index for index in suspects if not any(str(column[index].as_py()).strip() for column in batch.columns)}
