"""Prompts built from a row's other columns."""

from __future__ import annotations

from collections.abc import Sequence
from string import Formatter
from typing import NamedTuple

from reelbatch.errors import ManifestError


class PromptTemplate(NamedTuple):
    """A parsed template: literal texts, each followed by a column's value (None: by nothing).

    Values are pasted in as text. Nothing in a template is evaluated: no attributes, indexes or formats.
    """

    parts: tuple[tuple[str, str | None], ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the template reads, each once."""
        return tuple(dict.fromkeys(column for _, column in self.parts if column is not None))

    def fill(self, values: dict[str, str]) -> str:
        """The prompt for one row; `values` holds a text for each of `columns`."""
        return "".join(text + (values[column] if column else "") for text, column in self.parts).strip()


def parse_template(template: str, available: Sequence[str]) -> PromptTemplate:
    """Parse `template` and check that each column it names is one of `available`.

    Raises:
        ManifestError: the braces don't match, a field is more than a name, or a column is not there.
    """
    try:
        fields = list(Formatter().parse(template))
    except ValueError as error:
        raise _unusable(template, f"{error}. Write {{{{ and }}}} for braces that are part of the text") from error
    for _, column, form, conversion in fields:
        if column is not None and (form or conversion or not column.strip()):
            raise _unusable(template, "a field is more or less than a column's name. Write {title}, nothing else")
    parts = tuple((text, column if column is None else column.strip()) for text, column, _, _ in fields)
    for column in PromptTemplate(parts).columns:
        if column not in available:
            found = ", ".join(available)
            raise _unusable(template, f'the manifest has no column "{column}". It has: {found}')
    return PromptTemplate(parts)


def _unusable(template: str, why: str) -> ManifestError:
    return ManifestError(f'The prompt template "{template}" can\'t be used: {why}.')
