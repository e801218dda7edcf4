"""Kept connections of our own: cheaper than httpx by four fifths, and sure of what left.

See docs/adr/0011-own-connections.md for the measurement, and link.py for a connection itself.
"""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from collections.abc import AsyncIterator
from typing import Any

import httpx

from reelbatch.client.connection import Link, written
from reelbatch.client.wire import Call, Origin, Seen, Waits
from reelbatch.errors import TooLate

_HAPPY_EYEBALLS_S = 0.25


class Lines:
    """Connections for up to `size` requests at once; whoever comes later waits in line.

    Args:
        size: requests in flight, and connections.
        waits: longest waits of one request.
        context: for TLS.
    """

    def __init__(self, size: int, waits: Waits, context: ssl.SSLContext | None) -> None:
        self._size = size
        self._waits = waits
        self._context = context
        self._places = asyncio.Semaphore(size)
        self._resting: list[tuple[Origin, Link]] = []  # the one used last is last
        self._open: set[Link] = set()
        self._sweeping: asyncio.TimerHandle | None = None
        self._closed = False

    async def exchange(self, call: Call, seen: Seen) -> None:
        """Send `call` once; `seen` is kept up to date, so that it tells the truth whatever ends the call.

        Raises:
            httpx.TransportError: it did not come to its end.
        """
        await self._place()
        try:
            link = await self._started(call, seen)
            await link.answer(self._waits.answer)
            self._rest(call.origin, link)
        finally:
            self._places.release()

    async def put(self, call: Call, pieces: AsyncIterator[bytes]) -> int:
        """Send `call` with a body in pieces, whose length its headers state; returns the answer's status.

        Raises:
            httpx.TransportError: it did not come to its end.
        """
        seen = Seen()
        await self._place()
        try:
            link = await self._started(call, seen)
            try:
                await link.write(pieces, self._waits.write)
                await link.answer(self._waits.answer)
            except BaseException:
                link.abort()
                raise
            self._rest(call.origin, link)
        finally:
            self._places.release()
        return seen.status or 0

    async def close(self) -> None:
        """Close all connections. Whoever still waits for one is told so; nothing of theirs left."""
        self._closed = True
        self._resting.clear()
        if self._sweeping is not None:
            self._sweeping.cancel()
        lost = [link.lost for link in self._open]
        for link in self._open:
            link.abort()
        if lost:
            await asyncio.wait(lost)

    async def _place(self) -> None:
        if not self._places.locked():
            await self._places.acquire()
            return
        try:
            async with asyncio.timeout(self._waits.place):
                await self._places.acquire()
        except TimeoutError as error:
            raise httpx.PoolTimeout("no connection became free in time") from error

    async def _started(self, call: Call, seen: Seen) -> Link:
        """A connection that `call` was written to. One that surely took nothing of it is replaced by a new one.

        Raises:
            TooLate: its time to leave was over; the connection is kept, so that the next attempt needs none.
        """
        request, owed = written(call)
        while (link := self._kept(call.origin)) is not None:
            self._check(call, link)
            if link.start(request, owed, seen):
                return link
            link.abort()
        link = await self._connect(call.origin)
        self._check(call, link)
        if not link.start(request, owed, seen):
            raise httpx.ConnectError("the server closed the connection before anything was sent")
        return link

    def _check(self, call: Call, link: Link) -> None:
        try:
            call.check()
        except TooLate:
            self._rest(call.origin, link)
            raise

    def _kept(self, origin: Origin) -> Link | None:
        resting = self._resting
        for index in range(len(resting) - 1, -1, -1):
            if resting[index][0] == origin:
                _, link = resting.pop(index)
                if link.is_fit():
                    return link
                link.abort()
        return None

    def _rest(self, origin: Origin, link: Link) -> None:
        if link.is_at_rest() and not self._closed:
            self._resting.append((origin, link))
            if self._sweeping is None:
                self._sweep_at(link.fit_until)
        else:
            link.abort()

    def _sweep_at(self, when: float) -> None:
        self._sweeping = asyncio.get_running_loop().call_at(when, self._sweep)

    def _sweep(self) -> None:
        """Close what has rested for too long: nobody would use it again."""
        resting, self._resting, self._sweeping = self._resting, [], None
        for origin, link in resting:
            if link.is_fit():
                self._resting.append((origin, link))
            else:
                link.abort()
        if self._resting:
            self._sweep_at(min(link.fit_until for _, link in self._resting))

    async def _connect(self, origin: Origin) -> Link:
        """A new connection, TLS included.

        Raises:
            httpx.ConnectError, httpx.ConnectTimeout: there is none; nothing of any request left.
        """
        if self._closed:
            raise httpx.ConnectError("the client is closed")
        if len(self._open) >= self._size and self._resting:  # connections to other servers make room
            self._resting.pop(0)[1].abort()
        try:
            async with asyncio.timeout(self._waits.connect):
                link = await self._connected(origin)
        except TimeoutError as error:
            raise httpx.ConnectTimeout("no connection came about in time") from error
        except Exception as error:
            raise httpx.ConnectError(str(error) or type(error).__name__) from error
        if self._closed:
            link.abort()
            raise httpx.ConnectError("the client is closed")
        self._open.add(link)
        link.lost.add_done_callback(lambda _: self._open.discard(link))
        return link

    async def _connected(self, origin: Origin) -> Link:
        options: dict[str, Any] = {} if _is_number(origin.host) else {"happy_eyeballs_delay": _HAPPY_EYEBALLS_S}
        if origin.scheme == "https":
            options["ssl"] = self._context
        _, link = await asyncio.get_running_loop().create_connection(Link, origin.host, origin.port, **options)
        return link


def _is_number(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
