"""Tables that have to fit: at the terminal's width states and money stay whole, and ids and paths make room."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from reelbatch.cli.render import cell, out
from reelbatch.printable import one_line

if TYPE_CHECKING:
    from reelbatch.pipeline.status import BatchStatus

_GAP = 2
_SHORTEST = 8
"""Characters of an id or a path that are worth showing; with fewer its column is left out."""
_COSTS = ("estimated_frame_cost", "credits_charged", "credits_final")
_MONEY = ("estimated", "charged", "refunded", "final", "reserved", "in_doubt", "worst_case")


@dataclass(frozen=True, slots=True)
class _Column:
    """A column and its texts.

    Args:
        makes_room: shortened where the table is too wide, those with the largest number first; None: never.
    """

    name: str
    texts: Sequence[str]
    makes_room: int | None = None
    justify: str = "left"

    @property
    def width(self) -> int:
        """Of the longest text; the name is broken between its words."""
        return max(map(cell_len, (*self.texts, *self.name.split())), default=0)


class Breaks(Enum):
    """Where the texts of a column may be broken, if the table is too wide."""

    NEVER = auto()
    BETWEEN_WORDS = auto()
    ANYWHERE = auto()


@dataclass(frozen=True, slots=True)
class Folding:
    """A column of which nothing is ever left out."""

    name: str
    texts: Sequence[str | Text]
    breaks: Breaks = Breaks.NEVER
    justify: Literal["left", "right"] = "left"

    @property
    def full(self) -> int:
        """Its width where there is room."""
        return max(cell_len(str(text)) for text in (self.name, *self.texts))

    @property
    def narrowest(self) -> int:
        """Its width where there is none; the name is broken between its words."""
        texts: Iterable[str] = map(str, self.texts)
        if self.breaks is Breaks.BETWEEN_WORDS:
            texts = [word for text in texts for word in text.split()]
        widest = max(map(cell_len, texts), default=0)
        if self.breaks is Breaks.ANYWHERE:
            widest = min(widest, _SHORTEST)
        return max(widest, *map(cell_len, self.name.split()))


def figures(name: str, texts: Iterable[str | Text]) -> Folding:
    """A column of numbers."""
    return Folding(name, list(texts), justify="right")


def names(name: str, texts: Iterable[str]) -> Folding:
    """A column of names, which may be long."""
    return Folding(name, list(texts), Breaks.ANYWHERE)


def words(name: str, texts: Iterable[str]) -> Folding:
    """A column of a few words each."""
    return Folding(name, list(texts), Breaks.BETWEEN_WORDS)


def _widths(columns: Sequence[_Column], width: int) -> list[int]:
    """How wide each column is, so that all fit; 0: it is left out."""
    roomy = [max(column.width, cell_len(column.name)) for column in columns]
    if _needed(roomy) <= width:
        return roomy
    found = [column.width for column in columns]
    order = [(column.makes_room, index) for index, column in enumerate(columns) if column.makes_room is not None]
    for rank, index in sorted(order, reverse=True):
        over = _needed(found) - width
        if over <= 0:
            break
        left = found[index] - over
        found[index] = left if left >= _SHORTEST else (_SHORTEST if rank == 0 else 0)
    return found


def _needed(widths: Sequence[int]) -> int:
    shown = [width for width in widths if width]
    return sum(shown) + _GAP * max(0, len(shown) - 1)


def _print(columns: Sequence[_Column]) -> None:
    widths = _widths(columns, out.width)
    shown = [(column, width) for column, width in zip(columns, widths, strict=True) if width]
    table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="dim")
    for column, width in shown:
        justify: Any = column.justify
        table.add_column(column.name, width=width, justify=justify, overflow="ellipsis")
    for texts in zip(*(column.texts for column, _ in shown), strict=True):
        table.add_row(*(cell(_cut(text, width)) for text, (_, width) in zip(texts, shown, strict=True)))
    out.print(table)


def _cut(text: str, width: int) -> str:
    """No longer than `width` cells; the end is what is left out."""
    if cell_len(text) <= width:
        return text
    while cell_len(text) >= width:
        text = text[:-1]
    return f"{text}…"


def print_lines(columns: Sequence[Folding], styles: Sequence[str] = ()) -> None:
    """A line for each, in these `styles`; a block for each where not even the narrowest columns fit."""
    styles = styles or [""] * len(columns[0].texts)
    widths, narrowest = [column.full for column in columns], [column.narrowest for column in columns]
    if _needed(narrowest) > out.width:
        _print_blocks(columns, styles)
        return
    while _needed(widths) > out.width:
        roomy = (index for index, width in enumerate(widths) if width > narrowest[index])
        widths[max(roomy, key=widths.__getitem__)] -= 1
    table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="dim")
    for column, width in zip(columns, widths, strict=True):
        table.add_column(cell(column.name), width=width, justify=column.justify, overflow="fold")
    for style, *texts in zip(styles, *(column.texts for column in columns), strict=True):
        table.add_row(*map(_shown, texts), style=style)
    out.print(table)


def _print_blocks(columns: Sequence[Folding], styles: Sequence[str]) -> None:
    first, *others = columns
    label = max(cell_len(column.name) for column in others)
    for index, style in enumerate(styles):
        out.print(_shown(first.texts[index]), style=style)
        for column in others:
            if str(text := column.texts[index]):
                out.print(f"  [dim]{cell(column.name):<{label}}[/]  ", _shown(text), sep="")


def _shown(text: str | Text) -> str | Text:
    return text if isinstance(text, Text) else cell(text)


def print_rows(rows: Iterable[dict[str, Any]]) -> None:
    """Rows of the results table, with what they cost and where their video is."""
    rows = list(rows)
    again = [f"{row['generation']}." for row in rows] if any(row["generation"] > 1 for row in rows) else None
    _print(
        [
            _Column("key", [one_line(row["row_key"]) for row in rows], makes_room=0),
            *([_Column("made", again)] if again else []),
            _Column("state", [row["state"] for row in rows]),
            *(
                _Column(name, ["" if row[cost] is None else f"{row[cost]:,}" for row in rows], justify="right")
                for name, cost in zip(("frame cost", "charged", "final"), _COSTS, strict=True)
            ),
            _Column("video id", [one_line(row["video_id"] or "") for row in rows], makes_room=1),
            _Column("video", [one_line(_nearby(row["video_path"] or "")) for row in rows], makes_room=2),
        ]
    )


def print_credits(status: BatchStatus) -> None:
    """Where every credit of a batch went, by model and in all: a line for each, else a block for each."""
    money = {**status.by_model, "in all": status.credits}
    figures = {name: [f"{getattr(each, name):,}" for each in money.values()] for name in _MONEY}
    names = [f"  {one_line(model)}" for model in money]
    columns = [_Column("  model", names)]
    columns += [_Column(name.replace("_", " "), texts, justify="right") for name, texts in figures.items()]
    if _needed([column.width for column in columns]) <= out.width:
        _print(columns)
        return
    label = max(map(len, _MONEY))
    number = max(len(text) for texts in figures.values() for text in texts)
    for index, model in enumerate(names):
        out.print(cell(model))
        for name, texts in figures.items():
            out.print(f"    [dim]{name.replace('_', ' '):<{label}}[/]  {texts[index]:>{number}}")


def _nearby(path: str) -> str:
    """Relative to here where it is below."""
    here = f"{Path.cwd()}{os.sep}"
    return path.removeprefix(here)
