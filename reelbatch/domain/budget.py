"""A budget: credits for each day or month of a time zone, for all batches of one account."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

DEFAULT_ZONE = "America/Los_Angeles"
"""Where the vendor's months of usage-based billing begin at midnight."""
_MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)


class Period(NamedTuple):
    """From `starts_at` up to, but without, `ends_at`; both in UTC."""

    starts_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class Budget:
    """At most `credits` a day or month; its edges are the midnights of `timezone`."""

    credits: int
    per: Literal["day", "month"]
    timezone: str = DEFAULT_ZONE

    def period(self, at: datetime) -> Period:
        """The period that `at` is in."""
        day = at.astimezone(ZoneInfo(self.timezone)).date()
        while (found := self._from(day)).ends_at <= at:  # clocks turned back over midnight: a day comes twice
            day = self._next(day)
        return found

    def until(self, period: Period) -> str:
        """When `period` ends, in words: `1 December`."""
        last = self._edge(period.ends_at)
        return f"{last.day} {_MONTHS[last.month - 1]}"

    def name(self, period: Period) -> str:
        """What `period` is called: `27 November`, or `November 2026`."""
        first = self._edge(period.starts_at)
        month = _MONTHS[first.month - 1]
        return f"{first.day} {month}" if self.per == "day" else f"{month} {first.year}"

    def _edge(self, at: datetime) -> date:
        """The day that begins at `at`."""
        return (at + timedelta(minutes=1)).astimezone(ZoneInfo(self.timezone)).date()

    def _from(self, day: date) -> Period:
        first = day if self.per == "day" else day.replace(day=1)
        return Period(self._midnight(first), self._midnight(self._next(first)))

    def _next(self, day: date) -> date:
        """The first day of the period after the one of `day`."""
        if self.per == "day":
            return day + timedelta(days=1)
        return (day.replace(day=1) + timedelta(days=32)).replace(day=1)

    def _midnight(self, day: date) -> datetime:
        """When `day` begins; where its first hour is skipped, the moment of the skip."""
        return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(self.timezone)).astimezone(UTC)
