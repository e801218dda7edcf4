"""One connection to a server: one exchange at a time, and certainty about what was written.

A request goes to the operating system in one write. `start` is False only where surely nothing of it left: the system
itself refused the write whole. Whatever else happens, the request counts as having left.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import AsyncIterable, AsyncIterator
from math import inf
from typing import cast

import httpx

from reelbatch.client.response_parser import ResponseParser
from reelbatch.failpoints import point

_PIECE = 256 << 10


class HttpConnection(asyncio.Protocol):
    """One connection. Made by `asyncio`'s `create_connection`, TLS included where there is TLS."""

    def __init__(self) -> None:
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._loop = asyncio.get_running_loop()
        self._parser = ResponseParser()
        self._transport: asyncio.Transport | None = None
        self._is_busy = False  # with an exchange
        self._owed = 0  # bytes of its request that are still to be written
        self._ended: asyncio.Future[Exception | None] = self._loop.create_future()
        self._room: asyncio.Future[None] | None = None  # while the other side takes no more bytes
        self._rested_at = 0.0
        self._wait_s = self._late_at = inf  # of the answer that is waited for; loop time
        self._timer: asyncio.TimerHandle | None = None

    # --- what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""
        self._transport = cast("asyncio.Transport", transport)
        self._rested_at = self._loop.time()
        self._watched = _Watched(transport.get_extra_info("socket").fileno())

    def data_received(self, data: bytes) -> None:
        """More of the answer. What no one asked for ends the connection: it could be taken for the next answer."""
        if not self._is_busy:
            self.abort()
        else:
            self._take(data)

    def eof_received(self) -> None:
        """The other side says no more; for an answer without a stated length that is its end."""
        if self._is_busy:
            try:
                self._parser.end()
            except httpx.RemoteProtocolError as error:
                self._end(error)
            else:
                self._end(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._end(httpx.ReadError(str(exc) or "the connection was lost"))
        if self._timer is not None:
            self._timer.cancel()
        if not self.lost.done():
            self.lost.set_result(None)

    def pause_writing(self) -> None:
        """The other side is slow."""
        self._room = self._loop.create_future()

    def resume_writing(self) -> None:
        """It has caught up."""
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        self._room = None

    # --- what the pool calls

    def is_fit(self) -> bool:
        """Whether a kept connection can take another request.

        The socket itself is asked: a close that has arrived, though asyncio has not read it yet, leaves no doubt.
        """
        return not self.is_closing() and self._loop.time() < self.fit_until and not self._watched.has_news()

    @property
    def fit_until(self) -> float:
        """Until when a request may be written to it (loop time); later the server may be closing it just then."""
        return self._rested_at + self._parser.keepalive_s

    def is_closing(self) -> bool:
        """Whether no request can be written any more."""
        return self._transport is None or self._transport.is_closing()

    def is_at_rest(self) -> bool:
        """Whether the last exchange ended so that another can follow."""
        return not self._is_busy and not self.is_closing()

    def abort(self) -> None:
        """Drop the connection, whatever is under way on it."""
        if self._transport is not None:
            self._transport.abort()

    def start(self, request: bytes, owed: int) -> bool:
        """Write a request of which `owed` bytes are still to come; False where surely not a byte of it left."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return False
        self._is_busy, self._ended = True, self._loop.create_future()
        self._owed = owed
        self._late_at = inf
        self._parser.begin()
        point("connection.send")
        transport.write(request)
        point("connection.sent")
        if transport.is_closing() and isinstance(self._loop, asyncio.SelectorEventLoop):
            # This loop hands a write to the system at once, in one call, and closes only when that call failed: then
            # the system has taken nothing. Of other loops that is not known.
            self._is_busy = False
            return False
        return True

    @property
    def body(self) -> bytes:
        """What came of the last answer's body."""
        return bytes(self._parser.received.body)

    async def response(self, wait_s: float | None) -> httpx.Response:
        """Wait for the end of the answer, whole or not. What broke it off is raised at the end of its body.

        Raises:
            httpx.TransportError: it did not come as far as its status, or that can't be trusted.
        """
        error = await self._end_of_answer(inf if wait_s is None else wait_s)
        received = self._parser.received
        if received.status is None:
            raise error or httpx.RemoteProtocolError("the answer has no status")
        return httpx.Response(received.status, headers=received.headers, stream=_Received(self.body, error))

    async def write(self, pieces: AsyncIterable[bytes], wait_s: float | None) -> None:
        """The body of a request that was started without one. Ends early where the answer does not wait for it.

        What can't be written to its end is dropped, with the connection.

        Raises:
            httpx.WriteTimeout: the other side takes nothing for so long.
            httpx.LocalProtocolError: the body is longer or shorter than stated.
        """
        try:
            await self._write(pieces, wait_s)
        except BaseException:
            self.abort()
            raise

    # --- its own

    async def _end_of_answer(self, wait_s: float) -> Exception | None:
        self._wait_s, self._late_at = wait_s, self._loop.time() + wait_s
        if self._timer is None or self._timer.when() > self._late_at:
            self._watch_time()
        try:
            return await self._ended
        finally:
            if self._is_busy:  # cancelled
                self._is_busy = False
                self.abort()

    async def _write(self, pieces: AsyncIterable[bytes], wait_s: float | None) -> None:
        transport = cast("asyncio.Transport", self._transport)
        async for piece in pieces:
            view = memoryview(piece)
            if len(view) > self._owed:
                raise httpx.LocalProtocolError("the body is longer than its Content-Length")
            for start in range(0, len(view), _PIECE):
                if not self._is_busy:
                    return
                some = view[start : start + _PIECE]
                self._owed -= len(some)
                point("connection.send_more")
                transport.write(some)
                await self._until_room(wait_s)
        if self._owed:
            raise httpx.LocalProtocolError("the body is shorter than its Content-Length")

    async def _until_room(self, wait_s: float | None) -> None:
        if self._room is None:
            return
        try:
            async with asyncio.timeout(wait_s):
                await self._room
        except TimeoutError as error:
            raise httpx.WriteTimeout(f"nothing more was taken for {wait_s:g} s") from error

    def _watch_time(self) -> None:
        """One timer serves many answers: it fires when the first of them would be late, and looks at the last."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._is_busy or self._late_at == inf:  # no one waits for an answer now
            return
        if self._loop.time() >= self._late_at:
            self._end(httpx.ReadTimeout(f"no whole answer within {self._wait_s:g} s"))
        else:
            self._timer = self._loop.call_at(self._late_at, self._watch_time)

    def _take(self, data: bytes) -> None:
        try:
            is_whole = self._parser.take(data)
        except httpx.RemoteProtocolError as error:
            self._end(error)
        else:
            if is_whole:
                self._end(None)

    def _end(self, error: Exception | None) -> None:
        self.resume_writing()
        if not self._is_busy:
            return
        if error is not None:
            self._parser.rescue()
        self._is_busy = False
        self._rested_at = self._loop.time()
        if error is not None or self._owed or not self._parser.is_kept:
            self.abort()
        if not self._ended.done():
            self._ended.set_result(error)


def written(request: httpx.Request) -> tuple[bytes, int]:
    """A request as bytes, and how many of its body are still to come.

    Nothing that comes from outside adds a line to its head, or a word to the first one.

    Raises:
        httpx.LocalProtocolError: something would, or the body has no stated length.
    """
    headers, target = request.headers.raw, request.url.raw_path
    lines = [b"%b %b HTTP/1.1" % (request.method.encode(), target), *(b"%b: %b" % header for header in headers)]
    head = b"\r\n".join([*lines, b"", b""])
    if not head.isascii() or not head.count(b"\r") == head.count(b"\n") == len(lines) + 1 or b" " in target:
        raise httpx.LocalProtocolError("the address or a header has characters that no request may have")
    if isinstance(request.stream, httpx.ByteStream):
        return head + request.read(), 0
    if (owed := request.headers.get("content-length")) is None:
        raise httpx.LocalProtocolError("a body in pieces needs a Content-Length")
    return head, int(owed)


class _Received(httpx.AsyncByteStream):
    """A body that is there, and then the error that broke it off."""

    def __init__(self, body: bytes, error: Exception | None) -> None:
        self._body = body
        self._error = error

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._body
        if self._error is not None:
            raise self._error


class _Watched:
    """A socket that can be asked whether anything has arrived: of a connection at rest, that is its end."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._poll = select.poll() if hasattr(select, "poll") else None
        if self._poll is not None:
            self._poll.register(number, select.POLLIN)

    def has_news(self) -> bool:
        """Bytes, an end or an error."""
        if self._poll is not None:
            return bool(self._poll.poll(0))
        return bool(select.select([self._number], [], [], 0)[0])  # Windows
