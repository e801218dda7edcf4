"""The plan of faults: which call meets which kind."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator

from reelbatch.sandbox.config import FaultSettings
from reelbatch.sandbox.faults import FAULTS, Call, FaultKind


class FaultPlan:
    """Says which fault, if any, the next call of each sort meets. The same settings give the same plan."""

    def __init__(self, settings: FaultSettings) -> None:
        self.settings = settings
        self._calls: Counter[Call] = Counter()
        self._matched: Counter[tuple[int, str]] = Counter()
        self._draws = {call: random.Random(f"{settings.seed}:{call}") for call in Call}

    def next(self, call: Call, *, text: str = "", key: str = "") -> FaultKind | None:
        """Count one more `call` and say what it meets.

        `text` is what match rules look at (name and prompt), `key` the row that their `times` count.
        """
        self._calls[call] += 1
        return next(self._candidates(call, text, key), None)

    def charges(self, kind: FaultKind) -> bool:
        """Whether a create that meets `kind` is charged."""
        return FAULTS[kind].charges or kind in self.settings.charge_anyway

    def _candidates(self, call: Call, text: str, key: str) -> Iterator[FaultKind]:
        drawn = self._draws[call].random()  # drawn for each call, so that other rules don't shift the rest
        count = self._calls[call]
        if call is Call.CREATE and count <= len(self.settings.script):
            kind = self.settings.script[count - 1]
            if kind:
                yield kind
        yield from self._matching(call, text, key)
        yield from (kind for kind, n in self.settings.first.items() if _hits(kind, call) and count <= n)
        yield from (kind for kind, n in self.settings.every.items() if _hits(kind, call) and count % n == 0)
        yield from self._by_share(call, drawn)

    def _matching(self, call: Call, text: str, key: str) -> Iterator[FaultKind]:
        for index, rule in enumerate(self.settings.match):
            if not _hits(rule.kind, call) or rule.text not in text:
                continue
            self._matched[index, key] += rule.times is not None
            if rule.times is None or self._matched[index, key] <= rule.times:
                yield rule.kind

    def _by_share(self, call: Call, drawn: float) -> Iterator[FaultKind]:
        for kind, share in self.settings.share.items():
            if _hits(kind, call):
                if drawn < share:
                    yield kind
                drawn -= share


def _hits(kind: FaultKind, call: Call) -> bool:
    return FAULTS[kind].call is call
