"""Which of the manifest's columns feeds which of ours."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from reelbatch.domain import REQUEST_FIELDS, Issue
from reelbatch.errors import ManifestError
from reelbatch.manifest.options import COLUMNS, KEY, ManifestOptions
from reelbatch.manifest.parsing import PARSERS, CellError, plain
from reelbatch.manifest.readers.base import bare_name
from reelbatch.manifest.template import PromptTemplate, parse_template

_NEAR = 0.84
_PARSERS = {each.name: PARSERS[each.kind] for each in REQUEST_FIELDS if not each.is_text}


@dataclass(frozen=True, slots=True)
class Layout:
    """How a row is put together."""

    sources: Mapping[str, str]  # our column -> the manifest's column, where it has one
    defaults: Mapping[str, str]
    template: PromptTemplate | None
    first: str | None  # our name of the manifest's first column
    warnings: tuple[Issue, ...]

    @property
    def wanted(self) -> tuple[str, ...]:
        """The manifest's columns that have to be read, each once."""
        template = self.template.columns if self.template else ()
        return tuple(dict.fromkeys([*self.sources.values(), *template]))

    def shown(self, column: str) -> str:
        """What the manifest calls our `column`."""
        return self.sources.get(column, column)


def plan_layout(name: str, found: Sequence[str], options: ManifestOptions) -> Layout:
    """Match the columns `found` in the manifest `name` with ours.

    Raises:
        ManifestError: a required or mapped column is not there, or an option names no column of ours.
    """
    _check_option("columns", options.columns)
    _check_option("defaults", options.defaults)
    sources = _sources(name, found, options.columns)
    defaults = {column: plain(value).strip() for column, value in options.defaults.items()}
    _check_defaults(defaults)
    template = None
    if options.prompt_template is not None:
        template = parse_template(options.prompt_template, found)
    unused = _unused(found, sources, template)
    for column in ("image_path", "prompt"):
        by_template = column == "prompt" and template
        if column not in sources and not defaults.get(column) and not by_template:
            raise _missing(name, column, found, unused)
    first = next((ours for ours, theirs in sources.items() if theirs == found[0]), None)
    return Layout(sources, defaults, template, first, tuple(_near_misses(unused, sources)))


def known_columns(options: ManifestOptions) -> frozenset[str]:
    """The names by which a header is recognised."""
    return frozenset([*COLUMNS, *options.columns.values()])


def _check_option(option: str, columns: Mapping[str, Any]) -> None:
    allowed = COLUMNS if option == "columns" else tuple(column for column in COLUMNS if column != KEY)
    for column in columns:
        if column not in allowed:
            hint = _did_you_mean(get_close_matches(column, allowed, 1))
            raise ManifestError(f'{option}: "{column}" can\'t be set.{hint} Possible: {", ".join(allowed)}.')


def _check_defaults(defaults: Mapping[str, str]) -> None:
    for column, value in defaults.items():
        try:
            if value and column in _PARSERS:
                _PARSERS[column](value)
        except CellError as error:
            raise ManifestError(f'defaults: {column} "{value}": {error.what}. {error.remedy}') from error


def _sources(name: str, found: Sequence[str], mapped: Mapping[str, str]) -> dict[str, str]:
    sources = {column: theirs for column in COLUMNS if (theirs := _named(column, found)) is not None}
    for column, stated in mapped.items():
        if (theirs := _named(stated.strip(), found)) is None:
            hint = _did_you_mean(get_close_matches(stated, found, 1))
            raise ManifestError(
                f'{name}: there is no column "{stated}" to take {column} from.{hint} Found: {_listed(found)}.'
            )
        sources[column] = theirs
    return sources


def _named(column: str, found: Sequence[str]) -> str | None:
    """The manifest's column of this name: just so, else the only one that differs in case, blanks or marks."""
    if column in found:
        return column
    alike = [theirs for theirs in found if bare_name(theirs) == bare_name(column)]
    return alike[0] if len(alike) == 1 else None


def _unused(found: Sequence[str], sources: Mapping[str, str], template: PromptTemplate | None) -> list[str]:
    used = {*sources.values(), *(template.columns if template else ())}
    return [column for column in found if column not in used and column not in COLUMNS]


def _near_misses(unused: Sequence[str], sources: Mapping[str, str]) -> Iterator[Issue]:
    open_columns = [column for column in COLUMNS if column not in sources]
    for theirs in unused:
        if ours := _closest(theirs, open_columns):
            remedy = f"Rename it, or map it (columns: {{{ours}: {theirs}}})."
            yield Issue(None, theirs, "", f"looks like {ours}, but is not used under this name", remedy)


def _missing(name: str, column: str, found: Sequence[str], unused: Sequence[str]) -> ManifestError:
    near = [theirs for theirs in unused if _closest(theirs, [column])]
    remedy = f"Rename one of them, or map it (columns: {{{column}: {(near or ['NAME'])[0]}}})."
    if column == "prompt":
        remedy += " A prompt template or a default will do as well."
    hint = _did_you_mean(near)
    return ManifestError(f"{name}: there is no column {column}.{hint} Found: {_listed(found)}. {remedy}")


def _closest(theirs: str, ours: Sequence[str]) -> str | None:
    bare = {re.sub(r"[\W_]", "", column): column for column in ours}
    near = get_close_matches(re.sub(r"[\W_]", "", theirs.lower()), bare, 1, _NEAR)
    return bare[near[0]] if near else None


def _did_you_mean(near: Sequence[str]) -> str:
    return f' Did you mean "{near[0]}"?' if near else ""


def _listed(found: Sequence[str]) -> str:
    return ", ".join(found) or "none"
