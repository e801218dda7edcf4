"""Downloads over real sockets: where redirects may lead, and that whatever comes ends."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from raw_server import KEY, RawServer, Serve, answer, keeping, packed, read_request

from reelbatch.client import Client, ClientOptions
from reelbatch.errors import ApiError, DownloadRefused
from reelbatch.settle.downloads import transfer

VIDEO = b"video" * 1000
MEGABYTE = 1 << 20


def client_of(server: RawServer | str, **stated: float) -> Client:
    """A client of an API on this machine."""
    url = server if isinstance(server, str) else server.url
    return Client(KEY, ClientOptions(**{"base_url": url, "timeout_s": 5.0, **stated}))


def moved(to: str, *headers: str, body: bytes = b"") -> bytes:
    """A redirect."""
    return answer(body, "302 Found", f"Location: {to}", *headers)


async def fetched(client: Client, url: str, folder: Path) -> bytes:
    """What a download brings."""
    async with client:
        await transfer(client, url, folder / "part")
    return (folder / "part").read_bytes()


async def leading(serve: Serve, answers: Iterator[bytes]) -> tuple[RawServer, list[bytes]]:
    """A server that gives one of `answers` to each request, and the first lines of these."""
    asked: list[bytes] = []

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            asked.append((await read_request(reader)).split(b"\r\n")[0])
            writer.write(next(answers))
            await writer.drain()

    return await serve(behave), asked


async def test_a_redirect_on_the_same_host_is_followed(serve: Serve, tmp_path: Path) -> None:
    """To another port as well: the sandbox is one process, a storage beside an API on this machine another."""
    storage, _ = await keeping(serve, answer(VIDEO))
    first, asked = await leading(serve, iter([moved("/next"), moved(f"{storage.url}/video.mp4")]))
    assert await fetched(client_of(first), f"{first.url}/video", tmp_path) == VIDEO
    assert asked == [b"GET /video HTTP/1.1", b"GET /next HTTP/1.1"]


async def test_this_machine_is_one_host_by_each_of_its_names(serve: Serve, tmp_path: Path) -> None:
    """An API that was started as `localhost` may give addresses that say 127.0.0.1."""
    storage, _ = await keeping(serve, answer(VIDEO))
    named = storage.url.replace("127.0.0.1", "localhost")
    assert await fetched(client_of(named), f"{storage.url}/video.mp4", tmp_path) == VIDEO


@pytest.mark.parametrize(
    ("whence", "to"),
    [
        ("http://127.0.0.1:1/video", "http://169.254.169.254/latest/meta-data"),
        ("https://storage.example.com/video", "http://127.0.0.1:{port}/x"),
        ("https://storage.example.com/video", "http://storage.example.com/video"),
        ("https://storage.example.com/video", "ftp://storage.example.com/video"),
    ],
)
async def test_a_redirect_to_elsewhere_is_refused(serve: Serve, tmp_path: Path, whence: str, to: str) -> None:
    """Neither this machine's own services nor a plain line: the other server is never asked."""
    other, asked = await keeping(serve, answer(VIDEO))
    to = to.format(port=other.port)

    async def storage(request: httpx.Request) -> httpx.Response:
        if str(request.url) == whence:
            return httpx.Response(302, headers={"Location": to})
        async with httpx.AsyncClient(trust_env=False) as client:
            return await client.request(request.method, request.url)

    origin = "https://api.example.com" if whence.startswith("https") else "http://127.0.0.1:1"
    client = Client(KEY, ClientOptions(base_url=origin, transport=httpx.MockTransport(storage)))
    with pytest.raises(
        DownloadRefused, match=r"the download is refused: .* sends it to .*, and videos come over https"
    ):
        await fetched(client, whence, tmp_path)
    assert asked == []


async def test_an_address_that_the_api_gives_is_held_to_the_same(serve: Serve, tmp_path: Path) -> None:
    """The first step is one too: from the API to its storage."""
    storage, asked = await keeping(serve, answer(VIDEO))
    client = client_of("https://api.example.com")
    with pytest.raises(DownloadRefused, match=r"api\.example\.com sends it to http://127\.0\.0\.1"):
        await fetched(client, f"{storage.url}/video", tmp_path)
    assert asked == []


async def test_a_redirect_to_https_is_followed(tmp_path: Path) -> None:
    """To any host: that is how storages are reached."""

    async def storage(request: httpx.Request) -> httpx.Response:
        if request.url.host == "storage.example.com":
            return httpx.Response(307, headers={"Location": "https://edge.example.net/v.mp4"})
        assert "authorization" not in request.headers
        return httpx.Response(200, content=VIDEO)

    client = Client(KEY, ClientOptions(transport=httpx.MockTransport(storage)))
    assert await fetched(client, "https://storage.example.com/v", tmp_path) == VIDEO


async def test_redirects_in_a_circle_end(serve: Serve, tmp_path: Path) -> None:
    """After five of them; what is in their bodies is not read, however far it would unpack."""
    circle = moved("/again", "Content-Encoding: gzip", body=packed())
    server, asked = await leading(serve, iter([circle] * 100))
    with pytest.raises(DownloadRefused, match="redirects it more than 5 times"):
        await fetched(client_of(server), f"{server.url}/again", tmp_path)
    assert len(asked) == 6


async def test_a_packed_body_is_not_unpacked(serve: Serve, tmp_path: Path) -> None:
    """Two hundred kilobytes stay what they are, and nothing of them is written."""
    server, seen = await keeping(serve, answer(packed(), "200 OK", "Content-Encoding: gzip"))
    with pytest.raises(DownloadRefused, match=r"it comes packed \(gzip\)"):
        await fetched(client_of(server), f"{server.url}/video", tmp_path)
    assert b"accept-encoding: identity" in seen[0].lower()
    assert (tmp_path / "part").stat().st_size == 0


async def test_a_body_that_never_ends_ends(serve: Serve, tmp_path: Path) -> None:
    """At the limit, not at the end of the disk."""

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(bytes(MEGABYTE))
            await writer.drain()

    server = await serve(pour)
    async with client_of(server) as client:
        with pytest.raises(DownloadRefused, match="more than 4,194,304 bytes"):
            await transfer(client, f"{server.url}/video", tmp_path / "part", largest=4 * MEGABYTE)
    assert (tmp_path / "part").stat().st_size <= 4 * MEGABYTE


@pytest.mark.parametrize("drips", [True, False], ids=["a byte now and then", "silence"])
async def test_a_body_that_hardly_comes_ends(serve: Serve, tmp_path: Path, *, drips: bool) -> None:
    """Silence ends with the wait for an answer, a trickle with the time that one try may take."""

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while True:
            writer.write(b"x" if drips else b"")
            await writer.drain()
            await asyncio.sleep(0.05)

    server = await serve(drip)
    client = client_of(server, download_s=1.0) if drips else client_of(server, timeout_s=0.5)
    with pytest.raises(ApiError, match=r"the download broke off \((ReadTimeout|TimeoutError)") as error:
        await fetched(client, f"{server.url}/video", tmp_path)
    assert not isinstance(error.value, DownloadRefused)  # the next try goes on from there
    assert ((tmp_path / "part").stat().st_size > 0) is drips
