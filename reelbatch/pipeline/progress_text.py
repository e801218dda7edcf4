"""How far a run is, in one line."""

from __future__ import annotations

from reelbatch.pipeline.run_context import RunContext
from reelbatch.pipeline.run_progress import Progress
from reelbatch.settle import Settler, SettleStats
from reelbatch.submit import ExitReason


def progress_text(context: RunContext | None, settler: Settler | None) -> str:
    """`312/2,000 rows · 48.2 rows/s · …`; "": nothing has begun."""
    if settler is not None:
        return _waiting(settler.stats)
    if context is None:
        return ""
    if context.state.plan is None:
        return "reading the manifest"
    return sending(context.progress(), stops=context.stats.reason is not ExitReason.DONE)


def _waiting(stats: SettleStats) -> str:
    ended = stats.complete + stats.error + stats.canceled
    parts = [f"{ended:,}/{max(ended, stats.outstanding):,} videos", f"{stats.complete:,} complete"]
    figures = {"failed": stats.error, "canceled": stats.canceled, "downloaded": stats.downloaded}
    return " · ".join([*parts, *(f"{count:,} {word}" for word, count in figures.items() if count)])


def sending(now: Progress, *, stops: bool) -> str:
    """The line of a run that sends; `stops`: no new request leaves."""
    parts = [
        f"{now.done:,}/{now.rows:,} rows",
        f"{now.rows_per_second:.1f} rows/s",
        f"{now.credits_charged:,} credits",
    ]
    if now.credits_worst_case != now.credits_charged:
        parts.append(f"at worst {now.credits_worst_case:,}")
    if now.in_doubt:
        parts.append(f"{now.in_doubt} in doubt")
    if now.failed:
        parts.append(f"{now.failed} failed")
    if now.given_back:
        parts.append(f"{now.given_back} given back unsent")
    if now.slowed_to == 0:
        parts.append("waiting: row after row went into doubt")
    elif now.slowed_to is not None:
        parts.append(f"slowed to {now.slowed_to} requests at the same time")
    if stops:
        parts.append(f"stopping, {now.in_flight} requests under way")
    elif now.seconds_left is not None:
        parts.append(f"{_duration(now.seconds_left)} left")
    return " · ".join(parts)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
