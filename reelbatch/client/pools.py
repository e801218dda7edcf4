"""Several small httpx clients in place of one large one.

httpx's pool slows down with its own size, so each client gets at most eight connections; all share one SSL context.
See docs/adr/0001-small-http-pools.md for the measurement.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil

import httpx

CONNECTIONS_EACH = 8
CONNECT_TIMEOUT_S = 15.0
KEEPALIVE_S = 3.0
"""Shorter than servers usually keep a connection: reusing one that the server is closing leaves a row in doubt."""


class Pools:
    """HTTP connections for up to `size` requests at once.

    Args:
        size: requests in flight.
        timeout_s: longest wait for the next bytes of an answer, in seconds.
        trust_env: whether proxy settings of the environment are honoured.
        transport: in place of the network, for tests.
    """

    def __init__(
        self,
        size: int,
        *,
        timeout_s: float,
        trust_env: bool = True,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        context = ssl.create_default_context() if transport is None else True
        timeout = httpx.Timeout(timeout_s, connect=CONNECT_TIMEOUT_S)
        limits = httpx.Limits(
            max_connections=CONNECTIONS_EACH,
            max_keepalive_connections=CONNECTIONS_EACH,
            keepalive_expiry=KEEPALIVE_S,
        )
        self._clients = [
            httpx.AsyncClient(
                verify=context, timeout=timeout, limits=limits, trust_env=trust_env, transport=transport
            )
            for _ in range(ceil(size / CONNECTIONS_EACH))
        ]
        self._busy = [0] * len(self._clients)

    @contextmanager
    def client(self) -> Iterator[httpx.AsyncClient]:
        """The client with the fewest requests under way."""
        index = min(range(len(self._busy)), key=self._busy.__getitem__)
        self._busy[index] += 1
        try:
            yield self._clients[index]
        finally:
            self._busy[index] -= 1

    async def close(self) -> None:
        """Close all connections."""
        for client in self._clients:
            await client.aclose()
