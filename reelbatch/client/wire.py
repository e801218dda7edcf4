"""What the two ways to the network have in common: a call, its waits, and what is seen of it."""

from __future__ import annotations

import re
import zlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple, Protocol, Self

import httpx

from reelbatch.client.masking import KeyMask
from reelbatch.client.outcome import Exchange
from reelbatch.errors import TooLate

ANSWER_LIMIT = 5_000_000
"""Bytes of an answer that are read; a create's answer has some hundred."""
KEEPALIVE_S = 3.0
"""Shorter than servers usually keep a connection: reusing one that the server is closing leaves a row in doubt."""
CONNECT_TIMEOUT_S = 15.0
_GZIP_OR_ZLIB = 47
_PORTS = {"http": 80, "https": 443}
_PLAIN = re.compile(
    r"(?P<server>https?://[a-z0-9.-]+(?::[0-9]+)?)"
    r"(?P<target>/(?!\.)(?:[\w~:@+=&,;-]|[./](?!\.)|%[0-9A-Fa-f]{2})*(?:\?(?:[\w~:@+=&,;./-]|%[0-9A-Fa-f]{2})*)?)",
    re.ASCII,
)
"""An address in which nothing has to be escaped or resolved."""


class Origin(NamedTuple):
    """A server. `netloc` is its name as the Host header has it."""

    scheme: str
    host: str
    port: int
    netloc: str

    @classmethod
    def split(cls, address: str) -> tuple[Self, str]:
        """The server of an address, and the rest of the address as a request names it.

        Raises:
            httpx.InvalidURL: it is no address.
            httpx.UnsupportedProtocol: it is neither http nor https.
        """
        if plain := _PLAIN.fullmatch(address):  # a signed address is long, and there is one for each image
            return cls.of(plain["server"]), plain["target"]
        url = httpx.URL(address)
        return cls._of(url), url.raw_path.decode()

    @classmethod
    @lru_cache(maxsize=100)
    def of(cls, address: str) -> Self:
        """The server of an address; raises what `split` does."""
        return cls._of(httpx.URL(address))

    @classmethod
    def _of(cls, url: httpx.URL) -> Self:
        if url.scheme not in _PORTS or not url.raw_host:
            raise httpx.UnsupportedProtocol("the address is neither http:// nor https://")
        return cls(url.scheme, url.raw_host.decode(), url.port or _PORTS[url.scheme], url.netloc.decode())


def always() -> bool:
    """A request that may leave at any time."""
    return True


@dataclass(frozen=True, slots=True)
class Call:
    """One request. Its headers may carry the key, so it has no representation that shows them.

    `may_leave` is asked when a connection stands and the first byte is about to be written: until then a process may
    have been stopped for as long as somebody liked.
    """

    method: str
    origin: Origin
    target: str
    headers: list[tuple[str, str]] = field(default_factory=list, repr=False)
    content: bytes = field(default=b"", repr=False)
    may_leave: Callable[[], bool] = field(default=always, repr=False)

    def check(self) -> None:
        """As late as can be, before anything of it is written.

        Raises:
            TooLate: it may not leave any more.
        """
        if not self.may_leave():
            raise TooLate("it had been ready for too long when a connection stood")

    @property
    def url(self) -> str:
        """The whole address."""
        return f"{self.origin.scheme}://{self.origin.netloc}{self.target}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """Longest waits in seconds. None: as long as it takes.

    Args:
        place: until one of the connections is free.
        connect: until a connection stands, TLS included.
        write: until the other side takes more of a file.
        answer: from the moment the request leaves to the end of the answer.
    """

    answer: float
    connect: float
    place: float | None
    write: float | None = None

    @classmethod
    def of(cls, timeout_s: float) -> Self:
        """The waits of a call whose answer is waited for so many seconds."""
        return cls(answer=timeout_s, connect=min(CONNECT_TIMEOUT_S, timeout_s), place=timeout_s)


class Seen:
    """What has been seen of one call: the evidence that its outcome rests on."""

    __slots__ = ("body", "headers", "left", "status")

    def __init__(self) -> None:
        self.left = False  # whether it may have begun to leave; False is certain
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.body = bytearray()

    def content(self) -> bytes:
        """The body, uncompressed where it came compressed."""
        return _uncompressed(bytes(self.body), self.headers.get("content-encoding", ""))

    def exchange(self, error: Exception | None, mask: KeyMask) -> Exchange:
        """All of it. A server that repeats the key, in a success too, does not bring it into tables and logs."""
        body, headers = mask.body(self.content()), mask.headers(self.headers)
        return Exchange(self.status, headers, body, mask.error(error), self.left)


class Wire(Protocol):
    """A way to the network. What fails is one of httpx's errors or a TimeoutError; nothing is ever sent twice."""

    async def exchange(self, call: Call, seen: Seen) -> None:
        """Send `call` once; `seen` is kept up to date, so that it tells the truth whatever ends the call."""

    async def put(self, call: Call, pieces: AsyncIterator[bytes]) -> int:
        """Send `call` with a body in pieces, whose length its headers state; returns the answer's status."""

    async def close(self) -> None:
        """Close all connections."""


def _uncompressed(body: bytes, encoding: str) -> bytes:
    """What of a compressed body can be read; the body itself where that is not what its header says."""
    if not encoding or encoding.strip().lower() not in {"gzip", "x-gzip", "deflate"}:
        return body
    try:
        return zlib.decompressobj(_GZIP_OR_ZLIB).decompress(body, ANSWER_LIMIT)
    except zlib.error:
        return body
