"""The sandbox's own price list: what a create costs here, whatever `configs/models.yaml` expects it to cost.

Nothing is shared with the estimates, so that an estimate can turn out wrong. Source of the rates: the vendor's public
docs of August 2026. Models without a public rate cost the sandbox's `unknown_rate`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from math import ceil
from types import MappingProxyType
from typing import Any

from reelbatch.domain import Request

Rates = Mapping[str, Mapping[str, int]]  # credits for one second of output, by model and resolution
PROFILES = ("legacy",)

_UP_TO_1080P = {"480p": 24, "720p": 48, "1080p": 72}
_KLING_2 = {"720p": 36, "1080p": 72}
_RATES: Rates = {
    "ltx-2.3": _UP_TO_1080P,
    "wan-2.2": _UP_TO_1080P,
    "minimax-h3": _UP_TO_1080P,
    "kling-2.6": _KLING_2,
    "kling-2.5": _KLING_2,  # the vendor makes these with kling-2.6 since 10 August
    "kling-3.0": {"720p": 48, "1080p": 72, "4k": 240},
    "veo3.1-lite": {"720p": 48, "1080p": 72},
    "veo3.1": {"720p": 96, "1080p": 120},
    "seedance-1.5": {"480p": 30, "720p": 60, "1080p": 90},
    "seedance-2.0-mini": {"480p": 96, "720p": 192},
    "seedance-2.0": {"480p": 144, "720p": 288},
    "seedance-2.5": {"480p": 288, "720p": 576},
    "sora-2": {"720p": 120},
}
# What audio adds to one second; models that are named in neither table make it at the same price.
_AUDIO_EXTRA: Rates = {
    "kling-3.0": {"720p": 24, "1080p": 24, "4k": 48},
    "veo3.1-lite": {"720p": 24, "1080p": 24},
    "veo3.1": {"720p": 24, "1080p": 24},
}
_AUDIO_FACTOR = {"seedance-1.5": 2}
# The older table, for accounts from before the models: by resolution alone.
_LEGACY = {"480p": 24, "720p": 60, "1080p": 120}
_LEGACY_FPS = {"480p": 24, "720p": 30, "1080p": 30}

_LONG_S = 15.0  # seconds above which `default` is another model
_HUGE = 10**18


class ChargeSays(StrEnum):
    """What a create's answer says of its charge."""

    CHARGED = "charged"  # the truth
    NULL = "null"
    ABSENT = "absent"
    TEXT = "text"
    ZERO = "zero"
    NEGATIVE = "negative"
    FRACTIONAL = "fractional"
    HUGE = "huge"  # more than 64 bits hold


@dataclass(frozen=True, slots=True)
class PriceList:
    """What creates cost at one moment.

    Args:
        tier: the account's plan, which decides what a request leaves open.
        unknown_rate: credits per second where no rate is known.
        profile: `legacy` for the older table.
        overrides: rates that go over the public ones.
        factor: multiplies every price.
    """

    tier: str
    unknown_rate: int
    profile: str | None = None
    overrides: Rates = field(default_factory=lambda: MappingProxyType({}))
    factor: float = 1.0

    def credits(self, request: Request) -> int:
        """Credits for the video of `request`, rounded up."""
        cost = self._rate(request) * (request.end_seconds or 0.0) * self.factor
        return ceil(round(cost, 6))  # 100 * 1.1 is a little more than 110 in floats

    def frame_rate(self, request: Request) -> int | None:
        """Frames per second where the list states them."""
        return _LEGACY_FPS.get(self._resolution(request)) if self.profile else None

    def _rate(self, request: Request) -> int:
        resolution = self._resolution(request)
        if self.profile:
            return _LEGACY.get(resolution, self.unknown_rate)
        model, audio = self._model(request, resolution)
        rate = {**_RATES.get(model, {}), **self.overrides.get(model, {})}.get(resolution)
        if rate is None:
            return self.unknown_rate
        if not audio:
            return rate
        return rate * _AUDIO_FACTOR.get(model, 1) + _AUDIO_EXTRA.get(model, {}).get(resolution, 0)

    def _resolution(self, request: Request) -> str:
        return request.resolution or ("480p" if self.tier == "free" else "720p")

    def _model(self, request: Request, resolution: str) -> tuple[str, bool]:
        """The model that makes it, and whether with audio; `NAME-audio` are old names."""
        name = request.model or "default"
        if name == "default":
            return self._default_model(resolution, request.end_seconds or 0.0), bool(request.audio)
        base = name.removesuffix("-audio")
        return base, bool(request.audio) or base != name

    def _default_model(self, resolution: str, seconds: float) -> str:
        if self.tier == "free":
            return "ltx-2.5"
        if seconds > _LONG_S:
            return "ltx-2.3"
        return "seedance-1.5" if resolution == "480p" else "kling-3.0"


def stated_charge(says: ChargeSays, charged: int) -> dict[str, Any]:
    """The field of a create's answer that tells its charge, true or odd; empty where it is absent."""
    if says is ChargeSays.ABSENT:
        return {}
    odd: dict[ChargeSays, Any] = {
        ChargeSays.CHARGED: charged,
        ChargeSays.NULL: None,
        ChargeSays.TEXT: "forty-eight",
        ChargeSays.ZERO: 0,
        ChargeSays.NEGATIVE: -charged,
        ChargeSays.FRACTIONAL: charged + 0.5,
        ChargeSays.HUGE: charged * _HUGE,
    }
    return {"credits_charged": odd[says]}
