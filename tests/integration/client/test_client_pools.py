"""Connections are bounded; httpx's pools are small and the least busy is chosen; proxies where they belong."""

from __future__ import annotations

import asyncio
from importlib.util import find_spec
from pathlib import Path

import httpx
import pytest
from ports import free_port
from raw_server import Behaviour, Serve, answer, keeping, read_request

from reelbatch.client import Client, ClientOptions
from reelbatch.client.httpx_pools import CONNECTIONS_EACH, HttpxPools
from reelbatch.client.outcome import Kind, classify
from reelbatch.client.transport import Evidence, send
from reelbatch.errors import ApiError, SettingsError

KEY = "mhk_live_0123456789abcdef"
BODY = {"assets": {"image_file_path": "https://images.example.com/a.png"}, "end_seconds": 5}
PROXY_NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this machine is set up with."""
    for name in (*PROXY_NAMES, "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.mark.parametrize("concurrency", [1, 8, 20])
async def test_connections_are_bounded(serve: Serve, concurrency: int) -> None:
    """As many as there are creates in flight; sixty creates share them, and each connection is used again."""

    async def patient(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            await asyncio.sleep(0.02)  # so that all connections are wanted
            writer.write(answer(b'{"id": "c1"}'))

    server = await serve(patient)
    async with Client(KEY, ClientOptions(base_url=server.url, concurrency=concurrency, timeout_s=20)) as client:
        exchanges = await asyncio.gather(*(client.send_create(BODY) for _ in range(60)))
    assert {classify(exchange).kind for exchange in exchanges} == {Kind.SUBMITTED}
    assert server.most_open == server.connections == concurrency


async def test_requests_are_spread_over_httpx_s_pools(serve: Serve) -> None:
    """As many are in flight at once as was asked for: none waits in a full pool while another has room."""
    size, arrived = 3 * CONNECTIONS_EACH, asyncio.Barrier(3 * CONNECTIONS_EACH)

    async def together(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        await arrived.wait()
        writer.write(answer(b'{"id": "c1"}'))
        await writer.drain()

    server, pools = await serve(together), HttpxPools(size)
    found = [Evidence() for _ in range(size)]
    async with asyncio.timeout(20):
        await asyncio.gather(*(send(pools, httpx.Request("GET", server.url), evidence) for evidence in found))
    await pools.aclose()
    assert [evidence.status for evidence in found] == [200] * size


async def test_a_place_is_given_back_when_a_request_fails(serve: Serve) -> None:
    """The pool that it was in is not taken for a busy one: its connection is used again."""
    server, _ = await keeping(serve, answer(b'{"id": "c1"}'))
    pools = HttpxPools(2 * CONNECTIONS_EACH)
    for _ in range(3):
        await send(pools, httpx.Request("GET", server.url), Evidence())
        with pytest.raises(httpx.ConnectError):
            await send(pools, httpx.Request("GET", f"http://127.0.0.1:{free_port()}"), Evidence())
    await pools.aclose()
    assert server.connections == 1


async def test_a_transport_that_reports_nothing_is_not_believed() -> None:
    """Aiohttp's for httpx calls a connection that was lost after the request a connection that never came about."""

    async def lose(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectTimeout("lost")

    async with Client(KEY, ClientOptions(transport=httpx.MockTransport(lose))) as client:
        exchange = await client.send_create(BODY)
        late = await client.send_create(BODY, lambda: False)
    assert (exchange.request_sent, classify(exchange).kind) == (True, Kind.IN_DOUBT)
    assert (late.request_sent, classify(late).code) == (False, "too_late")


async def test_an_answer_of_a_test_s_transport_is_read() -> None:
    """Also one that was made of bytes."""
    respond = httpx.MockTransport(lambda _: httpx.Response(200, json={"id": "c1", "status": "queued"}))
    async with Client(KEY, ClientOptions(transport=respond)) as client:
        assert classify(await client.send_create(BODY)).video_id == "c1"
        assert (await client.get_video("c1")).status == "queued"


def _proxy(refuse: bool, heard: list[bytes]) -> Behaviour:
    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await read_request(reader))
        writer.write(answer(b"", "407 Proxy Authentication Required") if refuse else b"HTTP/1.1 200 OK\r\n\r\n")
        await writer.drain()
        if not refuse:
            heard.append(await reader.read(1))  # the first byte of TLS, then the end

    return behave


