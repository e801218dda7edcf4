"""Which way a call takes to the network: our own connections, or httpx where a proxy stands between."""

from __future__ import annotations

import ssl
from urllib.request import getproxies

import httpx

from reelbatch.client.httpx_pools import Pools
from reelbatch.client.transport import Lines
from reelbatch.client.wire import Waits, Wire


class Ways:
    """Makes the ways of one client.

    Args:
        transport: in place of the network, for tests.
        trust_env: whether proxy settings of the environment are honoured.
    """

    def __init__(self, transport: httpx.AsyncBaseTransport | None, *, trust_env: bool) -> None:
        self._transport = transport
        self._trust_env = trust_env
        self._through_httpx = transport is not None or (trust_env and _has_proxies())
        # Shared: loading the authorities takes time and memory.
        self._context = _ssl_context() if transport is None else None

    def wire(self, size: int, waits: Waits) -> Wire:
        """A way for so many requests at once.

        Raises:
            SettingsError: a proxy setting of the environment can't be used.
        """
        return self.pools(size, waits) if self._through_httpx else Lines(size, waits, self._context)

    def pools(self, size: int, waits: Waits) -> Pools:
        """httpx, for what needs all that it can do.

        Raises:
            SettingsError: a proxy setting of the environment can't be used.
        """
        return Pools(size, waits, trust_env=self._trust_env, transport=self._transport, context=self._context)


def _has_proxies() -> bool:
    """Where httpx itself looks: the environment, and on macOS and Windows the system's settings."""
    return any(address for scheme, address in getproxies().items() if scheme in {"http", "https", "all"})


def _ssl_context() -> ssl.SSLContext:
    """Trusts what httpx trusts (its own bundle, or SSL_CERT_FILE) and what this machine trusts."""
    context = httpx.create_ssl_context()
    context.load_default_certs()
    context.set_alpn_protocols(["http/1.1"])
    return context
