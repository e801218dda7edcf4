"""Prompts built from a row's other columns."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from reelbatch.errors import ManifestError
from reelbatch.manifest.readers.base import unbroken

_TOKEN = re.compile(
    r"""(?P<doubled> \{\{ | \}\} | \[\[ | \]\] )
      | \{ \s* " (?P<quoted> (?: [^"] | "" )* ) " \s* \}
      | \{ (?P<name> [^{}]* ) \}
      | (?P<sign> [][{}] )
      | (?P<text> [^][{}]+ )""",
    re.VERBOSE,
)
_NAMES = 'Write {title}, or {"Meta: title"} where a name has signs in it'
_BRACKETS = "Write [[ and ]] for brackets that are part of the text"
_BRACES = "Write {{ and }} for braces that are part of the text"


class Piece(NamedTuple):
    """A literal text, or the name of a column whose value stands in its place."""

    text: str
    is_column: bool


class Section(NamedTuple):
    """A part of a template; an optional one is left out where one of its columns is empty."""

    pieces: tuple[Piece, ...]
    optional: bool

    @property
    def columns(self) -> list[str]:
        """The columns that it reads."""
        return [piece.text for piece in self.pieces if piece.is_column]


class PromptTemplate(NamedTuple):
    """A parsed template.

    Values are pasted in as text. Nothing in a template is evaluated: no attributes, indexes or formats.
    """

    sections: tuple[Section, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the template reads, each once."""
        return tuple(dict.fromkeys(column for section in self.sections for column in section.columns))

    @property
    def needed(self) -> tuple[str, ...]:
        """Those of them without which there is no prompt."""
        sections = [section for section in self.sections if not section.optional]
        return tuple(dict.fromkeys(column for section in sections for column in section.columns))

    def fill(self, values: Mapping[str, Sequence[str]], rows: int) -> list[str]:
        """The prompts for `n` rows; `values` holds their texts for each of `columns`."""
        sections = (_filled(section, values, rows) for section in self.sections)
        return ["".join(parts).strip() for parts in zip(*sections, strict=True)]


def _filled(section: Section, values: Mapping[str, Sequence[str]], rows: int) -> Iterable[str]:
    pieces = [values[piece.text] if piece.is_column else [piece.text] * rows for piece in section.pieces]
    texts = map("".join, zip(*pieces, strict=True)) if pieces else [""] * rows
    if not section.optional:
        return texts
    there = map(all, zip(*(values[column] for column in section.columns), strict=True))
    return [text if wanted else "" for text, wanted in zip(texts, there, strict=True)]


def parse_template(template: str) -> PromptTemplate:
    """Parse `template`.

    Raises:
        ManifestError: braces or brackets don't match, a field has no name, or an optional part no column.
    """
    return PromptTemplate(tuple(_sections(template)))


def unusable(template: str, why: str) -> str:
    """What is said of a template that can't be used."""
    return f'The prompt template "{template}" can\'t be used: {why}.'


def _sections(template: str) -> Iterator[Section]:
    pieces: list[Piece] = []
    optional = False
    for token in _TOKEN.finditer(template):
        sign = token["sign"]
        if sign is None:
            pieces.append(_piece(template, token))
        elif sign in "{}":
            raise ManifestError(unusable(template, f"a {sign} stands by itself. {_BRACES}"))
        elif (sign == "]") != optional:
            raise ManifestError(
                unusable(template, f"a {sign} has no other end, or stands within another. {_BRACKETS}")
            )
        else:
            yield _section(template, pieces, optional=optional)
            pieces, optional = [], not optional
    if optional:
        raise ManifestError(unusable(template, f"a [ is not closed. {_BRACKETS}"))
    yield Section(tuple(pieces), optional=False)


def _section(template: str, pieces: list[Piece], *, optional: bool) -> Section:
    section = Section(tuple(pieces), optional)
    if optional and not section.columns:
        raise ManifestError(unusable(template, f"there is no column between [ and ]. {_BRACKETS}"))
    return section


def _piece(template: str, token: re.Match[str]) -> Piece:
    if token["text"] is not None or token["doubled"]:
        return Piece(token["text"] or token["doubled"][0], is_column=False)
    name = token["name"].strip() if token["quoted"] is None else token["quoted"].replace('""', '"').strip()
    name = unbroken(name)
    if not name:
        raise ManifestError(unusable(template, f"a field is more or less than a column's name. {_NAMES}"))
    return Piece(name, is_column=True)


def field(column: str) -> str:
    """How a template names a column."""
    plain = not set(column) & set('{}"!:') and column == column.strip()
    return f"{{{column}}}" if plain else '{"' + column.replace('"', '""') + '"}'


def as_format(name: str, found: Collection[str]) -> str | None:
    """Why a field that is no column is none: it says how a column is to be formatted."""
    column, sign, _ = re.split(r"([!:])", f"{name}:", maxsplit=1)
    if len(name) == len(column) or column.strip() not in found:
        return None
    return f"a field is more or less than a column's name, and {sign} is a part of no name here. {_NAMES}"
