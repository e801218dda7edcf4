"""The simulated API's own books: what it charges, by prices of its own, and what becomes of each video."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

PRICES = {
    ("ltx-2.3", "480p"): 24,
    ("ltx-2.3", "720p"): 48,
    ("kling-2.6", "720p"): 36,
    ("seedance-1.5", "480p"): 30,
    ("kling-3.0", "720p"): 48,
}
"""Credits per second, as the vendor's page has them. Written down here once more: the client may be wrong."""
UPLOADS_LIVE_S = 7 * 86_400.0
_LONGEST_REFUND_S = 900.0


@dataclass(slots=True)
class Charge:
    """What one create cost. Credits are integers, times seconds since the seed began."""

    video_id: str
    token: str
    name: str
    credits: int  # as the answer says
    at: float
    final: int  # of a complete video
    ends_as: str
    rendering_at: float
    ends_at: float
    refund_at: float | None  # None: what a failed video cost is not given back
    odd_word: str | None = None
    odd_until: float = 0.0

    def status(self, now: float) -> str:
        """The API's word for it."""
        if self.odd_word is not None and self.rendering_at <= now < self.odd_until:
            return self.odd_word
        if now >= self.ends_at:
            return self.ends_as
        return "rendering" if now >= self.rendering_at else "queued"

    def stands_at(self, now: float) -> int:
        """Credits that it has cost by now."""
        if now < self.ends_at:
            return self.credits
        if self.ends_as == "complete":
            return self.final
        return 0 if self.is_refunded(now) else self.credits

    def is_refunded(self, now: float) -> bool:
        """Whether it failed and cost nothing in the end."""
        return self.refund_at is not None and now >= self.refund_at


@dataclass(slots=True, kw_only=True)
class Fates:
    """How videos end, as shares of one."""

    error: float = 0.0
    canceled: float = 0.0
    unrefunded: float = 0.0
    odd: float = 0.0  # of states that no one knows, for a while
    cheaper: float = 0.0  # settled below what was charged at first
    dearer: float = 0.0  # charged below the price at first, and settled at it


@dataclass(slots=True)
class Books:
    """One account."""

    now: Callable[[], float]
    chance: Random
    fates: Fates
    balance: int
    charges: dict[str, Charge] = field(default_factory=dict)
    uploads: dict[str, float] = field(default_factory=dict)
    price_factor: float = 1.0
    on_charge: Callable[[Charge], None] = lambda _: None

    def price(self, body: Mapping[str, Any]) -> int:
        """Credits of a create."""
        rate = PRICES[body["model"], body["resolution"]]
        return round(rate * float(body["end_seconds"]) * self.price_factor)

    def create(self, body: Mapping[str, Any]) -> Charge:
        """Charge for a video."""
        now, chance, price = self.now(), self.chance, self.price(body)
        rendering_at = now + chance.uniform(0, 8)
        ends_at = rendering_at + chance.expovariate(1 / 12)
        ends_as = self._end()
        refund = ends_as != "complete" and chance.random() >= self.fates.unrefunded
        name = str(body.get("name") or "")
        is_dearer = bool(self.fates.dearer) and chance.random() < self.fates.dearer
        charge = Charge(
            video_id=f"v{len(self.charges):03d}{chance.randrange(16**6):06x}",
            token=name.rsplit(maxsplit=1)[-1] if name else "",
            name=name,
            credits=round(price * 0.8) if is_dearer else price,
            at=now,
            final=round(price * 0.8) if chance.random() < self.fates.cheaper else price,
            ends_as=ends_as,
            rendering_at=rendering_at,
            ends_at=ends_at,
            refund_at=ends_at + chance.choice((0.0, chance.uniform(0, _LONGEST_REFUND_S))) if refund else None,
        )
        if chance.random() < self.fates.odd:
            charge.odd_word, charge.odd_until = chance.choice(("archiving", "draft")), ends_at
        self.charges[charge.video_id] = charge
        self.on_charge(charge)
        return charge

    def _end(self) -> str:
        drawn = self.chance.random()
        if drawn < self.fates.error:
            return "error"
        return "canceled" if drawn < self.fates.error + self.fates.canceled else "complete"

    def upload(self) -> str:
        """Where an image lies from now on."""
        path = f"api-assets/id/{len(self.uploads)}-{self.chance.randrange(16**6):06x}.png"
        self.uploads[path] = self.now()
        return path

    def has_upload(self, path: str) -> bool:
        """Whether it has not been deleted."""
        return path in self.uploads and self.now() - self.uploads[path] < UPLOADS_LIVE_S

    @property
    def net(self) -> int:
        """Credits that all videos have cost by now."""
        return sum(charge.stands_at(self.now()) for charge in self.charges.values())

    @property
    def left(self) -> int:
        """The balance."""
        return self.balance - self.net

    def video(self, charge: Charge) -> dict[str, Any]:
        """What a GET says."""
        now = self.now()
        status = charge.status(now)
        failed = status in {"error", "canceled"}
        return {
            "id": charge.video_id,
            "name": charge.name,
            "status": status,
            "type": "IMAGE_TO_VIDEO",
            "created_at": "2026-09-21T00:00:00Z",
            "enabled": True,
            "credits_charged": charge.stands_at(now),
            "fps": 24.0,
            "width": 640,
            "height": 480,
            "error": {"code": "unknown_error", "message": "the render failed"} if failed else None,
            "downloads": [],
        }
