"""How long the API has said nothing: said once each time, and after a while a reason to end."""

from __future__ import annotations

import asyncio
import logging

from reelbatch.settle.options import SettleStats

_log = logging.getLogger("reelbatch")


class Silence:
    """Of all questions of one settle together. One that has had answers waits through an outage, however long.

    Args:
        stats: of the settle.
        unreachable_after_s: seconds after which a settle without any answer ends.
        level: of what it logs.
    """

    def __init__(self, stats: SettleStats, unreachable_after_s: float, level: int = logging.WARNING) -> None:
        self._stats = stats
        self._unreachable_after_s = unreachable_after_s
        self._level = level
        self._since: float | None = None  # loop time
        self.words = ""  # of the last failure

    def goes_on(self, words: str, started: float) -> None:
        """A question that began at `started` (loop time) was not answered."""
        self.words = words
        if self._since is not None:
            return
        self._since = started
        until = "" if self._stats.answers else f" for {self._unreachable_after_s:g} s"
        _log.log(self._level, "The API does not answer (%s). Trying again%s, ever more rarely.", words, until)

    def ends(self) -> None:
        """A question was answered."""
        self._stats.answers += 1
        if self._since is not None and self._level >= logging.INFO:
            _log.info("The API answers again.")
        self._since = None

    def left_s(self) -> float | None:
        """Seconds until a settle that had no answer ends; None while there is no reason to."""
        if self._since is None or self._stats.answers:
            return None
        return max(0.0, self._since + self._unreachable_after_s - asyncio.get_running_loop().time())
