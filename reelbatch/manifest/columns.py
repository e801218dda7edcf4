"""A batch's cells, cleaned column by column: blanks off, defaults and template in, what can't be stored out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any, NamedTuple

from reelbatch.manifest import parsing
from reelbatch.manifest.column_mapping import Layout
from reelbatch.manifest.options import KEY, SETTINGS, TEXTS
from reelbatch.manifest.readers.base import RawRows
from reelbatch.manifest.settings_cache import Shape, Shapes
from reelbatch.model_table import RequestIssue


class Columns(NamedTuple):
    """One batch: "" where there is nothing."""

    keys: Sequence[str]
    images: Sequence[str]
    prompts: Sequence[str]
    ends: Sequence[str]
    names: Sequence[str]
    shapes: Sequence[Shape]


@dataclass(slots=True)
class BatchIssues:
    """What is wrong in one batch, by index."""

    found: defaultdict[int, list[RequestIssue]] = field(default_factory=lambda: defaultdict(list))
    garbled: set[int] = field(default_factory=set)  # rows whose cells can't be taken as they stand

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
    images, prompts, ends, names = (_texts(column, raw, layout, faults) for column in TEXTS)
    if layout.template:
        prompts = _templated(prompts, raw, layout, faults)
    if fallback := layout.defaults.get("prompt"):
        prompts = [prompt or fallback for prompt in prompts]
    settings = [_settings(column, raw, layout) for column in SETTINGS]
    return Columns(keys, images, prompts, ends, names, _shapes((list(map(bool, ends)), *settings), shapes))


def _shapes(settings: Sequence[Sequence[Any]], shapes: Shapes) -> list[Shape]:
    """The shape of each row; mostly all rows say the same."""
    if all(cells_ and cells_.count(cells_[0]) == len(cells_) for cells_ in settings):
        return [shapes[tuple(cells_[0] for cells_ in settings)]] * len(settings[0])
    return [shapes[key] for key in zip(*settings, strict=True)]


def _keys(raw: RawRows, layout: Layout, faults: BatchIssues) -> Sequence[str]:
    if KEY not in layout.sources:
        return [""] * len(raw.numbers)
    keys = [key.strip() for key in _sound(KEY, raw.columns[layout.sources[KEY]], faults)]
    if "" in keys:
        missing = RequestIssue(KEY, "", "missing", "Give every row a key of its own.")
        for index, key in enumerate(keys):
            if not key:
                faults.add(index, missing, garbled=True)
    return keys


def _texts(column: str, raw: RawRows, layout: Layout, faults: BatchIssues) -> list[str]:
    default = "" if column == "prompt" else layout.defaults.get(column, "")  # a template comes before it
    if column not in layout.sources:
        return [default] * len(raw.numbers)
    texts = _sound(column, raw.columns[layout.sources[column]], faults)
    if default:
        return [text.strip() or default for text in texts]
    return [text.strip() for text in texts]


def _sound(column: str, texts: list[str], faults: BatchIssues) -> list[str]:
    limit = parsing.MAX_KEY if column == KEY else parsing.MAX_TEXT
    if parsing.all_sound(texts, limit):
        return texts
    texts = [text if type(text) is not str else parsing.trimmed(text) for text in texts]
    for index, text in enumerate(texts):
        if fault := parsing.text_fault(column, text, limit):
            faults.add(index, fault, garbled=True)
            texts[index] = parsing.storable(text, limit)
    return texts


def _templated(prompts: list[str], raw: RawRows, layout: Layout, faults: BatchIssues) -> list[str]:
    template = layout.template
    if template is None:
        return prompts
    prompts = list(prompts)
    for index in [index for index, prompt in enumerate(prompts) if not prompt]:
        values = {column: raw.columns[column][index] for column in template.columns}
        wrong = [fault for column, text in values.items() if (fault := _template_fault(column, text))]
        for fault in wrong:
            faults.add(index, fault, garbled=True)
        prompt = template.fill({column: parsing.trimmed(text) for column, text in values.items()})
        if not wrong and (long := parsing.text_fault("prompt", prompt)):
            faults.add(index, long, garbled=True)
        prompts[index] = parsing.storable(prompt)
    return prompts


def _template_fault(column: str, text: str) -> RequestIssue | None:
    if not parsing.trimmed(text):
        remedy = "Fill it in, or give the row a prompt of its own."
        return RequestIssue(column, "", "empty, and the prompt template needs it", remedy)
    return parsing.text_fault(column, text)


def _settings(column: str, raw: RawRows, layout: Layout) -> Sequence[str]:
    source = layout.sources.get(column)
    return raw.columns[source] if source else list(repeat("", len(raw.numbers)))
