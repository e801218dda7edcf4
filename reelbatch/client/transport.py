"""How a request leaves, and what is known about it afterwards.

The client speaks httpx: it hands an `httpx.Request` to an `httpx.AsyncBaseTransport`. That is our own connections, or
httpx's where a proxy stands between, or a test's. What is known about a request comes from `trace` events.
"""

from __future__ import annotations

import os
import ssl
import zlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, cast
from urllib.request import getproxies

import httpx

from reelbatch.client.connection_pool import REFUSED, SENDING, UNREADABLE, ConnectionPool
from reelbatch.client.httpx_pools import HttpxPools
from reelbatch.client.masking import KeyMask
from reelbatch.client.outcome import Exchange
from reelbatch.client.salvage import ANSWER_LIMIT
from reelbatch.errors import SettingsError, TooLate

_CONNECT_TIMEOUT_S = 15.0
_GZIP_OR_ZLIB = 47


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Longest waits in seconds. None: as long as it takes.

    Args:
        pool: until one of the connections is free.
        connect: until a connection stands, TLS included.
        write: until the other side takes more of a body.
        read: until more of an answer comes.
        answer: for the whole answer, from the end of the request on.
    """

    pool: float | None
    connect: float
    write: float
    read: float
    answer: float | None

    @classmethod
    def of(cls, timeout_s: float) -> Timeouts:
        """The timeouts of a call whose answer may take that many seconds."""
        connect = min(_CONNECT_TIMEOUT_S, timeout_s)
        return cls(pool=timeout_s, connect=connect, write=timeout_s, read=timeout_s, answer=timeout_s)

    def as_extension(self) -> dict[str, Any]:
        """As a request's extensions have them; `answer` is ours, the others are httpx's."""
        return {"timeout": asdict(self)}


class Evidence:
    """What is known about one request: its outcome rests on that."""

    __slots__ = ("body", "headers", "request_sent", "status")

    def __init__(self) -> None:
        self.request_sent = False  # whether it may have begun to leave; False is certain
        self.status: int | None = None
        self.headers: Mapping[str, str] = {}
        self.body = bytearray()

    def content(self) -> bytes:
        """The body, uncompressed where it came compressed."""
        return _uncompressed(bytes(self.body), self.headers.get("content-encoding", ""))

    def exchange(self, error: Exception | None, mask: KeyMask) -> Exchange:
        """All of it. A server that repeats the key, in a success too, does not bring it into tables and logs."""
        body, headers = mask.body(self.content()), mask.headers(self.headers)
        return Exchange(self.status, headers, body, mask.error(error), self.request_sent)


class SendTracer:
    """Takes the `trace` events of one request, and has the last word on whether it may leave.

    Args:
        evidence: kept up to date, so that it tells the truth whatever ends the request.
        may_leave: asked when a connection stands and the first byte is about to be written: until then a process may
            have been stopped for any time.
    """

    def __init__(self, evidence: Evidence, may_leave: Callable[[], bool]) -> None:
        self._evidence = evidence
        self._may_leave = may_leave

    async def __call__(self, event: str, info: Mapping[str, Any]) -> None:
        """One event, by httpcore's names.

        Raises:
            TooLate: the request may not leave any more. Nothing of it is written.
        """
        if event.endswith(SENDING):
            if getattr(info.get("request"), "method", "") == b"CONNECT":  # that is only the proxy being asked
                return
            if not self._may_leave():
                raise TooLate("it had been ready for too long when a connection stood")
            self._evidence.request_sent = True
        elif event == REFUSED:
            self._evidence.request_sent = False
        elif event == UNREADABLE:
            self._evidence.body[:] = info["body"]


def always() -> bool:
    """A request that may leave at any time."""
    return True


async def send(
    transport: httpx.AsyncBaseTransport,
    request: httpx.Request,
    evidence: Evidence,
    may_leave: Callable[[], bool] = always,
) -> None:
    """Send `request` once; `evidence` is kept up to date. At most some five million bytes of an answer are read.

    Raises:
        TooLate: `may_leave` said no; nothing left.
        httpx.TransportError: it did not come to its end.
        TimeoutError: nor in time, though bytes kept coming.
    """
    request.extensions["trace"] = SendTracer(evidence, may_leave)
    response = await transport.handle_async_request(request)
    evidence.status, evidence.headers = response.status_code, response.headers
    stream = cast("httpx.AsyncByteStream", response.stream)  # `aiter_raw` refuses what a test's transport has made
    try:
        async for chunk in stream:
            evidence.body += chunk
            if len(evidence.body) > ANSWER_LIMIT:
                break
    finally:
        await stream.aclose()


class TransportFactory:
    """Makes the transports of one client: our own connections, or httpx's where they are needed.

    Args:
        transport: in place of the network.
        trust_env: whether proxy settings of the environment are honoured.

    Raises:
        SettingsError: the authorities that the environment names can't be read.
    """

    def __init__(self, transport: httpx.AsyncBaseTransport | None, *, trust_env: bool) -> None:
        self._transport = transport
        self._proxied = transport is None and trust_env and _has_proxies()
        # Shared: loading the authorities takes time and memory.
        self._context = ssl_context() if transport is None else None

    def for_answers(self, size: int) -> httpx.AsyncBaseTransport:
        """For that many requests at once, whose answers are read whole.

        Raises:
            SettingsError: a proxy setting of the environment can't be used.
        """
        if self._transport is not None or self._proxied:
            return self.for_downloads(size)
        return ConnectionPool(size, self._context)

    def for_downloads(self, size: int) -> httpx.AsyncBaseTransport:
        """For that many answers that are read as they come.

        Raises:
            SettingsError: a proxy setting of the environment can't be used.
        """
        return HttpxPools(size, context=self._context, proxied=self._proxied, transport=self._transport)


def _has_proxies() -> bool:
    """Where httpx itself looks: the environment, and on macOS and Windows the system's settings."""
    return any(address for scheme, address in getproxies().items() if scheme in {"http", "https", "all"})


def ssl_context() -> ssl.SSLContext:
    """Trusts what httpx trusts (its own bundle, or SSL_CERT_FILE) and what this machine trusts.

    Raises:
        SettingsError: SSL_CERT_FILE can't be read, or holds no certificate.
    """
    return _ssl_context(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


@lru_cache(maxsize=1)  # a tenth of a second of processor time, and a command has two clients or three
def _ssl_context(file: str | None, folder: str | None) -> ssl.SSLContext:
    del folder  # httpx reads the environment itself
    try:
        context = httpx.create_ssl_context()
    except OSError as error:  # ssl.SSLError is one
        why = error.strerror if error.errno and error.strerror else "it holds no certificates in PEM form"
        raise SettingsError(f"SSL_CERT_FILE: {file}: {why}") from error
    context.load_default_certs()
    context.set_alpn_protocols(["http/1.1"])
    return context


def _uncompressed(body: bytes, encoding: str) -> bytes:
    """What of a compressed body can be read; the body itself where that is not what its header says."""
    if not encoding or encoding.strip().lower() not in {"gzip", "x-gzip", "deflate"}:
        return body
    try:
        return zlib.decompressobj(_GZIP_OR_ZLIB).decompress(body, ANSWER_LIMIT)
    except zlib.error:
        return body
