"""When to look at a video: shortly before renders of its class are wont to end, then often, in all less often.

Without this a video is looked at in every poll interval from its create on. The looks that are saved before the
expected end pay for those near it, a third of them at most. So no video is asked about more often in all. What is
learned may be wrong: then its end is seen `LONGEST_GAP` intervals late at most.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

from reelbatch.domain import Token
from reelbatch.ledger.due import LONG_VIDEO_S, Look, Rendered
from reelbatch.ledger.render_times import RenderClass

LONGEST_GAP = 8
"""Poll intervals between two looks at most: a render may end much sooner than others of its class, or fail."""
_FEWEST = 3
_KEPT = 20  # renders of a class: what was long ago says little
_LOW, _MIDDLE = 0.1, 0.5
_SPENT = 3  # one look near the expected end for this number of looks that were saved
_FINEST = 8  # looks in one poll interval at most
_FOLLOWED = 100


@dataclass(frozen=True, slots=True)
class LookPlan:
    """When videos of one class are looked at, in seconds since their create."""

    first_s: float  # shortly before most of them end
    step_s: float  # between two looks from then on
    often_until_s: float  # after that, as where nothing is known
    interval_s: float

    @classmethod
    def of(cls, seconds: Collection[float], interval_s: float) -> Self | None:
        """The plan for renders of a class that took `seconds`; None: too few are known."""
        if len(seconds) < _FEWEST:
            return None
        known = sorted(seconds)
        low, middle = (known[int(share * (len(known) - 1) + 0.5)] for share in (_LOW, _MIDDLE))
        finest = interval_s / _FINEST
        first = max(0.0, low - finest)
        looks = max(1, int(first / interval_s / _SPENT))
        step = min(interval_s, max(finest, (middle + finest - first) / looks))
        return cls(first, step, first + looks * step, interval_s)

    @property
    def opens_s(self) -> float:
        """Before this, nothing is asked."""
        return min(self.first_s, LONGEST_GAP * self.interval_s)

    def after(self, age_s: float) -> float:
        """When a video is looked at next that was looked at `age_s` after its create."""
        if age_s < self.first_s - self.step_s:
            return min(age_s + LONGEST_GAP * self.interval_s, self.first_s)
        return age_s + (self.step_s if age_s < self.often_until_s else self.interval_s)

    def learned(self, age_s: float) -> float:
        """About when a video ended that a look at `age_s` found finished.

        Where that was the first look for a while, it ended some time before: so looks come ever earlier, until they
        find videos that still render.
        """
        if age_s <= self.first_s + self.step_s / 2:
            return max(0.0, age_s - self.interval_s)
        return age_s - (self.step_s if age_s <= self.often_until_s + self.step_s else self.interval_s) / 2


class RenderTimes:
    """What one settle knows about how long renders take.

    Args:
        interval_s: the poll interval.
    """

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._seconds: dict[RenderClass, deque[float]] = {}
        self._plans: dict[RenderClass, LookPlan] = {}
        self._followed: dict[Token, Rendered] = {}

    @property
    def plans(self) -> Mapping[RenderClass, LookPlan]:
        """The classes of which enough is known; what is learned later does not change it."""
        return dict(self._plans)

    @property
    def soonest_s(self) -> float:
        """How long a new video can be left alone: until its first look, or for a poll interval."""
        opens = min((plan.opens_s for plan in self._plans.values()), default=self._interval_s)
        return min(self._interval_s, max(opens, self._interval_s / _FINEST))

    @property
    def followed(self) -> Collection[Token]:
        """Tokens of some of the videos that have not ended yet, as far as this settle has seen."""
        return tuple(self._followed)

    def seed(self, seen: Mapping[RenderClass, Iterable[float]]) -> None:
        """Begin with what the results table knows."""
        for render_class, seconds in seen.items():
            self._learn(render_class, *seconds)

    def follow(self, rows: Iterable[Rendered]) -> None:
        """Whose ends to learn from if something else sees them first: a webhook event, another settle."""
        for row in rows:
            if row.token is not None and row.submitted_at is not None:
                self._followed[row.token] = row
        while len(self._followed) > _FOLLOWED:
            del self._followed[next(iter(self._followed))]

    def found(self, row: Rendered, at: datetime) -> None:
        """A look of this settle found the video finished."""
        if row.token is not None:
            self._followed.pop(row.token, None)
        if row.submitted_at is not None:
            age_s = (at - row.submitted_at).total_seconds()
            plan = self._plans.get(row.render_class)
            self._learn(row.render_class, age_s - self._interval_s if plan is None else plan.learned(age_s))

    def ended(self, ends: Mapping[Token, datetime]) -> None:
        """Something else saw these of the videos followed end."""
        for token, at in ends.items():
            row = self._followed.pop(token, None)
            if row is not None and row.submitted_at is not None:
                self._learn(row.render_class, (at - row.submitted_at).total_seconds())

    def _learn(self, render_class: RenderClass, *seconds: float) -> None:
        known = self._seconds.setdefault(render_class, deque(maxlen=_KEPT))
        known.extend(seconds)
        is_long = render_class.seconds is not None and render_class.seconds > LONG_VIDEO_S
        if plan := LookPlan.of(known, self._interval_s * (2 if is_long else 1)):
            self._plans[render_class] = plan


def look(plans: Mapping[RenderClass, LookPlan], row: Rendered, now: datetime) -> Look | None:
    """When to look at a row that is due; None where its class is not known, or the API says odd things of it."""
    plan = plans.get(row.render_class)
    if plan is None or row.submitted_at is None or row.waited_until is not None:
        return None
    age_s = (now - row.submitted_at).total_seconds()
    if 0 <= age_s < plan.opens_s:
        return Look(now=False, next_at=row.submitted_at + timedelta(seconds=plan.opens_s))
    return Look(now=True, next_at=now + timedelta(seconds=plan.after(age_s) - age_s))
