"""The columns that a manifest has, and those that it lacks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from typing import NamedTuple

from reelbatch.errors import ManifestError
from reelbatch.manifest.readers.base import bare_name, short_name, title_above, without_place

_NEAR = 0.84
_NEAR_NAME = 0.6
_MOST = 100
"""Columns that a message lists."""


class Missing(NamedTuple):
    """A column that is not there: in what words, what may be meant, and what to do."""

    what: str
    hint: str = ""
    remedy: str = ""

    def __str__(self) -> str:
        """Without what there is instead."""
        return f"{self.what}.{self.hint} {self.remedy}".rstrip()


class FoundColumns:
    """The columns `found` in the manifest `name`; those that are missing are gathered, to be named all at once."""

    def __init__(self, name: str, found: Sequence[str]) -> None:
        self.name = name
        self.found = found
        self.missing: list[Missing] = []

    def named(self, stated: str) -> str | None:
        """The column of this name: exactly, else the only one that differs in case, blanks or marks."""
        if stated in self.found:
            return stated
        alike = [theirs for theirs in self.found if bare_name(theirs) == bare_name(stated)]
        return alike[0] if len(alike) == 1 else None

    def refuse_twins(self, ours: Iterable[str]) -> None:
        """See that none of our columns could be one as well as another of the manifest's.

        Raises:
            ManifestError: one could.
        """
        for column in ours:
            alike = self._alike(column)
            if len(alike) > 1 and column not in self.found:
                names = " and ".join(f'"{name}"' for name in alike)
                remedy = f"Rename all but one, or say which is meant (columns: {{{column}: {alike[0]}}}; null: none)."
                raise ManifestError(f"{self.name}: more than one column is called {column}: {names}. {remedy}")

    def _alike(self, stated: str) -> list[str]:
        """Columns of this name but for case, blanks, marks and places."""
        bare = bare_name(stated)
        return [theirs for theirs in self.found if bare in {bare_name(theirs), bare_name(without_place(theirs))}]

    def each(self, option: str, stated: Iterable[str]) -> tuple[str, ...]:
        """The columns that a setting names; one that is missing is noted."""
        return tuple(self._taken(option, column) for column in stated)

    def _taken(self, option: str, stated: str) -> str:
        theirs = self.named(stated.strip())
        if theirs is None:
            hint = self.did_you_mean(stated)
            self.missing.append(Missing(f'there is no column "{stated}", which {option} names', hint))
        return theirs or stated

    def did_you_mean(self, stated: str, written: Callable[[str], str] = '"{}"'.format) -> str:
        """A hint at the column whose name is nearest."""
        alike = self._alike(stated)
        lower = {theirs.casefold(): theirs for theirs in self.found}
        near = alike or [lower[name] for name in get_close_matches(stated.casefold(), lower, 1, _NEAR_NAME)]
        return f" Did you mean {written(near[0])}?" if near else ""

    def refuse_missing(self) -> None:
        """Name the columns that are missing.

        Raises:
            ManifestError: there are some.
        """
        once = list(dict.fromkeys(self.missing))
        more = f" and {len(self.found) - _MOST:,} more" if len(self.found) > _MOST else ""
        listed = f"Found: {', '.join(map(short_name, self.found[:_MOST])) or 'none'}{more}."
        title = filter(None, [title_above(self.found)])
        if len(once) == 1:
            what, hint, remedy = once[0]
            raise ManifestError(f"{self.name}: {what}.{hint} {listed} {remedy}".rstrip(), *title)
        if once:
            lines = [*map("  {}".format, once), listed, *title]
            raise ManifestError(f"{self.name}: {len(once)} columns are missing:", *lines)


def closest(theirs: str, ours: Iterable[str]) -> str | None:
    """Which of our columns a manifest's own name is nearly the same as."""
    bare = {re.sub(r"[\W_]", "", column): column for column in ours}
    near = get_close_matches(re.sub(r"[\W_]", "", theirs.lower()), bare, 1, _NEAR)
    return bare[near[0]] if near else None
