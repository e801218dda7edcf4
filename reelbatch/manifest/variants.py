"""Several videos of one row: its variants, each with a prompt or settings of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reelbatch.domain import REQUEST_FIELDS
from reelbatch.manifest.parsing import plain, text_fault
from reelbatch.manifest.readers.base import BATCH_ROWS, RawRows

PROMPT_SUFFIX = "prompt_suffix"
VARIED = tuple(each.name for each in REQUEST_FIELDS if not each.is_text and each.compared)
"""Settings of a row that a variant may replace: those that make another video."""
MOST = 100
_NAME = re.compile(r"\w[\w.-]{0,39}")
_LONGEST_SUFFIX = 10_000
_JOINS = tuple(",.;:!?")


@dataclass(frozen=True, slots=True)
class Variants:
    """The variants of every row, in the order in which they stand in the settings.

    A row of the manifest becomes as many rows as there are names, which are numbered through: the results table and
    the money's bookkeeping see rows like all others.
    """

    names: tuple[str, ...]
    stated: Mapping[str, Mapping[str, str]]  # what varies -> the variant's name -> its value

    @classmethod
    def of(cls, stated: Mapping[str, Mapping[Any, Any]]) -> Variants:
        """As the config file has them."""
        texts = {
            what: {plain(name): plain(value).strip() for name, value in of.items()} for what, of in stated.items()
        }
        return cls(tuple(dict.fromkeys(name for of in texts.values() for name in of)), texts)

    def problems(self) -> Iterator[str]:
        """What can't be meant."""
        for what in self.stated:
            if what not in (PROMPT_SUFFIX, *VARIED):
                yield f'variants: "{what}" can\'t vary. Possible: {", ".join((PROMPT_SUFFIX, *VARIED))}.'
        if not 0 < len(self.names) <= MOST:
            yield f"variants: name 1 to {MOST} variants, as in {{prompt_suffix: {{a: slow pan, b: quick zoom}}}}."
        for name in self.names:
            if not _NAME.fullmatch(name):
                yield f'variants: "{name}" names no variant. Use up to 40 letters and digits, with . _ - between.'
        for name, suffix in self.stated.get(PROMPT_SUFFIX, {}).items():
            if fault := text_fault(PROMPT_SUFFIX, suffix, _LONGEST_SUFFIX):
                yield f"variants: prompt_suffix of {name}: {fault.what}. {fault.remedy}"

    @property
    def room(self) -> int:
        """Characters that the longest key gets in addition."""
        return 1 + max(map(len, self.names))

    def row_in_file(self, number: int) -> int:
        """The manifest's row that a row comes from."""
        return (number - 1) // len(self.names) + 1

    def spread(self, raw: RawRows) -> Iterator[RawRows]:
        """Each row as often as there are variants, in batches that are no larger for it."""
        some, broken = max(1, BATCH_ROWS // len(self.names)), list(raw.broken)
        for start in range(0, max(1, len(raw.numbers)), some):
            part = raw.numbers[start : start + some]
            is_last = start + some >= len(raw.numbers)
            here = [row for row in broken if is_last or row.number < part[-1]]
            broken = broken[len(here) :]
            columns = {column: self._each(cells[start : start + some]) for column, cells in raw.columns.items()}
            numbers = [number for row in part for number in self._numbers(row)]
            again = [row._replace(number=number) for row in here for number in self._numbers(row.number)]
            yield RawRows(numbers, columns, again)

    def _each(self, cells: Sequence[str]) -> list[str]:
        return [cell for cell in cells for _ in self.names]

    def _numbers(self, row_in_file: int) -> range:
        first = (row_in_file - 1) * len(self.names) + 1
        return range(first, first + len(self.names))

    def keys(self, keys: Sequence[str]) -> list[str]:
        """`SKU#a`, `SKU#b` of SKU, SKU; a missing key stays missing."""
        return [key and f"{key}#{self.names[index % len(self.names)]}" for index, key in enumerate(keys)]

    def key_of(self, key: str, number: int) -> str:
        """The same for one row by its number."""
        return f"{key}#{self.names[(number - 1) % len(self.names)]}"

    def prompts(self, prompts: Sequence[str]) -> list[str]:
        """With their suffixes; a missing prompt stays missing."""
        suffixes = [self.stated.get(PROMPT_SUFFIX, {}).get(name, "") for name in self.names]
        ends = [suffix if not suffix or suffix.startswith(_JOINS) else f" {suffix}" for suffix in suffixes]
        return [prompt and prompt + ends[index % len(ends)] for index, prompt in enumerate(prompts)]

    def settings(self, column: str, cells: Sequence[str]) -> Sequence[str]:
        """The cells of one of VARIED, in whose place the variants' own values come."""
        own = self.stated.get(column)
        if not own:
            return cells
        varied, count = list(cells), len(self.names)
        for place, name in enumerate(self.names):
            if name in own:
                varied[place::count] = [own[name]] * (len(varied) // count)
        return varied
