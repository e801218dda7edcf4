"""Answers that break: what a client sees when a connection, and not only a request, goes wrong."""

from __future__ import annotations

import asyncio
import socket
import struct
from asyncio import Transport
from contextlib import suppress
from typing import cast

from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

_LINGER_OFF = struct.pack("ii", 1, 0)  # SO_LINGER on, zero seconds: closing sends RST and not FIN


class ConnectionProtocol(H11Protocol):
    """Puts each request's connection into its state, so that an answer can close or reset it."""

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Called once for each connection, before its first request."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


class Severed(Response):
    """No answer: the connection is closed, or with `reset` torn down."""

    def __init__(self, *, reset: bool = False, after: float = 0.0) -> None:
        super().__init__()
        self.reset = reset
        self.after = after

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - never answers
        """Wait `after` seconds, or less if the client goes first, and cut the connection."""
        if self.after:
            with suppress(TimeoutError):
                await asyncio.wait_for(gone(receive), self.after)
        await _cut(scope, receive, reset=self.reset)


class Truncated(Response):
    """An answer whose connection closes after `keep` bytes of its body, short of the stated length."""

    def __init__(self, content: str | bytes, *, media_type: str, keep: int) -> None:
        super().__init__(content, media_type=media_type)
        self.keep = keep

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the head and the first bytes of the body."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        start = bytes(self.body[: self.keep])
        await send({"type": "http.response.body", "body": start, "more_body": True})
        await _cut(scope, receive)


async def _cut(scope: Scope, receive: Receive, *, reset: bool = False) -> None:
    transport = cast("Transport", scope["state"]["transport"])
    if reset:
        with suppress(OSError):  # the client was gone before
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_OFF)
        transport.abort()
    else:
        transport.close()
    await gone(receive)  # else the server would still write its own 500


async def gone(receive: Receive) -> None:
    """Return when the client has gone, or the connection is closed."""
    while (await receive())["type"] != "http.disconnect":
        pass
