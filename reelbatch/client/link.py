"""One connection to a server: one exchange at a time, and certainty about what was written.

A request goes to the operating system in one write, and `Seen.left` is set before it. It is taken back only where the
operating system itself refused the write whole. Whatever else happens, the request counts as having left.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import AsyncIterator
from typing import cast

import h11
import httpx

from reelbatch.client.wire import ANSWER_LIMIT, KEEPALIVE_S, Call, Seen

_HEAD_LIMIT = 100 << 10
_PIECE = 256 << 10


class Link(asyncio.Protocol):
    """One connection. Made by `asyncio`'s `create_connection`, TLS included where there is TLS."""

    def __init__(self) -> None:
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._loop = asyncio.get_running_loop()
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD_LIMIT)
        self._transport: asyncio.Transport | None = None
        self._seen: Seen | None = None  # of the exchange under way
        self._ended: asyncio.Future[Exception | None] = self._loop.create_future()
        self._room: asyncio.Future[None] | None = None  # while the other side takes no more bytes
        self._rested_at = 0.0

    # --- what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""
        self._transport = cast("asyncio.Transport", transport)
        self._watched = _Watched(transport.get_extra_info("socket").fileno())

    def data_received(self, data: bytes) -> None:
        """More of the answer. What nobody asked for ends the connection: it could be taken for the next answer."""
        if self._seen is None:
            self.abort()
        else:
            self._receive(data)

    def eof_received(self) -> None:
        """The other side says no more; for an answer without a stated length that is its end."""
        if self._seen is not None:
            self._receive(b"")

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._end(httpx.ReadError(str(exc) or "the connection was lost"))
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
        rested = self._loop.time() - self._rested_at
        return not self.is_closing() and rested < KEEPALIVE_S and not self._watched.has_news()

    def is_closing(self) -> bool:
        """Whether no request can be written any more."""
        return self._transport is None or self._transport.is_closing()

    def is_at_rest(self) -> bool:
        """Whether the last exchange ended so that another can follow."""
        return self._seen is None and self._http.states == _AT_REST and not self.is_closing()

    def abort(self) -> None:
        """Drop the connection, whatever is under way on it."""
        if self._transport is not None:
            self._transport.abort()

    def start(self, call: Call, seen: Seen) -> bool:
        """Write a request; False where surely not a byte of it left."""
        data = self._written(call)
        transport = self._transport
        if transport is None or transport.is_closing():
            return False
        self._seen, self._ended = seen, self._loop.create_future()
        seen.left = True
        transport.write(data)
        if transport.is_closing() and isinstance(self._loop, asyncio.SelectorEventLoop):
            # This loop hands a write to the system at once, in one call, and closes only when that call failed: then
            # the system has taken nothing. Of other loops that is not known.
            seen.left = False
            self._seen = None
            return False
        return True

    async def answer(self, wait_s: float) -> None:
        """Wait for the end of the answer.

        Raises:
            httpx.TransportError: it did not come to its end.
        """
        timer = self._loop.call_later(wait_s, self._late, wait_s)
        try:
            error = await self._ended
        finally:
            timer.cancel()
            if self._seen is not None:  # cancelled
                self._seen = None
                self.abort()
        if error is not None:
            raise error

    async def write(self, pieces: AsyncIterator[bytes], wait_s: float | None) -> None:
        """The body of a request that was started without one. Ends early where the answer does not wait for it.

        Raises:
            httpx.WriteTimeout: the other side takes nothing for so long.
        """
        async for piece in pieces:
            view = memoryview(piece)
            for start in range(0, len(view), _PIECE):
                if self._seen is None:
                    return
                self._write(h11.Data(data=cast("bytes", view[start : start + _PIECE])))
                await self._until_room(wait_s)
        if self._seen is not None:
            self._write(h11.EndOfMessage())

    # --- its own

    def _written(self, call: Call) -> bytes:
        http = self._http
        headers = [("Host", call.origin.netloc), *call.headers]
        parts = [http.send(h11.Request(method=call.method, target=call.target, headers=headers))]
        if call.content:
            parts.append(http.send(h11.Data(data=call.content)))
        if call.content or call.method == "GET":
            parts.append(http.send(h11.EndOfMessage()))
        return b"".join(part for part in parts if part)

    def _write(self, event: h11.Data | h11.EndOfMessage) -> None:
        assert self._transport is not None  # noqa: S101 - it has been started
        for data in self._http.send_with_data_passthrough(event) or ():
            self._transport.write(data)

    async def _until_room(self, wait_s: float | None) -> None:
        if self._room is None:
            return
        try:
            async with asyncio.timeout(wait_s):
                await self._room
        except TimeoutError as error:
            raise httpx.WriteTimeout(f"nothing more was taken for {wait_s:g} s") from error

    def _late(self, wait_s: float) -> None:
        self._end(httpx.ReadTimeout(f"no whole answer within {wait_s:g} s"))

    def _receive(self, data: bytes) -> None:
        try:
            self._http.receive_data(data)
            self._read(cast("Seen", self._seen))
        except h11.RemoteProtocolError as error:
            unheard = cast("Seen", self._seen).status is None and not data
            what = "the server closed the connection without an answer" if unheard else str(error)
            self._end(httpx.RemoteProtocolError(what))

    def _read(self, seen: Seen) -> None:
        while (event := self._http.next_event()) is not h11.NEED_DATA:
            if isinstance(event, h11.Data):
                seen.body += event.data
                if len(seen.body) > ANSWER_LIMIT:
                    self._end(None)
                    return
            elif isinstance(event, h11.Response):
                seen.status, seen.headers = event.status_code, _headers(event)
            elif isinstance(event, h11.EndOfMessage):
                self._end(None)
                return
            elif not isinstance(event, h11.InformationalResponse):
                self._end(httpx.RemoteProtocolError("the server answered with something else than an answer"))
                return

    def _end(self, error: Exception | None) -> None:
        self.resume_writing()
        if self._seen is None:
            return
        self._seen = None
        self._rested_at = self._loop.time()
        if error is None and self._http.states == _DONE and not self._http.trailing_data[0]:
            self._http.start_next_cycle()
        else:
            self.abort()
        if not self._ended.done():
            self._ended.set_result(error)


_DONE = {h11.CLIENT: h11.DONE, h11.SERVER: h11.DONE}
_AT_REST = {h11.CLIENT: h11.IDLE, h11.SERVER: h11.IDLE}


def _headers(response: h11.Response) -> dict[str, str]:
    headers: dict[str, str] = {}
    for raw_name, raw_value in response.headers:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


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
