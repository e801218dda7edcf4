"""The parts of one running sandbox, put together."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path
from typing import Any

from reelbatch.sandbox.books import Books, Status, Video
from reelbatch.sandbox.config import FaultSettings, PricingSettings, SandboxConfig
from reelbatch.sandbox.fault_plan import FaultPlan
from reelbatch.sandbox.prices import PriceList
from reelbatch.sandbox.storage import DAY_S, SignedUrl, Storage
from reelbatch.sandbox.studio import Studio
from reelbatch.sandbox.users import Users
from reelbatch.sandbox.validation import Checker
from reelbatch.sandbox.webhooks import Announcer


class Service:
    """What the handlers share. The plan of faults and the prices can be replaced while it runs.

    `url` is where the sandbox is reached: webhook events carry addresses of videos.
    """

    def __init__(self, config: SandboxConfig, data: Path, url: str = "") -> None:
        self.config = config
        self.books = Books(data / "books.db", config.balance)
        self.storage = Storage(data, self.books.secret())
        self.storage.prepare()
        self.studio = Studio(config, self.books, self.storage)
        self.checker = Checker(config, self._upload_age_days, self.price_list)
        self.pricing: PricingSettings = config
        self.faults = FaultPlan(config.faults)
        self.creates_in_flight = 0
        self.users = Users()
        self.announcer = Announcer(config, self.books, self.studio, self._described) if config.webhook_url else None
        self._url = url
        self._jitter = random.Random(config.seed)

    def replace_faults(self, settings: FaultSettings) -> None:
        """Start a new plan; calls are counted from one again."""
        self.faults = FaultPlan(settings)

    def price_list(self) -> PriceList:
        """What the next create costs."""
        change = self.pricing.price_change
        changed = change is not None and self.books.creates >= change.after_creates
        return PriceList(
            tier=self.config.tier,
            unknown_rate=self.config.unknown_rate,
            profile=self.config.model_profile,
            overrides=self.pricing.prices,
            factor=change.factor if change and changed else 1.0,
        )

    def download(self, base: str, video: Video) -> SignedUrl | None:
        """Where the video can be had under the address `base`, once it is complete."""
        if video.status != Status.COMPLETE:
            return None
        return self.storage.signed(base, "GET", f"{video.id}/output.mp4", self.config.download_url_ttl_s)

    def account(self) -> dict[str, Any]:
        """What the API says about the account as it stands now."""
        subscription = self.config.subscription
        return {
            "id": self.config.account_id,
            "email": self.config.account_email,
            "credits": self.books.balance,
            "tier": self.config.tier,
            "subscription": subscription.model_dump(mode="json") if subscription else None,
        }

    async def half_latency(self) -> None:
        """Wait half of a create's latency."""
        latency = self.config.latency_ms
        if self.config.latency_jitter_ms:
            latency += self._jitter.uniform(0, self.config.latency_jitter_ms)
        if latency:
            await asyncio.sleep(latency / 2000)

    def _described(self, video: Video) -> dict[str, Any]:
        """What a GET of the video would say."""
        return self.studio.answer(video, self.download(self._url, video))

    def _upload_age_days(self, file_path: str) -> float | None:
        file = self.storage.upload_file(file_path)
        return (time.time() - file.stat().st_mtime) / DAY_S if file else None
