"""A batch's cells, cleaned column by column: blanks off, defaults and template in, what can't be stored out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any, NamedTuple

from reelbatch.manifest import parsing
from reelbatch.manifest.column_mapping import Layout
from reelbatch.manifest.image_cells import IMAGE_COLUMNS
from reelbatch.manifest.options import KEY, SETTINGS, TEXTS
from reelbatch.manifest.readers.base import RawRows
from reelbatch.manifest.settings_cache import Shape, Shapes
from reelbatch.model_table import RequestIssue

_EMPTY_IN_TEMPLATE = RequestIssue(
    "", "", "empty, and the prompt template needs it", "Fill it in, or give the row a prompt of its own."
)

_NOTHING = RequestIssue(
    "",
    "",
    "a word that scripts write where there is nothing",
    "Empty the cell if it is not meant.",
    blocking=False,
)
_LONGEST_NOTHING = max(map(len, parsing.NOTHINGS))


class Columns(NamedTuple):
    """One batch: "" where there is nothing."""

    keys: Sequence[str]
    texts: Mapping[str, Sequence[str]]  # by column
    shapes: Sequence[Shape]

    @property
    def images(self) -> Sequence[str]:
        """The images' paths and addresses."""
        return self.texts["image_path"]

    @property
    def ends(self) -> Sequence[str]:
        """Those of the end images."""
        return self.texts["end_image_path"]


@dataclass(slots=True)
class BatchIssues:
    """What is wrong in one batch, by index."""

    found: defaultdict[int, list[RequestIssue]] = field(default_factory=lambda: defaultdict(list))
    garbled: set[int] = field(default_factory=set)  # rows whose cells can't be taken as they stand
    odd: list[tuple[int, RequestIssue]] = field(default_factory=list)  # which keeps no row back

    def add(self, index: int, finding: RequestIssue, *, garbled: bool = False) -> None:
        """Note that the row at `index` can't be sent."""
        self.found[index].append(finding)
        if garbled:
            self.garbled.add(index)

    def columns(self, index: int) -> set[str]:
        """The columns that are already known to be wrong in the row at `index`."""
        return {finding.column for finding in self.found.get(index, ())}


def clean(raw: RawRows, layout: Layout, shapes: Shapes, faults: BatchIssues) -> Columns:
    """Clean one batch; what can't be taken is noted in `faults` and replaced by something storable."""
    keys = _keys(raw, layout, faults)
    texts = {column: _texts(column, raw, layout, faults) for column in TEXTS}
    if layout.template:
        texts["prompt"] = _templated(texts["prompt"], raw, layout, faults)
    if fallback := layout.defaults.get("prompt"):
        texts["prompt"] = [prompt or fallback for prompt in texts["prompt"]]
    settings = [_settings(column, raw, layout) for column in SETTINGS]
    if variants := layout.variants:
        keys, texts["prompt"] = variants.keys(keys), variants.prompts(texts["prompt"])
        settings = [variants.settings(column, cells) for column, cells in zip(SETTINGS, settings, strict=True)]
    ends = list(map(bool, texts["end_image_path"]))
    return Columns(keys, texts, _shapes((ends, *settings), shapes))


def _shapes(settings: Sequence[Sequence[Any]], shapes: Shapes) -> list[Shape]:
    """The shape of each row; mostly all rows say the same."""
    if all(cells_ and cells_.count(cells_[0]) == len(cells_) for cells_ in settings):
        return [shapes[tuple(cells_[0] for cells_ in settings)]] * len(settings[0])
    return [shapes[key] for key in zip(*settings, strict=True)]


def _keys(raw: RawRows, layout: Layout, faults: BatchIssues) -> Sequence[str]:
    if not layout.key:
        return [""] * len(raw.numbers)
    if len(layout.key) > 1:
        return _joined_keys(raw, layout, faults)
    keys = [key.strip() for key in _sound(KEY, raw.columns[layout.key[0]], faults, layout.longest_key)]
    missing = RequestIssue(KEY, "", "missing", "Give every row a key of its own.")
    _note_missing(keys, missing, faults)
    return keys


def _joined_keys(raw: RawRows, layout: Layout, faults: BatchIssues) -> Sequence[str]:
    """Keys of several columns; where one of them is empty there is no key."""
    parts = []
    for column in layout.key:
        parts.append([part.strip() for part in _sound(column, raw.columns[column], faults, layout.longest_key)])
        remedy = "Fill it in, in the manifest or with fill_down, or leave such rows out with where."
        _note_missing(parts[-1], RequestIssue(column, "", "empty, and a part of the key", remedy), faults)
    keys = ["-".join(cells) if all(cells) else "" for cells in zip(*parts, strict=True)]
    return _sound(KEY, keys, faults, layout.longest_key)


