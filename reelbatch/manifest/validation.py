"""Rows out of cells: put together, checked, keyed and fingerprinted, a batch at a time.

Rows stay columns as long as nothing is wrong with them, and what can be wrong is looked for in whole columns.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from json.encoder import encode_basestring_ascii as quoted
from operator import attrgetter
from typing import Any

from reelbatch.domain import Fingerprint, Issue, Request, Row, RowKey, canonical_json
from reelbatch.manifest import parsing
from reelbatch.manifest.column_mapping import Layout
from reelbatch.manifest.columns import BatchIssues, Columns, clean, nothings
from reelbatch.manifest.image_checks import BatchImages, ImageChecks, shown_image
from reelbatch.manifest.options import KEY, CheckedRows, Checks
from reelbatch.manifest.readers.base import BrokenRow, RawRows
from reelbatch.manifest.settings_cache import TEXTS_IN_JSON, Shape, Shapes, member
from reelbatch.model_table import RequestIssue
from reelbatch.row_batch import RowColumns


class RowChecker:
    """Checks one reading of a manifest."""

    def __init__(self, layout: Layout, checks: Checks, base: str) -> None:
        self._layout = layout
        self._variants = layout.variants
        self._shapes = Shapes(layout, checks)
        self._images = ImageChecks(checks, base)
        self.notices = FileWarnings(layout)

    @property
    def assumed(self) -> list[str]:
        """Models that the estimates of rows without a model took so far."""
        return sorted(self._shapes.assumed)

    def check(self, raw: RawRows) -> CheckedRows:
        """Check one batch. Its warnings are kept for the end, in `notices`."""
        faults = BatchIssues()
        columns = clean(raw, self._layout, self._shapes, faults)
        images = self._images.look(columns.images, columns.ends)
        self._judge(raw.numbers, columns, images, faults)
        assembled = assemble(raw.numbers, columns, (images.stats, images.sizes))
        if not (faults.found or raw.broken):
            return CheckedRows(assembled, [], [])
        rows = list(assembled)
        problems = []
        for index, found in faults.found.items():
            key, row = columns.keys[index], rows[index]
            if index in faults.garbled:
                hashed = self._hash_of_cells(raw, index)
                own = key and KEY not in {fault.column for fault in found}  # a key that can't be taken is none
                row_key = RowKey(key if own else self._own_key(hashed, row.row_number))
                row = row._replace(row_key=row_key, fingerprint=hashed)
            once = self._told_once(found)
            unseen = all(fault.unseen for fault in found)
            rows[index] = row._replace(credits_estimated=None, problem=self._listed(once), unseen=unseen)
            problems += [self._problem(self._in_file(row.row_number), fault) for fault in once]
        for broken in raw.broken:
            rows.append(self._broken_row(broken))
            problems.append(_broken_problem(broken, self._in_file(broken.number)))
        if raw.broken:
            rows.sort(key=lambda row: row.row_number)
        problems.sort(key=lambda problem: problem.row_number or 0)
        if self._variants:  # what is wrong with a row is wrong with each of its variants
            problems = list(dict.fromkeys(problems))
        return CheckedRows(rows, problems, [])

    def _told_once(self, found: Sequence[RequestIssue]) -> list[RequestIssue]:
        """Without what was found again in the same cell, which is both name and part of the prompt."""
        return list({fault._replace(column=self._layout.shown(fault.column)): fault for fault in found}.values())

    def _in_file(self, number: int) -> int:
        return self._variants.row_in_file(number) if self._variants else number

    def _own_key(self, key: str, number: int) -> str:
        return self._variants.key_of(key, number) if self._variants else key

    def _judge(self, numbers: Sequence[int], columns: Columns, images: BatchImages, faults: BatchIssues) -> None:
        self._judge_settings(numbers, columns, faults)
        if not all(columns.images):
            missing = RequestIssue(
                "image_path", "", "missing", "Name a file, a URL, an api-assets/ or a saved-items/ path."
            )
            _note_empty(columns.images, missing, faults)
        if not all(columns.texts["prompt"]):
            missing = RequestIssue("prompt", "", "missing", "Say what is to happen, or set a template or a default.")
            _note_empty(columns.texts["prompt"], missing, faults)
        for index, issue in (*faults.odd, *nothings("prompt", columns.texts["prompt"])):
            self.notices.add(issue, self._in_file(numbers[index]), per_value=True)
        for index, finding in images.findings:
            if finding.column in faults.columns(index):
                continue
            if finding.blocking:
                faults.add(index, finding)
            else:
                self.notices.add(finding, self._in_file(numbers[index]))

    def _judge_settings(self, numbers: Sequence[int], columns: Columns, faults: BatchIssues) -> None:
        for index, shape in enumerate(columns.shapes):
            if not shape.remarkable:
                continue
            for fault in shape.faults:
                # Of an end image, a shape knows that there is one, and not which.
                value = shown_image(columns.ends[index]) if fault.column == "end_image_path" else fault.value
                faults.add(index, fault._replace(value=value), garbled=not shape.parsed)
            for notice in shape.notices:
                self.notices.add(notice, self._in_file(numbers[index]), per_value=notice.column == "model")
            if shape.aspect_ratios and (wrong := self._images.aspect(columns.images[index], shape.aspect_ratios)):
                faults.add(index, wrong)

    def _hash_of_cells(self, raw: RawRows, index: int) -> Fingerprint:
        """An identity for a row that makes no request: other cells, other identity."""
        return _sha256(canonical_json({column: texts[index] for column, texts in raw.columns.items()}))

    def _broken_row(self, broken: BrokenRow) -> Row:
        """A row of which only the first cell is known: nothing in front of it can have moved it."""
        hashed = _sha256(f"{broken.number} {broken.text}")  # two may have the same text
        first = self._layout.first
        cell = broken.first_cell if parsing.text_fault(KEY, broken.first_cell, parsing.MAX_KEY) is None else ""
        request = Request(image_path=cell if first == "image_path" else "", prompt=None, end_seconds=None)
        key = self._own_key(cell if first == KEY and cell else hashed, broken.number)
        return Row(RowKey(key), broken.number, request, hashed, None, f"{broken.what}. {broken.remedy}")

    def _problem(self, number: int, fault: RequestIssue) -> Issue:
        return Issue(number, self._layout.shown(fault.column), fault.value, fault.what, fault.remedy)

    def _listed(self, found: Sequence[RequestIssue]) -> str:
        return " ".join(
            f'column "{self._layout.shown(fault.column)}": {fault.what}. {fault.remedy}' for fault in found
        )


def assemble(
    numbers: Sequence[int], columns: Columns, stats: tuple[Sequence[str | None], Sequence[int | None]] | None = None
) -> RowColumns:
    """Put rows together; the fingerprint's JSON is written out here, equal to `Request.fingerprint`'s."""
    keys, texts, shapes = columns
    pieces = zip(*_of_each(shapes, attrgetter("json")), strict=True)
    written = (_in_json(column, texts[column]) for column in TEXTS_IN_JSON)
    sha256 = hashlib.sha256
    texts_of_rows = map("".join, zip(*_between(pieces, written), strict=True))
    fingerprints = [sha256(text).hexdigest() for text in map(str.encode, texts_of_rows)]
    settings = zip(Request._fields, zip(*_of_each(shapes, attrgetter("settings")), strict=True), strict=False)
    stated = (
        dict.fromkeys(Request._fields, ())
        | dict(settings)
        | {column: cells if column == "image_path" else _or_none(cells) for column, cells in texts.items()}
    )
    credits_ = list(_of_each(shapes, attrgetter("credits")))
    keyed = keys if all(keys) else [key or own for key, own in zip(keys, fingerprints, strict=True)]
    sound = ([None] * len(keys), [False] * len(keys))
    nothing = [None] * len(keys)
    return RowColumns(
        (keyed, numbers, *stated.values(), fingerprints, credits_, *sound, *(stats or (nothing, nothing)))
    )


def _of_each(shapes: Sequence[Shape], attribute: Callable[[Shape], Any]) -> Iterable[Any]:
    """An attribute of each shape; mostly they are all the same one."""
    if shapes and shapes.count(shapes[0]) == len(shapes):
        return [attribute(shapes[0])] * len(shapes)
    return map(attribute, shapes)


def _between(pieces: Iterable[Sequence[str]], texts: Iterable[Iterable[str]]) -> Iterator[Iterable[str]]:
    """A piece, a text, a piece, and so on, each for all rows; without those that are empty in every row."""
    following = iter(texts)
    for piece in pieces:
        if any(piece):
            yield piece
        yield from filter(None, islice(following, 1))


def _in_json(column: str, texts: Sequence[str]) -> Iterable[str]:
    """What the JSON has of each of `texts`: the image's address, of another column its member; nothing for none."""
    if column == "image_path":
        return map(quoted, texts)
    if not any(texts):
        return ()
    before, after = member(column, "{}").split("{}")
    return [f"{before}{quoted(text)}{after}" if text else "" for text in texts]


