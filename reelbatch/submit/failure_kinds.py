"""The kinds of failure that a run met: a warning for each, however many rows it was."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from reelbatch.printable import counted, one_line

_log = logging.getLogger("reelbatch")
_GIVEN_BACK = "given back unsent"
_WORDS_LIMIT = 300


@dataclass(slots=True)
class _Met:
    rows: int
    words: str  # of the first


@dataclass(slots=True)
class FailureKinds:
    """Rows by what became of them and why."""

    _met: dict[tuple[str, str], _Met] = field(default_factory=dict)

    def met(self, what: str, code: str | None, words: str | None) -> None:
        """A row failed. The first one's words stand for all of its kind."""
        kind = (what, code or "")
        if kind in self._met:
            self._met[kind].rows += 1
        else:
            self._met[kind] = _Met(1, one_line(words or code or "no reason was given")[:_WORDS_LIMIT])

    def gave_back(self, code: str, words: str | None) -> None:
        """A row was given back, and the next run may send it."""
        self.met(_GIVEN_BACK, code, words)

    @property
    def given_back(self) -> list[str]:
        """Why rows were given back, the most frequent reason first."""
        return self.lines(_GIVEN_BACK)

    def lines(self, only: str | None = None) -> list[str]:
        """`12 rows rejected: status 422: …`, the most frequent first; of what became of rows, or of all."""
        wanted = ((kind, met) for kind, met in self._met.items() if only is None or kind[0] == only)
        ordered = sorted(wanted, key=lambda kind: (-kind[1].rows, kind[0]))
        return [f"{counted(met.rows, 'row')} {what}: {met.words}" for (what, _), met in ordered]

    def log(self) -> None:
        """A warning for each kind."""
        for line in self.lines():
            _log.warning("%s", line)
