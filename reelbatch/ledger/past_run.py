"""A run that is over, or at work; read without SQLAlchemy where a look is all that there is to do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from reelbatch.domain import Batch, RunId


@dataclass(frozen=True, slots=True, kw_only=True)
class PastRun:
    """A run as the table has it. `ended_at` None: it is at work. Credits are integers."""

    run_id: RunId
    batch: Batch
    command: str
    user_name: str
    host: str
    started_at: datetime
    ended_at: datetime | None
    exit_reason: str | None
    max_credits: int | None
    account: str | None
    balance: int | None  # when it began
    balance_at: datetime | None

    @property
    def why(self) -> str:
        """Why it ended, in words."""
        return "at work" if self.ended_at is None else (self.exit_reason or "ended").replace("_", " ")

    def __str__(self) -> str:
        """In one line."""
        return f"{self.started_at:%Y-%m-%d %H:%M} UTC, {self.command} by {self.user_name}: {self.why}"
