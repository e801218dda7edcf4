"""Several small httpx clients as one transport: for downloads, and for everything where a proxy stands between.

httpx's pool slows down with its own size, so each client gets at most eight connections.
See docs/adr/0018-one-client-over-httpx-transports.md for the measurement.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from math import ceil
from typing import Any, cast

import httpx

from reelbatch.client.connection_pool import CONNECTING, REFUSED, SENDING, untraced
from reelbatch.client.response_parser import KEEPALIVE_S
from reelbatch.errors import SettingsError

CONNECTIONS_EACH = 8
_PROXY_NAMES = "HTTPS_PROXY, HTTP_PROXY, ALL_PROXY"
_RECEIVING = "receive_response_headers.started"
_NOT_CONNECTED = (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError)


class HttpxPools(httpx.AsyncBaseTransport):
    """httpx's connections for up to `size` requests at once. A redirect is not followed: it is the `next_request`.

    Args:
        size: requests in flight.
        context: for TLS; shared.
        proxied: whether proxy settings of the environment are honoured.
        transport: in place of the network.

    Raises:
        SettingsError: a proxy setting of the environment can't be used.
    """

    def __init__(
        self,
        size: int,
        *,
        context: ssl.SSLContext | None = None,
        proxied: bool = False,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        limits = httpx.Limits(
            max_connections=CONNECTIONS_EACH,
            max_keepalive_connections=CONNECTIONS_EACH,
            keepalive_expiry=KEEPALIVE_S,
        )
        self._proxied = proxied
        self._is_foreign = transport is not None
        try:
            self._clients = [
                httpx.AsyncClient(verify=context or True, transport=transport, limits=limits, trust_env=proxied)
                for _ in range(ceil(size / CONNECTIONS_EACH))
            ]
        except (ValueError, ImportError, httpx.InvalidURL) as error:
            raise SettingsError(
                f"a proxy setting of the environment ({_PROXY_NAMES}) can't be used: {error}"
            ) from error
        self._busy = [0] * len(self._clients)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send `request` through the client with the fewest under way.

        Raises:
            httpx.TransportError: there is no response.
            TimeoutError: there is none in time, though bytes kept coming.
        """
        index = min(range(len(self._busy)), key=self._busy.__getitem__)
        self._busy[index] += 1
        try:
            response, until = await self._send(self._clients[index], request)
        except BaseException as error:
            self._busy[index] -= 1
            if self._proxied and isinstance(error, _NOT_CONNECTED):
                what = f"{str(error) or 'no connection'} (the environment names a proxy: {_PROXY_NAMES})"
                raise type(error)(what) from error
            raise
        stream = cast("httpx.AsyncByteStream", response.stream)
        response.stream = _BoundedStream(stream, until, lambda: self._give_back(index))
        return response

    async def aclose(self) -> None:
        """Close all connections."""
        for client in self._clients:
            await client.aclose()

    def _give_back(self, index: int) -> None:
        self._busy[index] -= 1

    async def _send(self, client: httpx.AsyncClient, request: httpx.Request) -> tuple[httpx.Response, float | None]:
        """The response, and until when the whole of it is waited for: first a connection has its limit, then that."""
        timeouts, trace = request.extensions.get("timeout", {}), request.extensions.get("trace", untraced)
        answer_s: float | None = timeouts.get("answer")
        if self._is_foreign:  # one that reports nothing may have sent
            await trace(SENDING, {"request": request})
        async with asyncio.timeout(_until_connected(timeouts)) as limit:

            async def follow(event: str, info: Mapping[str, Any]) -> None:
                await trace(event, info)
                if event.endswith(CONNECTING):
                    await trace(REFUSED, info)
                if getattr(info.get("request"), "method", b"") == b"CONNECT" or limit.expired():
                    return
                if event.endswith(SENDING):  # each write has a limit of its own
                    limit.reschedule(None)
                elif event.endswith(_RECEIVING) and answer_s is not None:
                    limit.reschedule(asyncio.get_running_loop().time() + answer_s)

            request.extensions["trace"] = follow
            response = await client.send(request, stream=True)
        return response, limit.when()


class _BoundedStream(httpx.AsyncByteStream):
    """The body of a response: whole by a certain time (of the loop's clock; None: any), and then given back."""

    def __init__(self, stream: httpx.AsyncByteStream, until: float | None, give_back: Callable[[], None]) -> None:
        self._stream = stream
        self._until = until
        self._give_back: Callable[[], None] | None = give_back

    async def __aiter__(self) -> AsyncIterator[bytes]:
        chunks = aiter(self._stream)
        while True:
            async with asyncio.timeout_at(self._until):
                chunk = await anext(chunks, None)
            if chunk is None:
                return
            yield chunk

    async def aclose(self) -> None:
        """The connection can be used again, where the body was read to its end."""
        if self._give_back is not None:
            self._give_back()
            self._give_back = None
        await self._stream.aclose()


def _until_connected(timeouts: Mapping[str, float | None]) -> float | None:
    """Seconds after which a request has left or never will; None for one that may wait for others."""
    pool_s, connect_s, answer_s = (timeouts.get(name) for name in ("pool", "connect", "answer"))
    return None if pool_s is None or answer_s is None else pool_s + (connect_s or 0.0) + answer_s
