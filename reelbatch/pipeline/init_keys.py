"""The column, or the few, that name each row of a catalogue once: found by name, and proven by reading all of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from reelbatch.manifest.row_shaping import Condition
from reelbatch.pipeline.init_columns import POSITION, ROLES, Cells, candidates, is_code
from reelbatch.pipeline.init_preview import Preview, preview
from reelbatch.pipeline.init_shops import KnownExport
from reelbatch.pipeline.init_table import Table

_TRIES = 5
"""Keys that the whole file is read for."""
_CANDIDATES = 3
_POSITIONS = 4


@dataclass(frozen=True, slots=True)
class KeyGuess:
    """The columns of the key; none: there is no such key. `preview`: the file, read with it."""

    columns: tuple[str, ...]
    why: str
    preview: Preview
    sure: bool = True


def find_key(
    table: Table, settings: Mapping[str, Any], stated: tuple[str, ...] | None, export: KnownExport | None
) -> KeyGuess:
    """A key that no row lacks and no two rows share, or none.

    Raises:
        ManifestError: the file can't be read with the `settings`.
    """
    if stated is not None:
        return KeyGuess(stated, "stated", _read(table, settings, stated))
    for proposed in islice(_proposed(table, settings, export), _TRIES):
        found = _read(table, settings, proposed.columns)
        if found.has_sound_keys:
            return KeyGuess(proposed.columns, proposed.why, found, sure=proposed.sure)
    why = "no column is filled and different in each row"
    return KeyGuess((), why, _read(table, settings, ()), sure=False)


def _read(table: Table, settings: Mapping[str, Any], key: tuple[str, ...]) -> Preview:
    switched_off = {} if key else {"columns": {"row_key": None, **settings.get("columns", {})}}
    return preview(table.source, {**settings, "row_key": list(key), **switched_off})


@dataclass(frozen=True, slots=True)
class _Proposed:
    columns: tuple[str, ...]
    why: str
    sure: bool = True


def _proposed(table: Table, settings: Mapping[str, Any], export: KnownExport | None) -> Iterator[_Proposed]:
    """Keys that may do, the likeliest first; what the sample speaks against is not among them."""
    if export is not None and export.key:
        yield _Proposed(export.key, f"as exports of {export.shop.name} have it")
    cells = _rows_that_count(table, settings)
    samples = {column: Cells.of(of) for column, of in cells.items()}
    named = [each for each in candidates(ROLES["row_key"], samples) if each.score > 0]
    for each in named:
        if _is_unique([cells[each.column]]):
            yield _Proposed((each.column,), "its name, and no two rows share it")
    positions = [each.column for each in candidates(POSITION, samples)][:_POSITIONS]
    for each in named[:_CANDIDATES]:
        for position in positions:
            if position != each.column and _is_unique([cells[each.column], cells[position]]):
                yield _Proposed((each.column, position), "no two rows share both")
    for column, sample in samples.items():
        if sample.share(is_code) == 1 and _is_unique([cells[column]]):
            yield _Proposed((column,), "it looks like a number of articles, and no two rows share it", sure=False)


def _rows_that_count(table: Table, settings: Mapping[str, Any]) -> dict[str, list[str]]:
    """The sample's cells that `where` lets through; what `fill_down` would fill counts as it is."""
    where = {column: Condition.of(value) for column, value in settings.get("where", {}).items()}
    if settings.get("fill_down") or not where:
        return {column: list(cells) for column, cells in table.cells.items()}
    kept = [
        all(row) for row in zip(*(each.holds(table.cells[column]) for column, each in where.items()), strict=True)
    ]
    return {
        column: [cell for cell, keep in zip(cells, kept, strict=True) if keep]
        for column, cells in table.cells.items()
    }


def _is_unique(columns: Sequence[Sequence[str]]) -> bool:
    rows = list(zip(*columns, strict=True))
    return bool(rows) and all(map(all, rows)) and len(set(rows)) == len(rows)
