"""A 429 that one worker hears slows down all workers of the account, through the results table."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from functools import partial

from reelbatch.domain import RunId
from reelbatch.errors import LedgerError
from reelbatch.ledger import Ledger, throttles
from reelbatch.submit.concurrency import ConcurrencyLimiter

_LOOK_S = 1.0
"""Between two looks at what others heard: one read of one line, with no part in any create."""


class SharedBrake:
    """Tells the table of the 429s of this worker, and slows this worker down for those of others.

    Args:
        ledger: the results table that the workers share.
        payer: the account, or what stands for it.
        run_id: this worker's run.
        limiter: what grants this worker's creates.
    """

    def __init__(self, ledger: Ledger, payer: str, run_id: RunId, limiter: ConcurrencyLimiter) -> None:
        self._ledger = ledger
        self._payer = payer
        self._run_id = run_id
        self._limiter = limiter
        self._has_looked = False
        self._seen: datetime | None = None
        self._telling: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def shared(self) -> AsyncIterator[None]:
        """While this lasts, the brake is one for all."""
        self._limiter.on_slowed = self._on_slowed
        watching = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            watching.cancel()
            await asyncio.gather(watching, *self._telling, return_exceptions=True)

    def _on_slowed(self, wait_s: float) -> None:
        task = asyncio.create_task(self._tell(wait_s))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _tell(self, wait_s: float) -> None:
        with suppress(LedgerError):  # the run learns of a table that fails with its next write
            await self._ledger.write(throttles.tell, throttles.Told(self._payer, self._run_id, wait_s))

    async def _watch(self) -> None:
        while True:
            with suppress(LedgerError):
                self._follow(await asyncio.to_thread(self._ledger.read, partial(throttles.latest, payer=self._payer)))
            await asyncio.sleep(_LOOK_S)

    def _follow(self, throttle: throttles.Throttle | None) -> None:
        is_first_look, self._has_looked = not self._has_looked, True
        if throttle is None or throttle.at == self._seen:
            return
        self._seen = throttle.at
        if throttle.run_id == self._run_id or (is_first_look and not throttle.left_s):
            return
        self._limiter.join_slow_down(throttle.age_s, throttle.left_s)
