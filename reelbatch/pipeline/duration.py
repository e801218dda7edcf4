"""How long a run takes where only a few videos may render at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from reelbatch.domain import Tier
from reelbatch.ledger.render_times import Kind
from reelbatch.ledger.staging import ActionCount
from reelbatch.model_table import load_models
from reelbatch.settings import Settings

TYPICAL_S = 74
"""Seconds that a video takes to render, by the vendor's own median; a video of 60 s in 4k surely takes longer."""
_HOUR, _DAY = 3600, 86_400
_TENS = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Duration:
    """About how long the rows to send take, from the first create to the last video."""

    window: int  # videos rendering at once
    tier: Tier | None  # that sets it; None: a setting does
    seconds: int
    assumed: int  # rows of a kind that the table has not seen finish; a video is taken to take TYPICAL_S

    def __str__(self) -> str:
        """`window 3 (tier creator): about 6 h 50 min (assumed 1 min 14 s a video)`."""
        whose = f" (tier {self.tier})" if self.tier else ""
        assumed = " (assumed 1 min 14 s a video)" if self.assumed else ""
        return f"window {self.window}{whose}: {about(self.seconds)}{assumed}"


def duration(
    sends: Sequence[ActionCount], known: Mapping[Kind, float], window: int, tier: Tier | None
) -> Duration | None:
    """How long `sends` take; None where there is nothing to send. `known`: seconds that videos of a kind took."""
    rows = sum(count.rows for count in sends)
    if not rows:
        return None
    times = [known.get((count.model, count.price), TYPICAL_S) for count in sends]
    whole = sum(count.rows * time for count, time in zip(sends, times, strict=True))
    assumed = sum(count.rows for count in sends if (count.model, count.price) not in known)
    return Duration(window=window, tier=tier, seconds=ceil(max(whole / window, *times)), assumed=assumed)


def render_window(settings: Settings) -> int | None:
    """Videos that may be unfinished at once: stated, or the tier's; None: any number."""
    if settings.render_window is not None or settings.tier is None:
        return settings.render_window
    return load_models(settings.models).render_windows.get(settings.tier)


def about(seconds: int) -> str:
    """`about 25 min`, `about 6 h 50 min`, `about 3 days 4 h`: no more exact than it is known."""
    if seconds < _HOUR:
        return f"about {max(1, round(seconds / 60))} min"
    if seconds < 2 * _DAY:
        hours, rest = divmod(round(seconds / _TENS) * _TENS, _HOUR)
        return f"about {hours} h {rest // 60:02} min" if rest else f"about {hours} h"
    days, rest = divmod(round(seconds / _HOUR) * _HOUR, _DAY)
    return f"about {days} days {rest // _HOUR} h" if rest else f"about {days} days"