def _or_none(texts: Sequence[str]) -> Sequence[str | None]:
    return texts if all(texts) else [text or None for text in texts]


def _note_empty(texts: Sequence[str], missing: RequestIssue, faults: BatchIssues) -> None:
    for index, text in enumerate(texts):
        if not text and missing.column not in faults.columns(index):
            faults.add(index, missing)


def _broken_problem(broken: BrokenRow, number: int) -> Issue:
    where = "" if broken.line is None else f"line {broken.line:,}: "
    value = parsing.storable(f"{where}{broken.text}", parsing.MAX_SHOWN)
    return Issue(number, None, value, broken.what, broken.remedy)


def _sha256(text: str) -> Fingerprint:
    return Fingerprint(hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest())


_MOST = 1000


@dataclass(slots=True)
class _Warning:
    finding: RequestIssue
    first_row: int
    rows: int = 0


class FileWarnings:
    """Counts the rows of every warning."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._notices: dict[tuple[str, str, str], _Warning] = {}

    def add(self, finding: RequestIssue, row: int, *, per_value: bool = False) -> None:
        """Note `finding` for a row; `per_value`: a warning of its own for each value."""
        key = (finding.column, finding.what, finding.value if per_value else "")
        if key not in self._notices:
            if len(self._notices) >= _MOST:
                return
            self._notices[key] = _Warning(finding, row)
        self._notices[key].rows += 1

    def problems(self) -> list[Issue]:
        """The warnings about columns, then those about rows, with how many rows each concerns."""
        return [*self._layout.warnings, *map(self._problem, self._notices.values())]

    def _problem(self, notice: _Warning) -> Issue:
        column, value, what, remedy, *_ = notice.finding
        if notice.rows > 1:
            what = f"{what} (so in {notice.rows:,} rows)"
        return Issue(notice.first_row, self._layout.shown(column), value, what, remedy)