def _note_missing(parts: Sequence[str], missing: RequestIssue, faults: BatchIssues) -> None:
    if "" in parts:
        for index, part in enumerate(parts):
            if not part:
                faults.add(index, missing, garbled=True)


def _texts(column: str, raw: RawRows, layout: Layout, faults: BatchIssues) -> Sequence[str]:
    default = "" if column == "prompt" else layout.defaults.get(column, "")  # a template comes before it
    if column not in layout.sources:
        return [default] * len(raw.numbers)
    texts: Sequence[str] = [text.strip() for text in _sound(column, raw.columns[layout.sources[column]], faults)]
    if layout.images and column in IMAGE_COLUMNS:
        texts = layout.images.addresses(column, texts)
    return [text or default for text in texts] if default else texts


def _sound(column: str, texts: Sequence[str], faults: BatchIssues, limit: int = parsing.MAX_TEXT) -> Sequence[str]:
    if parsing.all_sound(texts, limit):
        return texts
    texts = [text if type(text) is not str else parsing.trimmed(text) for text in texts]
    for index, text in enumerate(texts):
        if fault := parsing.text_fault(column, text, limit):
            faults.add(index, fault, garbled=True)
            texts[index] = parsing.storable(text, limit)
    return texts


def _templated(prompts: Sequence[str], raw: RawRows, layout: Layout, faults: BatchIssues) -> Sequence[str]:
    """The same with the template's prompts in rows that have none of their own."""
    rows = [index for index, prompt in enumerate(prompts) if not prompt]
    template = layout.template
    if template is None or not rows:
        return prompts
    cells = {column: [raw.columns[column][row] for row in rows] for column in template.columns}
    values = {column: [parsing.trimmed(cell) for cell in of] for column, of in cells.items()}
    made = dict(zip(rows, template.fill(values, len(rows)), strict=True))
    for column, of in values.items():
        faults.odd += [(rows[place], issue) for place, issue in nothings(column, of)]
    wrong = _unfilled({column: values[column] for column in template.needed}, rows, layout, faults)
    if layout.defaults.get("prompt"):
        made |= dict.fromkeys(wrong, "")
    for column, of in cells.items():
        wrong |= _unsound(column, of, rows, faults)
    wrong |= _unsound("prompt", list(made.values()), rows, faults, but=wrong)
    made |= {row: parsing.storable(made[row]) for row in wrong}
    return [prompt or made[row] for row, prompt in enumerate(prompts)]


def nothings(column: str, texts: Sequence[str]) -> Iterator[tuple[int, RequestIssue]]:
    """The `texts` that are a word which scripts write where there is nothing, by index; it may be meant."""
    if min(map(len, texts), default=0) > _LONGEST_NOTHING or parsing.NOTHINGS.isdisjoint(texts):
        return
    for index, text in enumerate(texts):
        if text in parsing.NOTHINGS:
            yield index, _NOTHING._replace(column=column, value=text)


def _unfilled(
    needed: Mapping[str, Sequence[str]], rows: Sequence[int], layout: Layout, faults: BatchIssues
) -> set[int]:
    """The rows in which a column that the template needs is empty: a default comes next, or they are invalid."""
    unfilled = set()
    for column, values in needed.items():
        empty = [] if all(values) else [row for row, value in zip(rows, values, strict=True) if not value]
        unfilled.update(empty)
        for row in () if layout.defaults.get("prompt") else empty:
            faults.add(row, _EMPTY_IN_TEMPLATE._replace(column=column), garbled=True)
    return unfilled


def _unsound(
    column: str, texts: Sequence[str], rows: Sequence[int], faults: BatchIssues, but: Collection[int] = ()
) -> set[int]:
    """Note the rows whose text can't be taken, `but` for those of which that is clear already."""
    if parsing.all_sound(texts):
        return set()
    found = {row: parsing.text_fault(column, text) for row, text in zip(rows, texts, strict=True) if row not in but}
    wrong = {row: fault for row, fault in found.items() if fault}
    for row, fault in wrong.items():
        faults.add(row, fault, garbled=True)
    return set(wrong)


def _settings(column: str, raw: RawRows, layout: Layout) -> Sequence[str]:
    source = layout.sources.get(column)
    return raw.columns[source] if source else list(repeat("", len(raw.numbers)))
