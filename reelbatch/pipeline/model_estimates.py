"""What requests are estimated at, and the rows to send by model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from reelbatch.domain import DEFAULT_MODEL
from reelbatch.ledger.staging import ActionCount
from reelbatch.model_table import load_models

if TYPE_CHECKING:
    from reelbatch.ledger.estimates import Estimate
    from reelbatch.settings import Settings


def estimate_of(settings: Settings) -> Estimate:
    """What a request should cost, by the settings."""
    models = load_models(settings.models)
    return partial(models.estimate, tier=settings.tier, profile=settings.model_profile, rate=settings.rate)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEstimate:
    """Rows to send for one model; `credits` None where its rate is unknown for all of them."""

    model: str
    rows: int
    credits: int | None
    unknown: int


def by_model(counts: Iterable[ActionCount]) -> list[ModelEstimate]:
    """Rows that name no model, and those that name `default`, ask for the same."""
    sums: dict[str, ModelEstimate] = {}
    for count in counts:
        name = count.model or DEFAULT_MODEL
        before = sums.get(name, ModelEstimate(model=name, rows=0, credits=None, unknown=0))
        rows, unknown = before.rows + count.rows, before.unknown + count.unknown
        credits_ = None if unknown == rows else (before.credits or 0) + count.credits_estimated
        sums[name] = ModelEstimate(model=name, rows=rows, credits=credits_, unknown=unknown)
    return list(sums.values())
