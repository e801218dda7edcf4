"""What rows have in common: the same settings give the same checks, cost and half of the fingerprint's text."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from reelbatch.domain import Request
from reelbatch.manifest import parsing
from reelbatch.manifest.column_mapping import Layout
from reelbatch.manifest.options import SETTINGS, Checks
from reelbatch.model_table import RequestIssue

_T = TypeVar("_T")
_MOST_SHAPES = 20_000
_MAX_WORD = 200
"""Characters of a model's or resolution's name."""


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
    json: tuple[str, str, str, str]  # what the fingerprint's JSON has before, between and after the texts


ShapeKey = tuple[bool, str, str, str, str, str, str]
"""Whether there is an end image, then the raw cells of SETTINGS."""


class Shapes(dict[ShapeKey, Shape]):
    """Every combination of settings met so far, computed on first sight."""

    def __init__(self, layout: Layout, checks: Checks) -> None:
        super().__init__()
        self._layout = layout
        self._checks = checks
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
        stated = {column: parsing.trimmed(cell) or defaults.get(column, "") for column, cell in raw.items()}
        parser = _Parser(stated)
        settings = Request(
            image_path="",
            prompt=None,
            end_seconds=parser.take("end_seconds", parsing.seconds),
            resolution=parser.take("resolution", _resolution),
            model=parser.take("model", self._model),
            audio=parser.take("audio", parsing.flag),
            end_image_path="-" if has_end else None,
            width=parser.take("width", parsing.pixels),
            height=parser.take("height", parsing.pixels),
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

    def _model(self, text: str) -> str:
        """A name as the table writes it, whatever the case; an unknown one as it stands."""
        table, lower = self._checks.models, text.lower()
        known = lower in table.models or lower in table.aliases or lower == "default"
        return lower if known else _word(text)


class _Parser:
    def __init__(self, stated: dict[str, str]) -> None:
        self._stated = stated
        self.faults: list[RequestIssue] = []

    def take(self, column: str, parse: Callable[[str], _T]) -> _T | None:
        text = self._stated[column]
        if not text:
            return None
        try:
            return parse(text)
        except parsing.CellError as error:
            self.faults.append(parsing.finding(column, text, error))
            return None


def _resolution(text: str) -> str:
    return _word(text).lower()


def _word(text: str) -> str:
    if len(text) > _MAX_WORD or not text.isprintable() or text in parsing.ERROR_VALUES:
        raise parsing.CellError("not a name", "Write a short name such as those in configs/models.yaml.")
    return text


def _deprecated(settings: Request) -> tuple[RequestIssue, ...]:
    if settings.width is None and settings.height is None:
        return ()
    column = "height" if settings.width is None else "width"
    remedy = "Leave width and height out; resolution sets the size."
    return (RequestIssue(column, "", "deprecated: the API accepts it, without effect", remedy, blocking=False),)


def _json_pieces(settings: Request) -> tuple[str, str, str, str]:
    """The canonical JSON, cut where texts go: before the end image, the image, the name and prompt, the end."""
    seconds = None if settings.end_seconds is None else float(settings.end_seconds)
    return (
        "{" + _before("audio", settings.audio),
        _before("end_seconds", seconds) + _before("height", settings.height) + '"image_path":',
        _after("model", settings.model),
        _after("resolution", settings.resolution) + _after("width", settings.width) + "}",
    )


def _before(key: str, value: Any) -> str:
    return "" if value is None else f'"{key}":{json.dumps(value)},'


def _after(key: str, value: Any) -> str:
    return "" if value is None else f',"{key}":{json.dumps(value)}'
