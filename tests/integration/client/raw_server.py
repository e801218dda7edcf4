"""Servers that misbehave, each on a real socket of its own."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Protocol

import httpx
import pytest

from reelbatch.client import Client, ClientOptions

KEY = "mhk_live_0123456789abcdef"
_NO_CAS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # loading the usual ones takes long
Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
_RST = struct.pack("ii", 1, 0)  # SO_LINGER on, zero seconds: closing sends RST and not FIN


@dataclass
class RawServer:
    """One that does what its behaviour says, byte by byte."""

    port: int = 0
    connections: int = 0
    open: int = 0
    most_open: int = 0
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    async def count(self, change: int) -> None:
        """A connection has opened or closed."""
        async with self.changed:
            self.connections += change > 0
            self.open += change
            self.most_open = max(self.most_open, self.open)
            self.changed.notify_all()

    async def until_open(self, number: int) -> None:
        """Wait until that many connections are open; fail after twenty seconds."""
        async with asyncio.timeout(20), self.changed:
            await self.changed.wait_for(lambda: self.open == number)


class Serve(Protocol):
    """Starts a server; with a context it speaks TLS."""

    async def __call__(
        self, behaviour: Behaviour, /, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
    ) -> RawServer:
        """A server with this behaviour."""


class Connect(Protocol):
    """Makes a client for one create at a time."""

    def __call__(self, url: str, timeout_s: float = 5.0) -> Client:
        """A client of this server."""


@pytest.fixture(params=["own connections", "httpx"])
def connect(request: pytest.FixtureRequest) -> Connect:
    """A client on either way to the network: what it knows of a create must be the same."""

    def client_of(url: str, timeout_s: float = 5.0) -> Client:
        transport = httpx.AsyncHTTPTransport(verify=_NO_CAS) if request.param == "httpx" else None
        return Client(KEY, ClientOptions(base_url=url, concurrency=1, timeout_s=timeout_s, transport=transport))

    return client_of


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Starts servers with a given behaviour; all end with the test."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(
            behaviour: Behaviour, /, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
        ) -> RawServer:
            server, tasks = RawServer(), set()

            async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                tasks.add(asyncio.current_task())
                await server.count(1)
                try:
                    with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                        await behaviour(reader, writer)
                finally:
                    writer.close()
                    with contextlib.suppress(OSError, asyncio.CancelledError):
                        await writer.wait_closed()
                    await server.count(-1)

            listening = await asyncio.start_server(connected, host, 0, ssl=tls)
            server.port = listening.sockets[0].getsockname()[1]
            stack.push_async_callback(_end, listening, tasks)
            return server

        yield start


async def _end(listening: asyncio.Server, tasks: set[asyncio.Task[None]]) -> None:
    listening.close()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def read_request(reader: asyncio.StreamReader) -> bytes:
    """A whole request with a stated length."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
    )
    return head + await reader.readexactly(length)


def reset(writer: asyncio.StreamWriter) -> None:
    """Tear the connection down with RST."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST)
    writer.transport.abort()


@cache
def packed(start: bytes = b"") -> bytes:
    """A gzip file of 200 kB that unpacks to `start` and 200 MB; made where it is used."""
    return gzip.compress(start + bytes(200 << 20), 9)


def answer(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    """A whole answer as bytes."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def keeping(serve: Serve, raw: bytes, host: str = "127.0.0.1") -> tuple[RawServer, list[bytes]]:
    """A server that answers everything with `raw`, and the requests that it got."""
    seen: list[bytes] = []

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            seen.append(await read_request(reader))
            writer.write(raw)
            await writer.drain()

    return await serve(behave, host=host), seen
