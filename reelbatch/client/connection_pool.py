"""Kept connections of our own as an httpx transport: cheaper than httpx's by four fifths, and sure of what left.

See docs/adr/0018-one-client-over-httpx-transports.md for the measurement, and connection.py for a connection itself.
"""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from collections.abc import AsyncIterable, Awaitable, Callable, Mapping
from typing import Any, NamedTuple, cast

import httpx

from reelbatch.client.connection import HttpConnection, written

SENDING = "send_request_headers.started"
"""How the `trace` event ends after which a request may have left. The name is httpcore's."""
REFUSED = "connection.send_request.refused"
"""The event of a write that the system refused whole: nothing of the request left after all."""
CONNECTING = "connect_tcp.started"
"""How the event ends before which nothing left: it needs a connection first. The name is httpcore's."""
UNREADABLE = "connection.receive_response.unreadable"
"""The event of an answer without a status that can be trusted; its info has the `body`."""
Trace = Callable[[str, Mapping[str, Any]], Awaitable[None]]
_HAPPY_EYEBALLS_S = 0.25
_PORTS = {"http": 80, "https": 443}


class _Origin(NamedTuple):
    """A server."""

    scheme: str
    host: str
    port: int


class ConnectionPool(httpx.AsyncBaseTransport):
    """Connections for up to `size` requests at once; later requests wait in line.

    A response comes when it is whole. One that broke off has what came of its body, and the error at the body's end.
    Of the `timeout` extension, `answer` takes the place of `read`: seconds for the whole answer.

    Args:
        size: requests in flight, and connections.
        context: for TLS.
    """

    def __init__(self, size: int, context: ssl.SSLContext | None) -> None:
        self._size = size
        self._context = context
        self._places = asyncio.Semaphore(size)
        self._resting: list[tuple[_Origin, HttpConnection]] = []  # the one used last is last
        self._open: set[HttpConnection] = set()
        self._sweeping: asyncio.TimerHandle | None = None
        self._closed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send `request` once.

        Raises:
            httpx.TransportError: there is no response.
        """
        timeouts, trace = request.extensions.get("timeout", {}), request.extensions.get("trace", untraced)
        origin = _origin(request.url)
        await self._acquire(timeouts.get("pool"))
        try:
            connection = await self._started(request, origin, timeouts.get("connect"), trace)
            if not isinstance(request.stream, httpx.ByteStream):
                pieces = cast("AsyncIterable[bytes]", request.stream)
                await connection.write(pieces, timeouts.get("write"))
            try:
                response = await connection.response(timeouts.get("answer"))
            except httpx.TransportError:
                await trace(UNREADABLE, {"request": request, "body": connection.body})
                raise
            self._release(origin, connection)
        finally:
            self._places.release()
        return response

    async def aclose(self) -> None:
        """Close all connections. A request that still waits for one ends so; nothing of it left."""
        self._closed = True
        self._resting.clear()
        if self._sweeping is not None:
            self._sweeping.cancel()
        lost = [connection.lost for connection in self._open]
        for connection in self._open:
            connection.abort()
        if lost:
            await asyncio.wait(lost)

    async def _acquire(self, wait_s: float | None) -> None:
        if not self._places.locked():
            await self._places.acquire()
            return
        try:
            async with asyncio.timeout(wait_s):
                await self._places.acquire()
        except TimeoutError as error:
            raise httpx.PoolTimeout("no connection became free in time") from error

    async def _started(
        self, request: httpx.Request, origin: _Origin, connect_s: float | None, trace: Trace
    ) -> HttpConnection:
        """A connection that `request` was written to. One that surely took nothing of it is replaced by a new one."""
        head, owed = written(request)
        while True:
            kept = self._kept(origin)
            connection = kept or await self._connect(origin, connect_s)
            try:
                await trace(SENDING, {"request": request})
            except BaseException:
                self._release(origin, connection)  # so that the next attempt needs no new one
                raise
            if connection.start(head, owed):
                return connection
            await trace(REFUSED, {"request": request})
            connection.abort()
            if kept is None:
                raise httpx.ConnectError("the server closed the connection before anything was sent")

    def _kept(self, origin: _Origin) -> HttpConnection | None:
        resting = self._resting
        for index in range(len(resting) - 1, -1, -1):
            if resting[index][0] == origin:
                _, connection = resting.pop(index)
                if connection.is_fit():
                    return connection
                connection.abort()
        return None

    def _release(self, origin: _Origin, connection: HttpConnection) -> None:
        if connection.is_at_rest() and not self._closed:
            self._resting.append((origin, connection))
            if self._sweeping is None:
                self._sweep_at(connection.fit_until)
        else:
            connection.abort()

    def _sweep_at(self, when: float) -> None:
        self._sweeping = asyncio.get_running_loop().call_at(when, self._sweep)

    def _sweep(self) -> None:
        """Close what has rested for too long: no one would use it again."""
        resting, self._resting, self._sweeping = self._resting, [], None
        for origin, connection in resting:
            if connection.is_fit():
                self._resting.append((origin, connection))
            else:
                connection.abort()
        if self._resting:
            self._sweep_at(min(connection.fit_until for _, connection in self._resting))

    async def _connect(self, origin: _Origin, wait_s: float | None) -> HttpConnection:
        """A new connection, TLS included.

        Raises:
            httpx.ConnectError, httpx.ConnectTimeout: there is none; nothing of any request left.
        """
        if self._closed:
            raise httpx.ConnectError("the client is closed")
        if len(self._open) >= self._size and self._resting:  # connections to other servers make room
            self._resting.pop(0)[1].abort()
        try:
            async with asyncio.timeout(wait_s):
                connection = await self._connected(origin)
        except TimeoutError as error:
            raise httpx.ConnectTimeout("no connection came about in time") from error
        except Exception as error:
            raise httpx.ConnectError(str(error) or type(error).__name__) from error
        if self._closed:
            connection.abort()
            raise httpx.ConnectError("the client is closed")
        self._open.add(connection)
        connection.lost.add_done_callback(lambda _: self._open.discard(connection))
        return connection

    async def _connected(self, origin: _Origin) -> HttpConnection:
        options: dict[str, Any] = {} if _is_number(origin.host) else {"happy_eyeballs_delay": _HAPPY_EYEBALLS_S}
        if origin.scheme == "https":
            options["ssl"] = self._context
        _, connection = await asyncio.get_running_loop().create_connection(
            HttpConnection, origin.host, origin.port, **options
        )
        return connection


async def untraced(_: str, __: Mapping[str, Any]) -> None:
    """For a request without a `trace` extension."""


def _origin(url: httpx.URL) -> _Origin:
    if url.scheme not in _PORTS or not url.raw_host:
        raise httpx.UnsupportedProtocol("the address is neither http:// nor https://")
    return _Origin(url.scheme, url.raw_host.decode(), url.port or _PORTS[url.scheme])


def _is_number(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
