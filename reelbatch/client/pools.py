"""Several small httpx clients in place of one large one.

httpx's pool slows down with its own size, so each client gets at most eight connections; all share one SSL context.
See docs/adr/0001-small-http-pools.md for the measurement.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil
from typing import Any

import httpx

from reelbatch.errors import SettingsError

CONNECTIONS_EACH = 8
CONNECT_TIMEOUT_S = 15.0
KEEPALIVE_S = 3.0
"""Shorter than servers usually keep a connection: reusing one that the server is closing leaves a row in doubt."""


def connect_timeout(timeout_s: float) -> float:
    """Longest wait for a connection, where an answer is waited for `timeout_s` seconds."""
    return min(CONNECT_TIMEOUT_S, timeout_s)


def ssl_context() -> ssl.SSLContext:
    """Trusts what httpx trusts (its own bundle, or SSL_CERT_FILE) and what this machine trusts."""
    context = httpx.create_ssl_context()
    context.load_default_certs()
    return context


class Pools:
    """HTTP connections for up to `size` requests at once.

    Args:
        size: requests in flight.
        timeout: longest waits of one request, step by step.
        trust_env: whether proxy settings of the environment are honoured.
        transport: in place of the network, for tests.
        context: for TLS; shared, since loading the authorities takes time and memory.

    Raises:
        SettingsError: a proxy setting of the environment can't be used.
    """

    def __init__(
        self,
        size: int,
        timeout: httpx.Timeout,
        *,
        trust_env: bool = True,
        transport: httpx.AsyncBaseTransport | None = None,
        context: ssl.SSLContext | None = None,
    ) -> None:
        limits = httpx.Limits(
            max_connections=CONNECTIONS_EACH,
            max_keepalive_connections=CONNECTIONS_EACH,
            keepalive_expiry=KEEPALIVE_S,
        )
        options: dict[str, Any] = {"timeout": timeout, "limits": limits, "trust_env": trust_env}
        try:
            self._clients = [
                httpx.AsyncClient(verify=context or True, transport=transport, **options)
                for _ in range(ceil(size / CONNECTIONS_EACH))
            ]
        except (ValueError, ImportError, httpx.InvalidURL) as error:
            names = "HTTPS_PROXY, HTTP_PROXY, ALL_PROXY"
            raise SettingsError(f"a proxy setting of the environment ({names}) can't be used: {error}") from error
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
