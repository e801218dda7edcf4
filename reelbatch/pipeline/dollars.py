"""Dollars: only where someone stated what a credit costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reelbatch.model_table import load_models

if TYPE_CHECKING:
    from reelbatch.settings import Settings


@dataclass(frozen=True, slots=True)
class DollarRate:
    """Dollars for one credit, and where the figure comes from."""

    per_credit: float
    stated: str

    def of(self, credits_: int) -> float:
        """Dollars. Not rounded to the cent: lines would no longer add up."""
        return round(credits_ * self.per_credit, 6)


def rate_of(settings: Settings) -> DollarRate | None:
    """What a credit costs, as far as that is stated.

    A tier says nothing of it: what usage-based billing costs is not what a subscriber pays.
    """
    if settings.dollars_per_credit is not None:
        return DollarRate(settings.dollars_per_credit, f"${settings.dollars_per_credit:g} a credit")
    if (paid := settings.subscription) is not None:
        return DollarRate(paid.price / paid.credits, f"${paid.price:g} for {paid.credits:,} credits")
    return None


def dollars_per_credit(settings: Settings) -> float | None:
    """The same as a figure."""
    rate = rate_of(settings)
    return None if rate is None else rate.per_credit


def estimated_dollars(credits_: int, settings: Settings) -> float | None:
    """What a plan's credits are, with the volume bands of usage-based billing; None where no rate is stated."""
    if settings.dollars_per_credit is not None:
        return round(load_models(settings.models).dollars(credits_, per_credit=settings.dollars_per_credit), 2)
    rate = rate_of(settings)
    return None if rate is None else rate.of(credits_)
