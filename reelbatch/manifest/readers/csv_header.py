"""The line of column names: which delimiter it has, which names, and where it ends."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import NamedTuple

from reelbatch.errors import ManifestError
from reelbatch.manifest.readers.base import bare_name, unique_names
from reelbatch.manifest.readers.csv_grammar import Dialect, Record

LONGEST = 1 << 20
"""Bytes within which the names have to end."""
DELIMITERS = ",;\t|"
_EXCEL_HINT = re.compile(rb'\s*"?sep=(.)"?[ ]*(?:\r\n|\r|\n)', re.IGNORECASE)
_NO_TABLE = (
    (re.compile(rb"<(!doctype\s+html|html|head|body|table|script|meta)\b", re.IGNORECASE), "a web page (HTML)"),
    (re.compile(rb"<(\?xml|rss|feed|[\w:.-]+\s+xmlns)", re.IGNORECASE), "XML"),
)
_NO_NAMES = re.compile(rb"(?:[ ,;\t|]*(?:\r\n|\r|\n))*")
_JSON = re.compile(rb'[\[{]\s*["{\[]')
ALL_IN_MARKS = "stands in quotation marks as a whole, and so is one cell"
_SHOWN = 60
_ANY_MARKS = Dialect(",")


class Header(NamedTuple):
    """What the first line says."""

    columns: tuple[str, ...]
    delimiter: str
    size: int  # bytes up to the first row of data


def read_header(
    path: str, head: bytes, delimiter: str | None, known: Collection[str], marks: Dialect = _ANY_MARKS
) -> Header:
    """Read the names out of `head`, the beginning of the file.

    Args:
        path: for messages.
        head: the first LONGEST bytes, or the whole file.
        delimiter: None: of several possible ones, the one that yields most `known` names.
        known: names that are looked for.
        marks: what quotation marks and backslashes mean; its delimiter says nothing.

    Raises:
        ManifestError: there are none, they do not end, or the delimiter is impossible.
    """
    blank = len(head) - len(head.lstrip(b" \r\n"))
    if hint := _EXCEL_HINT.match(head):
        delimiter, blank = delimiter or hint[1].decode("latin-1"), hint.end()
    if not head.strip():
        raise ManifestError(f"{path}: is empty. A manifest begins with a line of column names.")
    _refuse_markup(path, head[blank : blank + _SHOWN].lstrip())
    if delimiter is not None and (len(delimiter) != 1 or not delimiter.isascii() or delimiter in '"\r\n'):
        raise ManifestError(f'The delimiter "{delimiter}" can\'t be used. Give one character, such as ";".')
    options = [replace(marks, delimiter=each) for each in delimiter or DELIMITERS]
    dialect, record = _best(options, head, blank, known)
    above = _NO_NAMES.match(head, blank)
    if above and (filled := above.end()) > blank:  # lines of delimiters alone, as spreadsheets save them
        below = _best(options, head, filled, known)
        dialect, record = below if _score(below[1], known)[0] > _score(record, known)[0] else (dialect, record)
    _refuse_all_in_marks(path, record, options, known)
    dialect = replace(dialect, width=len(record.cells))
    if record.damage or (not dialect.multiline and dialect.could_be_rows(head, record)):
        what = record.damage or "its lines could be rows themselves"
        line = 1 + head[: record.start].count(b"\n")
        remedy = record.remedy or "Close its quotation marks, or set manifest.multiline to allow."
        where = f"{path}, line {line}: the line of column names does not end"
        raise ManifestError(f"{where}: {what}, near {_near(head, record)}. {remedy}")
    return Header(unique_names(record.cells), dialect.delimiter, record.end)


def _first(dialect: Dialect, head: bytes, start: int) -> Record:
    record = dialect.read(head, start, last=len(head) < LONGEST)
    if record is None:
        line = Record(start, len(head), [], damage=f"there are none within {LONGEST:,} bytes")
        return line._replace(remedy="See whether it is a table at all, and close its quotation marks.")
    return record


def _score(record: Record, known: Collection[str]) -> tuple[int, bool, int]:
    bare = {bare_name(name) for name in known}
    return sum(bare_name(column) in bare for column in record.cells), not record.damage, len(record.cells)


def _near(head: bytes, record: Record) -> str:
    line = head[record.start : record.start + 20 * _SHOWN].splitlines()[0].decode(errors="replace")
    return f'"{line if len(line) <= _SHOWN else line[:_SHOWN] + "…"}"'


def _best(options: Sequence[Dialect], head: bytes, start: int, known: Collection[str]) -> tuple[Dialect, Record]:
    """Of several delimiters the one that yields most `known` names in the line at `start`."""
    return max(((each, _first(each, head, start)) for each in options), key=lambda one: _score(one[1], known))


def _refuse_all_in_marks(path: str, record: Record, options: Sequence[Dialect], known: Collection[str]) -> None:
    """Of a file of which each line has been made one cell."""
    inner = [_first(each, record.cells[0].encode(), 0) for each in options if len(record.cells) == 1]
    if any(_score(names, known)[0] > _score(record, known)[0] for names in inner):
        remedy = "Take away the marks at the ends of each line, and make single ones of the doubled ones within."
        raise ManifestError(f"{path}: the line of column names {ALL_IN_MARKS}. {remedy}")


def _refuse_markup(path: str, start: bytes) -> None:
    if _JSON.match(start):
        raise ManifestError(f"{path}: is JSON. Write one object on each line, and call the file .jsonl.")
    for pattern, kind in _NO_TABLE:
        if pattern.match(start):
            remedy = "Where it was to be downloaded, a page may have come in its place: fetch the file itself."
            raise ManifestError(f"{path}: is {kind}, not a table. {remedy}")
