"""Log lines that a stranger can cause, of which there must not be as many as he likes."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field


@dataclass(slots=True)
class Seldom:
    """Says the first of each kind at once, and of those within a minute after it only how many there were."""

    log: logging.Logger
    every_s: float = 60
    _said: dict[str, float] = field(default_factory=dict)  # the kind: when
    _kept: dict[str, int] = field(default_factory=dict)  # the kind: how many since

    def warning(self, kind: str, message: str) -> None:
        """A line, unless there was one of this kind just now."""
        now = time.monotonic()
        if kind in self._said and now - self._said[kind] < self.every_s:
            self._kept[kind] = self._kept.get(kind, 0) + 1
            return
        self._said[kind] = now
        more = self._kept.pop(kind, 0)
        self.log.warning("%s%s", message, f" ({more} more of this kind before)" if more else "")
