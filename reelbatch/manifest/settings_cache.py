"""What rows have in common: the same settings give the same checks, cost and half of the fingerprint's text."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from reelbatch.domain import REQUEST_FIELDS, FieldKind, Request
from reelbatch.manifest import parsing
from reelbatch.manifest.column_mapping import Layout
from reelbatch.manifest.options import SETTINGS, Checks
from reelbatch.model_table import RequestIssue

_T = TypeVar("_T")
_MOST_SHAPES = 20_000
_IN_JSON = sorted(REQUEST_FIELDS, key=lambda each: each.name)
"""The fields in the order of canonical JSON."""
TEXTS_IN_JSON = tuple(each.name for each in _IN_JSON if each.is_text)


class Shape(NamedTuple):
    """All that follows from a row's settings."""

    settings: Request  # without texts
    faults: tuple[RequestIssue, ...]
    notices: tuple[RequestIssue, ...]
    parsed: bool  # False: a cell could not be understood
    credits: int | None
    aspect_ratios: tuple[str, ...]
    remarkable: bool  # there are faults, notices or aspect ratios to look at
    assumed: str | None  # the model that the estimate takes the API's default to be
    json: tuple[str, ...]  # what the fingerprint's JSON has before, between and after TEXTS_IN_JSON


ShapeKey = tuple[Any, ...]
"""Whether there is an end image, then the raw cells of SETTINGS."""


class Shapes(dict[ShapeKey, Shape]):
    """Every combination of settings met so far, computed on first sight."""

    def __init__(self, layout: Layout, checks: Checks) -> None:
        super().__init__()
        self._layout = layout
        self._checks = checks
        self._parsers = {each.name: self._parser(each.kind) for each in REQUEST_FIELDS if not each.is_text}
        self.assumed: set[str] = set()  # models that estimates of rows without a model took

    def __missing__(self, key: ShapeKey) -> Shape:
        if len(self) >= _MOST_SHAPES:
            self.clear()
        shape = self._shape(key[0], dict(zip(SETTINGS, key[1:], strict=True)))
        self[key] = shape
        if shape.assumed is not None:
            self.assumed.add(shape.assumed)
        return shape

    def _shape(self, has_end: bool, raw: dict[str, str]) -> Shape:
        defaults = self._layout.defaults
        stated = {column: _trimmed(cell) or defaults.get(column, "") for column, cell in raw.items()}
        parser = _Parser(stated)
        settings = Request(
            image_path="",
            prompt=None,
            end_image_path="-" if has_end else None,
            **{column: parser.take(column, parse) for column, parse in self._parsers.items()},
        )
        parsed = not parser.faults
        if not stated["end_seconds"]:
            remedy = "Fill it in, or set a default (defaults: {end_seconds: 5})."
            parser.faults.append(RequestIssue("end_seconds", "", "missing", remedy))
        return self._judged(settings, parser.faults, parsed=parsed)

    def _judged(self, settings: Request, faults: list[RequestIssue], *, parsed: bool) -> Shape:
        checks = self._checks
        findings = [] if faults else checks.models.check(settings, tier=checks.tier, profile=checks.profile)
        faults = faults + [finding for finding in findings if finding.blocking]
        resolved = checks.models.resolve(settings, tier=checks.tier, profile=checks.profile)
        aspect_ratios = resolved.model.aspect_ratios if resolved.model else ()
        deprecated = _deprecated(settings)
        credits_ = None if faults else self._estimate(settings)
        return Shape(
            settings=settings,
            faults=tuple(faults),
            notices=(*deprecated, *(finding for finding in findings if not finding.blocking)),
            parsed=parsed,
            credits=credits_,
            aspect_ratios=aspect_ratios,
            remarkable=bool(faults or findings or aspect_ratios or deprecated),
            assumed=resolved.name if resolved.assumed and credits_ is not None else None,
            json=_json_pieces(settings),
        )

    def _estimate(self, settings: Request) -> int | None:
        checks = self._checks
        return checks.models.estimate(settings, tier=checks.tier, profile=checks.profile, rate=checks.rate)

    def _parser(self, kind: FieldKind) -> Callable[[str], Any]:
        return self._model if kind is FieldKind.MODEL else parsing.PARSERS[kind]

    def _model(self, text: str) -> str:
        """A name as the table writes it, whatever the case; an unknown one as it stands."""
        table, lower = self._checks.models, text.lower()
        known = lower in table.models or lower in table.aliases or lower == "default"
        return lower if known else parsing.word(text)


def _trimmed(cell: str) -> str:
    """What is no value at all stays what it is: trimmed, a list would be a text like any other."""
    return cell if parsing.kind_fault(cell) else parsing.trimmed(cell)


class _Parser:
    def __init__(self, stated: dict[str, str]) -> None:
        self._stated = stated
        self.faults: list[RequestIssue] = []

    def take(self, column: str, parse: Callable[[str], _T]) -> _T | None:
        text = self._stated[column]
        if not text:
            return None
        try:
            if fault := parsing.kind_fault(text):
                raise fault
            return parse(text)
        except parsing.CellError as error:
            self.faults.append(parsing.finding(column, text, error))
            return None


def _deprecated(settings: Request) -> tuple[RequestIssue, ...]:
    if settings.width is None and settings.height is None:
        return ()
    column = "height" if settings.width is None else "width"
    remedy = "Leave width and height out; resolution sets the size."
    return (RequestIssue(column, "", "deprecated: the API accepts it, without effect", remedy, blocking=False),)


def _json_pieces(settings: Request) -> tuple[str, ...]:
    """The canonical JSON, cut where texts go: a piece before each of TEXTS_IN_JSON, and one after the last.

    The image is always there: what comes before it ends with a comma, and what comes after it begins with one.
    """
    pieces, written = [], "{"
    for each in _IN_JSON:
        if each.is_text:
            pieces.append(written + ('"image_path":' if each.name == "image_path" else ""))
            written = ""
        else:
            written += member(each.name, _json_value(settings, each.name))
    return (*pieces, written + "}")


def _json_value(settings: Request, column: str) -> str:
    value = getattr(settings, column)
    if value is None:
        return ""
    return json.dumps(float(value) if column == "end_seconds" else value)


def member(column: str, written: str) -> str:
    """A member of the JSON, with its comma; nothing for an empty one. `written`: its value as JSON."""
    if not written:
        return ""
    return f'"{column}":{written},' if column < "image_path" else f',"{column}":{written}'
