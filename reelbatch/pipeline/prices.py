"""Prices: what the table of models says, and what was charged in truth."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from reelbatch.domain import DEFAULT_MODEL, Batch, Request
from reelbatch.ledger.accounts import Payer, PriceClass, SeenPrice, has_kind, seen_prices
from reelbatch.model_table import load_models

if TYPE_CHECKING:
    from reelbatch.ledger import Ledger
    from reelbatch.settings import Settings

DRIFT = 0.02
"""A settled figure further from the estimate than this part of it is a drift."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """A kind of video, and what was seen of its price. Credits of one video; `estimate` None: no rate is known."""

    api: str
    account: str
    model: str
    resolution: str
    audio: bool
    seconds: float
    charged: int | None  # what the last create charged
    settled: int | None  # what the last finished video cost
    estimate: int | None
    seen_at: datetime

    @property
    def kind(self) -> PriceClass:
        """The price class."""
        return PriceClass(self.api, self.account, self.model, self.resolution, self.audio, self.seconds)

    @property
    def drift(self) -> float | None:
        """How much dearer than estimated, as a part of that; by settled figures, since a create may be one too."""
        if self.settled is None or self.estimate is None:
            return None
        if self.estimate == 0:
            return 0.0 if self.settled == 0 else 1.0
        return (self.settled - self.estimate) / self.estimate

    @property
    def has_drifted(self) -> bool:
        """Whether the table of models should be corrected."""
        return self.drift is not None and abs(self.drift) > DRIFT

    def __str__(self) -> str:
        what = f"{self.model} {self.resolution}{' with audio' if self.audio else ''}, {self.seconds:g} s"
        return f"{what}: {self.settled or 0:,} credits when settled, {self.estimate or 0:,} by the table of models"

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {**asdict(self), "drift": self.drift, "has_drifted": self.has_drifted}


def observed(ledger: Ledger, settings: Settings, api: str | None = None) -> list[Observed]:
    """What was charged so far, by price class, beside today's estimates."""
    return [_observed(found, settings) for found in ledger.read(partial(seen_prices, api=api))]


def drifted(found: Iterable[Observed]) -> list[Observed]:
    """Those whose finished videos cost more or less than estimated."""
    return [each for each in found if each.has_drifted]


def drifted_in(ledger: Ledger, settings: Settings, batch: Batch, payer: Payer) -> list[str]:
    """Kinds of video of this batch whose price differs for the payer, in words."""
    found = drifted(observed(ledger, settings, payer.api))
    own = [each for each in found if each.account in {payer.account, payer.key_hash}]
    return [str(each) for each in own if ledger.read(partial(has_kind, batch=batch, kind=each.kind))]


def request_of(kind: PriceClass) -> Request:
    """A request of this class, as far as its price goes."""
    model = None if kind.model == DEFAULT_MODEL else kind.model
    resolution = None if kind.resolution == "default" else kind.resolution
    return Request("", None, kind.seconds, model=model, resolution=resolution, audio=kind.audio)


def _observed(found: SeenPrice, settings: Settings) -> Observed:
    estimate = load_models(settings.models).estimate(
        request_of(found.kind), tier=settings.tier, profile=settings.model_profile
    )
    price = found.price
    return Observed(
        **found.kind._asdict(),
        charged=price.charged,
        settled=price.settled,
        estimate=estimate,
        seen_at=found.seen_at,
    )