@pytest.mark.parametrize("refuse", [True, False], ids=["refuses", "connects, then hangs up"])
@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
async def test_a_proxy_of_the_environment_is_used(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, name: str, refuse: bool
) -> None:
    """It hears CONNECT with the API's host and not the key; what it breaks off there never left."""
    heard: list[bytes] = []
    proxy = await serve(_proxy(refuse, heard))
    monkeypatch.setenv(name, proxy.url)
    async with Client(KEY, ClientOptions(base_url="https://api.reelbatch.invalid", timeout_s=5)) as client:
        exchange = await client.send_create(BODY)
    assert heard[0].startswith(b"CONNECT api.reelbatch.invalid:443 ")
    assert KEY.encode() not in b"".join(heard)
    assert (exchange.request_sent, classify(exchange).kind) == (False, Kind.RETRY)
    assert refuse or heard[1] == b"\x16"
    assert "HTTPS_PROXY" in (classify(exchange).message or "")


@pytest.mark.parametrize("name", PROXY_NAMES[:3])
async def test_no_proxy_stands_between_this_machine_and_itself(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The sandbox is reached directly whatever the environment says."""

    async def good(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(answer(b'{"id": "c1"}'))
        await writer.drain()

    heard: list[bytes] = []
    proxy, server = await serve(_proxy(True, heard)), await serve(good)
    monkeypatch.setenv(name, proxy.url)
    async with Client(KEY, ClientOptions(base_url=server.url, concurrency=1, timeout_s=5)) as client:
        assert classify(await client.send_create(BODY)).kind is Kind.SUBMITTED
    assert heard == []


async def test_a_proxy_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bare refusal would be looked for at the API. A user and password in its address are not shown."""
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:secret@127.0.0.1:{free_port()}")
    async with Client(KEY, ClientOptions(timeout_s=5)) as client:
        outcome = classify(await client.send_create(BODY))
        with pytest.raises(ApiError, match="HTTPS_PROXY") as asked:
            await client.get_account()
    assert (outcome.kind, outcome.code) == (Kind.RETRY, "not_connected")
    assert "HTTPS_PROXY" in (outcome.message or "")
    assert "secret" not in f"{outcome}{asked.value}"


UNUSABLE = [
    pytest.param("socks9://me:secret@127.0.0.1:1", "Unknown scheme", id="no kind of proxy"),
    pytest.param(
        "socks5://127.0.0.1:1",
        "socksio",
        marks=pytest.mark.skipif(find_spec("socksio") is not None, reason="SOCKS proxies can be used here"),
        id="SOCKS without its package",
    ),
    pytest.param("http://127.0.0.1:port", "Invalid port", id="no port"),
]


@pytest.mark.parametrize(("value", "why"), UNUSABLE)
def test_a_proxy_that_cannot_be_used_is_named(monkeypatch: pytest.MonkeyPatch, value: str, why: str) -> None:
    """Before anything is sent, in one line that says where to look and why."""
    monkeypatch.setenv("HTTPS_PROXY", value)
    with pytest.raises(SettingsError, match=f"HTTPS_PROXY.*{why}") as error:
        Client(KEY)
    assert "\n" not in str(error.value)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("name", ["missing.pem", "empty.pem", "words.pem", "folder"])
def test_authorities_that_cannot_be_read_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """SSL_CERT_FILE and its file, in one line; not a handshake that fails later."""
    (tmp_path / "empty.pem").touch()
    (tmp_path / "words.pem").write_text("no certificate")
    (tmp_path / "folder").mkdir()
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / name))
    with pytest.raises(SettingsError, match=f"SSL_CERT_FILE: .*{name}: ") as error:
        Client(KEY)
    assert "\n" not in str(error.value)
