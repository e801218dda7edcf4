"""What may be asked about spending. It imports nothing of the table, so that `--help` does not."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from reelbatch.domain import Batch


class By(StrEnum):
    """What a line stands for."""

    DAY = "day"
    MONTH = "month"
    MODEL = "model"
    BATCH = "batch"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendOptions:
    """What is asked for. `until` is the last day that counts; days are those of `timezone`."""

    by: By = By.MONTH
    batch: Batch | None = None
    since: date | None = None
    until: date | None = None
    timezone: str = "UTC"
