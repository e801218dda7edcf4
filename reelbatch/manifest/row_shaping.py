"""A shop's rows before they are checked: HTML taken off, empty cells filled from above, other rows left out.

Everything works on whole batches; what has to be remembered from one to the next is the last cell of a few columns.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import Any, NamedTuple

from reelbatch.manifest.html_text import text_of
from reelbatch.manifest.parsing import plain, trimmed, unsaved_fault
from reelbatch.manifest.readers.base import BrokenRow, RawRows

EMPTY, NOT_EMPTY = "empty", "not empty"
_SAID: Mapping[bool, frozenset[str]] = {
    True: frozenset({"true", "yes", "on", "1"}),
    False: frozenset({"false", "no", "off", "0"}),
}
"""Cells that are as good as YAML's true and false, which is also how it reads yes, no, on and off."""


class Condition(NamedTuple):
    """What a cell has to be: one of `values` (in small letters), or empty, or not."""

    values: frozenset[str] = frozenset()
    empty: bool = False
    filled: bool = False

    @classmethod
    def of(cls, stated: Any) -> Condition:
        """A value, or a list of them, as the config file has it."""
        words = stated if isinstance(stated, list | tuple | set | frozenset) else [stated]
        texts = {trimmed(plain(word)).casefold() for word in words if not isinstance(word, bool)}
        said = [_SAID[word] for word in words if isinstance(word, bool)]
        values = frozenset(texts - {EMPTY, NOT_EMPTY}).union(*said)
        return cls(values - {""}, EMPTY in texts or "" in texts, NOT_EMPTY in texts)

    def holds(self, cells: Iterable[str]) -> list[bool]:
        """For each of `cells`."""
        if not self.values:
            return [self.filled if trimmed(cell) else self.empty for cell in cells]
        bare = (trimmed(cell).casefold() for cell in cells)
        return [(self.filled or cell in self.values) if cell else self.empty for cell in bare]


@dataclass(frozen=True, slots=True)
class RowShaping:
    """What is done to rows, by the manifest's columns.

    Attributes:
        group: while this column's cell is the same as above, or blank, `fill_down` goes on.
    """

    strip_html: tuple[str, ...] = ()
    fill_down: tuple[str, ...] = ()
    group: str = ""
    where: Mapping[str, Condition] = field(default_factory=dict)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads."""
        group = (self.group,) if self.fill_down else ()
        return (*self.strip_html, *self.fill_down, *group, *self.where)


class RowShaper:
    """Shapes one reading of a manifest. `left_out`: rows so far that `where` did not let through."""

    def __init__(self, shaping: RowShaping) -> None:
        self._shaping = shaping
        self._fill = FillDown(shaping.fill_down, shaping.group) if shaping.fill_down else None
        self.left_out = 0

    def shape(self, raw: RawRows) -> RawRows:
        """One batch; rows that are broken stay, since it can't be known what they would be."""
        columns = dict(raw.columns)
        for column in self._shaping.strip_html:
            columns[column] = list(map(text_of, columns[column]))
        if self._fill:
            self._fill.fill(raw.numbers, columns, [broken.number for broken in raw.broken])
        unknown = self._unknown(raw.numbers, columns)
        kept = self._kept(columns)
        if kept is None or (all(kept) and not unknown):
            return RawRows(raw.numbers, columns, raw.broken)
        open_ = {broken.number for broken in unknown}
        self.left_out += sum(not keep and number not in open_ for number, keep in zip(raw.numbers, kept, strict=True))
        kept = [keep and number not in open_ for number, keep in zip(raw.numbers, kept, strict=True)]
        fewer = {column: list(compress(cells, kept)) for column, cells in columns.items()}
        return RawRows(list(compress(raw.numbers, kept)), fewer, [*raw.broken, *unknown])

    def _unknown(self, numbers: Sequence[int], columns: Mapping[str, list[str]]) -> list[BrokenRow]:
        """Rows of which no one can say whether `where` lets them through."""
        found: dict[int, BrokenRow] = {}
        for column in self._shaping.where:
            for number, cell in zip(numbers, columns[column], strict=True):
                if fault := unsaved_fault(cell):
                    found[number] = BrokenRow(number, "", f'column "{column}": {fault.what}', fault.remedy)
        return list(found.values())

    def _kept(self, columns: Mapping[str, list[str]]) -> list[bool] | None:
        where = self._shaping.where
        if not where:
            return None
        answers = (condition.holds(columns[column]) for column, condition in where.items())
        return [all(row) for row in zip(*answers, strict=True)]


class FillDown:
    """Fills empty cells of `columns` from the row above, within a group of rows.

    A broken row may have begun a group, so a blank key after it belongs to none that is known.
    """

    def __init__(self, columns: Collection[str], group: str) -> None:
        self._columns = columns
        self._group = group
        self._key = ""
        self._lost = False  # a broken row came last
        self._last = dict.fromkeys(columns, "")

    def fill(self, numbers: Sequence[int], columns: dict[str, list[str]], broken: Iterable[int]) -> None:
        """Fill one batch's `columns`; the row numbers of `broken` rows lie between `numbers`, before or after."""
        begins = self._beginnings(numbers, columns[self._group], sorted(broken))
        for column in self._columns:
            columns[column] = self._filled(column, columns[column], begins)

    def _beginnings(self, numbers: Sequence[int], keys: Sequence[str], broken: list[int]) -> list[bool]:
        """Whether a group begins with each row."""
        begins = []
        for number, cell in zip(numbers, keys, strict=True):
            while broken and broken[0] < number:
                broken.pop(0)
                self._lost = True
            key = trimmed(cell)
            begins.append(key != self._key if key else self._lost)
            if key or self._lost:
                self._key = key
            self._lost = False
        self._lost = self._lost or bool(broken)
        return begins

    def _filled(self, column: str, cells: Sequence[str], begins: Sequence[bool]) -> list[str]:
        last, filled = self._last[column], []
        for cell, begin in zip(cells, begins, strict=True):
            last = cell if begin or trimmed(cell) else last
            filled.append(last)
        self._last[column] = last
        return filled
