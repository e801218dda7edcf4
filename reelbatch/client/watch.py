"""Follows one call through httpx, which says itself whether the request began to leave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from reelbatch.client.wire import Call, Seen, Waits


class Watch:
    """Follows one call."""

    def __init__(self, call: Call, seen: Seen, waits: Waits) -> None:
        self._call = call
        self._seen = seen
        self._waits = waits
        self._limit: asyncio.Timeout | None = None

    @asynccontextmanager
    async def limit(self) -> AsyncIterator[None]:
        """Ends it all in time, also where byte after byte comes: first the wait for a connection, then the rest.

        Raises:
            TimeoutError: it took too long.
        """
        waits = self._waits
        async with asyncio.timeout((waits.place or 0.0) + waits.connect + waits.answer) as self._limit:
            yield

    async def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Called by httpcore; the connection's own word on whether the request began to leave.

        Raises:
            TooLate: it may not; httpcore then closes the connection, to which nothing was written.
        """
        if not event.endswith("send_request_headers.started"):
            return
        if getattr(info.get("request"), "method", b"POST") == b"CONNECT":  # that is only the proxy being asked
            return
        self._call.check()
        self._seen.left = True
        if self._limit is not None and not self._limit.expired():
            self._limit.reschedule(asyncio.get_running_loop().time() + self._waits.answer)
