"""Manifests of JSON Lines: one object for each row. The row number is the number of the line."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import Any

from reelbatch.errors import ManifestError
from reelbatch.manifest.options import ManifestOptions
from reelbatch.manifest.parsing import plain
from reelbatch.manifest.readers.base import BATCH_ROWS, BrokenRow, RawRows, unique_names
from reelbatch.manifest.text_file import TextFile

LONGEST_LINE = 16 << 20
_REMEDY = "Write one JSON object on each line."


class JsonLinesSource:
    """A JSON Lines file, opened by looking at the names in all of its lines: any may be the first with a key."""

    def __init__(self, path: str, options: ManifestOptions) -> None:
        self._path = path
        self._file = TextFile.look_at(path, options.encoding, options.largest_text)
        self.warnings = self._file.warnings
        names: dict[str, None] = {}
        with self._file.open() as stream:
            rows = (_parse(number, line) for number, line in _lines(path, stream))
            first = next(rows, None)
            for row in chain([first], rows):
                if isinstance(row, dict) and not row.keys() <= names.keys():
                    names |= dict.fromkeys(row)
        if first is None:
            raise ManifestError(f"{path}: is empty. {_REMEDY}")
        if isinstance(first, BrokenRow):
            raise ManifestError(f"{path}, line {first.number}: {first.what}. {_REMEDY}")
        self._names = dict(zip(unique_names(names), names, strict=True))

    @property
    def columns(self) -> Sequence[str]:
        """The names found, stripped."""
        return tuple(self._names)

    def read(self, wanted: Sequence[str]) -> Iterator[RawRows]:
        """Read the rows; a line that is no JSON object is `broken`, a blank line is left out."""
        names = [self._names[column] for column in wanted]
        with self._file.open() as stream:
            lines = _lines(self._path, stream)
            while batch := [(number, _parse(number, line)) for number, line in islice(lines, BATCH_ROWS)]:
                rows = [(number, row) for number, row in batch if isinstance(row, dict)]
                columns = {
                    column: [_text(row.get(name)) for _, row in rows]
                    for column, name in zip(wanted, names, strict=True)
                }
                broken = [row for _, row in batch if isinstance(row, BrokenRow)]
                yield RawRows([number for number, _ in rows], columns, broken)


class _TwiceError(ValueError):
    """An object with two values of one name."""


def _text(cell: Any) -> str:
    return cell if type(cell) is str else plain(cell)


def _lines(path: str, stream: io.BufferedReader) -> Iterator[tuple[int, bytes]]:
    number = 0
    while line := stream.readline(LONGEST_LINE):
        number += 1
        if len(line) == LONGEST_LINE:
            raise ManifestError(f"{path}, line {number}: longer than {LONGEST_LINE:,} bytes. {_REMEDY}")
        if not line.isspace():
            yield number, line


def _parse(number: int, line: bytes) -> dict[str, Any] | BrokenRow:
    try:
        row = json.loads(line.decode(), object_pairs_hook=_object)
    except _TwiceError as error:
        what = str(error)
    except (ValueError, RecursionError) as error:
        what = f"not JSON ({error})"
    else:
        if isinstance(row, dict):
            return row
        what = "not a JSON object"
    return BrokenRow(number, line.decode("utf-8", "replace").strip(), what, _REMEDY)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Python would keep the last value of a name, and lose the others.

    Raises:
        _TwiceError: a name stands twice.
    """
    named = dict(pairs)
    if len(named) < len(pairs):
        twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise _TwiceError(f'states "{twice}" twice')
    return named
