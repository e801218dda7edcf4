"""The line of column names of a delimited file, and the delimiter that it gives away."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection
from typing import NamedTuple

from reelbatch.errors import ManifestError
from reelbatch.manifest.readers.base import bare_name, unique_names

LONGEST = 1 << 20
"""Bytes within which the names have to end."""
DELIMITERS = ",;\t|"
_EXCEL_HINT = re.compile(rb'\s*"?sep=(.)"?[ ]*(?:\r\n|\r|\n)', re.IGNORECASE)
_QUOTES_AND_ENDS = re.compile(rb'"|\r\n|\r|\n')
_BEFORE_QUOTE = b',;\t|"'


class Header(NamedTuple):
    """What the first line says."""

    columns: tuple[str, ...]
    delimiter: str
    size: int  # bytes up to the first row of data


def read_header(path: str, head: bytes, delimiter: str | None, known: Collection[str]) -> Header:
    """Read the names out of `head`, the beginning of the file; `known` names tell which delimiter is meant.

    Raises:
        ManifestError: there are none, they do not end, or the delimiter is impossible.
    """
    blank = len(head) - len(head.lstrip(b" \r\n"))
    if hint := _EXCEL_HINT.match(head):
        delimiter, blank = delimiter or hint[1].decode("latin-1"), hint.end()
    if not head.strip():
        raise ManifestError(f"{path}: is empty. A manifest begins with a line of column names.")
    size = _first_record(path, head, blank)
    text = head[blank:size].decode("utf-8", "replace")
    if delimiter is None:
        delimiter = max(DELIMITERS, key=lambda option: _score(_split(text, option), known))
    if len(delimiter) != 1 or not delimiter.isascii() or delimiter in '"\r\n':
        raise ManifestError(f'The delimiter "{delimiter}" can\'t be used. Give one character, such as ";".')
    return Header(unique_names(path, _split(text, delimiter)), delimiter, size)


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
    if quoted or len(head) >= LONGEST:
        raise ManifestError(f"{path}: the line of column names does not end. Close its quotation marks.")
    return len(head)


def _split(text: str, delimiter: str) -> list[str]:
    return next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), [])


def _score(columns: list[str], known: Collection[str]) -> tuple[int, int]:
    bare = {bare_name(name) for name in known}
    return sum(bare_name(column) in bare for column in columns), len(columns)
