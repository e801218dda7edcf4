"""What has been seen of one POST: the evidence that its outcome rests on."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from pydantic import SecretStr

from reelbatch.client.pools import connect_timeout
from reelbatch.outcome import Exchange

ANSWER_LIMIT = 5_000_000
"""Bytes of an answer that are read; a create's answer has some hundred."""
_MASK = b"[the API key]"
_SECRET_LENGTH = 12
_GZIP_OR_ZLIB = 47


class Watch:
    """Follows one POST.

    Args:
        timeout_s: longest time from the moment the request leaves to the end of the answer, in seconds.
    """

    def __init__(self, timeout_s: float) -> None:
        self.left = False
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.body = bytearray()
        self._timeout_s = timeout_s
        self._limit: asyncio.Timeout | None = None

    @asynccontextmanager
    async def limit(self) -> AsyncIterator[None]:
        """Ends it all in time, also where byte after byte comes: first the wait for a connection, then the rest.

        Raises:
            TimeoutError: it took too long.
        """
        async with asyncio.timeout(self._timeout_s * 2 + connect_timeout(self._timeout_s)) as self._limit:
            yield

    async def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Called by httpcore; the connection's own word on whether the request began to leave."""
        if not event.endswith("send_request_headers.started"):
            return
        if getattr(info.get("request"), "method", b"POST") == b"CONNECT":  # that is only the proxy being asked
            return
        self.left = True
        if self._limit is not None and not self._limit.expired():
            self._limit.reschedule(asyncio.get_running_loop().time() + self._timeout_s)

    def exchange(self, error: Exception | None, key: SecretStr) -> Exchange:
        """All of it. A server that repeats the key in a refusal does not bring it into tables and logs."""
        body = _uncompressed(bytes(self.body), self.headers.get("content-encoding", ""))
        if self.status is None or self.status >= 300:  # noqa: PLR2004 - anything but success
            body = without_key(body, key)
        return Exchange(self.status, self.headers, body, error, self.left)


def without_key(body: bytes, key: SecretStr) -> bytes:
    """`body` with the key masked; a key so short that it is an ordinary word (the sandbox's) is no secret."""
    secret = key.get_secret_value().encode()
    return body.replace(secret, _MASK) if len(secret) >= _SECRET_LENGTH else body


def _uncompressed(body: bytes, encoding: str) -> bytes:
    """What of a compressed body can be read; the body itself where that is not what its header says."""
    if encoding.strip().lower() not in {"gzip", "x-gzip", "deflate"}:
        return body
    try:
        return zlib.decompressobj(_GZIP_OR_ZLIB).decompress(body, ANSWER_LIMIT)
    except zlib.error:
        return body
