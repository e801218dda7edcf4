"""Delimited text, read strictly, one row at a time.

A cell that begins with a quotation mark ends with one, and a delimiter, a line end or the end of the file follows;
any other mark is text. So two rows are never taken for one: what is damaged is one physical line, and the next line
is the next row.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

LONGEST_ROW = 4 << 20
"""Bytes of a row. One that is longer is damaged."""
_END = re.compile(rb"\r\n?|\n")
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_SHOWN = 1000
"""Bytes of a line too long to be kept."""


class Record(NamedTuple):
    """One row, and where it is in the text."""

    start: int
    end: int  # where the next one begins
    cells: list[str]  # of a damaged row: those before the damage
    closed: bool = True  # by a line end
    damage: str = ""  # "": none
    remedy: str = ""


@dataclass(frozen=True)
class Dialect:
    """How cells are set apart, and how many a row has.

    Attributes:
        delimiter: one ASCII character.
        width: cells of the header; 0: not known yet.
        quoted: quotation marks may stand around a cell; otherwise they are text like any other.
        escaped: a backslash takes the meaning off the character behind it.
        multiline: a row may have lines that could be rows themselves.
    """

    delimiter: str
    width: int = 0
    quoted: bool = True
    escaped: bool = False
    multiline: bool = False

    def read(self, text: bytes, at: int, *, last: bool) -> Record | None:
        """The row that begins at `at`; None: it ends behind `text`, of which more follows unless it is the `last`.

        A row that goes on for more than LONGEST_ROW bytes is damaged.
        """
        line = _END.search(text, at)
        if line is None and not last and len(text) - at < LONGEST_ROW:
            return None
        if line is None and len(text) - at >= LONGEST_ROW:
            return Record(at, len(text), [], closed=False, damage=_TOO_LONG, remedy=self._remedy(text[at:]))
        if line is not None and line[0] == b"\r" and line.end() == len(text) and not last:
            return None  # perhaps the first half of \r\n
        stop, end = (line.start(), line.end()) if line else (len(text), len(text))
        if self._is_plain(text, at, stop):
            return Record(at, end, text[at:stop].decode().split(self.delimiter), closed=line is not None)
        return self._read_cells(text, at, end, last=last)

    def give_up(self, text: bytes, record: Record, damage: str, remedy: str) -> Record:
        """The row as damaged: only its first line is its own, and of its cells the first."""
        line = _END.search(text, record.start, record.end)
        first = [cell for cell in record.cells[:1] if "\n" not in cell and "\r" not in cell]
        end = line.end() if line else record.end
        return record._replace(end=end, cells=first, damage=damage, remedy=remedy)

    def line_end(self, text: bytes) -> int:
        """Behind the first line end; 0: there is none, or it may go on behind `text`."""
        line = _END.search(text)
        return 0 if line is None or (line[0] == b"\r" and line.end() == len(text)) else line.end()

    def first_line(self, text: bytes, record: Record) -> str:
        """The row's first physical line, for a message and to tell it from others."""
        line = _END.search(text, record.start, record.end)
        shown = text[record.start : line.start() if line else record.end]
        if len(shown) >= LONGEST_ROW:
            shown = shown[:_SHOWN]
        return shown.decode(errors="replace")

    def could_be_rows(self, text: bytes, record: Record) -> bool:
        """Whether a line of the row, read alone, has as many cells as the header: two rows may have become one.

        Where the row itself has fewer, since those at its end were left out, so may the rows that are in it.
        """
        line = _END.search(text, record.start, record.end)
        if line is None or line.end() >= record.end:
            return False
        rows = replace(self, width=max(2, len(record.cells))) if len(record.cells) < self.width else self
        while line is not None and line.end() < record.end:
            if rows.begins_row(text, line.end(), record.end):
                return True
            line = _END.search(text, line.end(), record.end)
        return False

    def begins_row(self, text: bytes, start: int, size: int) -> bool:
        """Whether the line that begins at `start`, behind a line end within a cell, could be a row.

        Rows have one kind of line end: with another kind within it, it may still be a row, cut in two by that.
        """
        line = _END.search(text, start, size)
        if self.is_row(text, start, line.start() if line else size):
            return True
        if line is None or text[start - 1 : start + 1] == b"\r\n":
            return False
        own = b"\r\n" if text[start - 2 : start] == b"\r\n" else text[start - 1 : start]
        stop = text.find(own, start, size)
        whole = text[start : size if stop < 0 else stop]
        joined = _END.sub(b" ", whole.rstrip(b"\r"))
        return len(whole) > line.start() - start and self.is_row(joined, 0, len(joined))

    def is_row(self, text: bytes, start: int, stop: int) -> bool:
        """Whether the line, read alone, has as many cells as the header; a damaged one may have."""
        if text.count(self._sign, start, stop) < self.width - 1 or not text[start:stop].strip():
            return False
        alone = self.read(text[start:stop], 0, last=True)
        if alone is None or alone.damage:  # what stands behind the damage may be any number of cells
            return alone is None or len(alone.cells) < self.width
        return len(alone.cells) == self.width

    def _is_plain(self, text: bytes, at: int, stop: int) -> bool:
        if self.escaped and text.find(b"\\", at, stop) >= 0:
            return False
        return not self.quoted or (text[at : at + 1] != b'"' and text.find(self._sign + b'"', at, stop) < 0)

    def _read_cells(self, text: bytes, at: int, line_end: int, *, last: bool) -> Record | None:
        cells: list[str] = []
        place = at
        while True:
            quoted = self.quoted and text[place : place + 1] == b'"'
            cell = (self._quoted_cell if quoted else self._plain_cell).match(text, place)
            if cell is None:
                break
            cells.append(self._meaning(cell[1], quoted=quoted))
            place = cell.end()
            if text[place : place + 1] != self._sign:
                break
            place += 1
        if cell is not None and (last or place + 1 < len(text)):
            return self._closed(text, Record(at, place, cells), line_end)
        if not last and len(text) - at < LONGEST_ROW:
            return None
        return Record(at, line_end, cells, damage=_OPEN, remedy=self._remedy(text[at:line_end]))

    def _closed(self, text: bytes, record: Record, line_end: int) -> Record:
        """The row whose last cell ends at `record.end`, with what follows there."""
        following = text[record.end : record.end + 2]
        if not following:
            return record._replace(closed=False)
        if following[:1] in b"\r\n":
            return record._replace(end=record.end + (2 if following == b"\r\n" else 1))
        remedy = self._remedy(text[record.start : line_end])
        return record._replace(end=line_end, cells=record.cells[:-1], damage=_AFTER_MARK, remedy=remedy)

    def _meaning(self, cell: bytes, *, quoted: bool) -> str:
        if self.escaped and b"\\" in cell:
            return "" if cell == b"\\N" else _ESCAPED.sub(rb"\1", cell).decode()  # \N: nothing, in MySQL's words
        if quoted:
            cell = cell.replace(b'""', b'"')
        return cell.decode()

    def _remedy(self, line: bytes) -> str:
        if b'\\"' in line and not self.escaped:
            return "If a backslash stands for a mark that is text, set manifest.escape to backslash."
        return (
            'Close it, or double it where it is text; if all are text in this file, set manifest.quoting to "none".'
        )

    @cached_property
    def _sign(self) -> bytes:
        return self.delimiter.encode()

    @cached_property
    def _quoted_cell(self) -> re.Pattern[bytes]:
        escape = rb"|\\." if self.escaped else b""
        backslash = rb"\\" if self.escaped else b""
        return re.compile(rb'"((?:[^"' + backslash + rb']++|""' + escape + rb')*+)"', re.DOTALL)

    @cached_property
    def _plain_cell(self) -> re.Pattern[bytes]:
        sign = re.escape(self._sign)
        if not self.escaped:
            return re.compile(rb"([^\r\n" + sign + rb"]*+)")
        return re.compile(rb"((?:[^\r\n\\" + sign + rb"]++|\\[^\r\n]|\\)*+)", re.DOTALL)


_OPEN = "a quotation mark is opened and not closed"
_AFTER_MARK = "a quotation mark ends a cell, and more text follows"
_TOO_LONG = f"a line of more than {LONGEST_ROW:,} bytes"
