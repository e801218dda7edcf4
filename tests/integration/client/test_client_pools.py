"""Connections are bounded; httpx's pools are small and the least busy is chosen; proxies where they belong."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from raw_server import Behaviour, Serve, answer, read_request

from reelbatch.client import Client, Connection
from reelbatch.client.pools import CONNECTIONS_EACH, Pools
from reelbatch.client.wire import Waits
from reelbatch.errors import SettingsError
from reelbatch.outcome import Kind, classify

KEY = "mhk_live_0123456789abcdef"
BODY = {"assets": {"image_file_path": "https://images.example.com/a.png"}, "end_seconds": 5}
PROXY_NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this machine is set up with."""
    for name in PROXY_NAMES:
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
    async with Client(KEY, Connection(base_url=server.url, concurrency=concurrency, timeout_s=20)) as client:
        exchanges = await asyncio.gather(*(client.send_create(BODY) for _ in range(60)))
    assert {classify(exchange).kind for exchange in exchanges} == {Kind.SUBMITTED}
    assert server.most_open == server.connections == concurrency


async def test_the_least_busy_pool_is_chosen() -> None:
    """Requests under way are spread evenly, and a pool that is done is chosen again."""
    pools = Pools(3 * CONNECTIONS_EACH, Waits.of(1), trust_env=False, transport=httpx.MockTransport(str))
    with pools.client() as first, pools.client() as second:
        with pools.client() as third:
            assert len({id(first), id(second), id(third)}) == 3
            with pools.client() as fourth:
                assert fourth is first
        with pools.client() as again:
            assert again is third
    await pools.close()


async def test_a_place_is_given_back_when_a_request_fails() -> None:
    """A pool whose requests fail does not look busy for ever."""
    pools = Pools(2 * CONNECTIONS_EACH, Waits.of(1), trust_env=False, transport=httpx.MockTransport(str))
    with pytest.raises(RuntimeError), pools.client() as first:
        raise RuntimeError
    with pools.client() as second:
        assert second is first
    await pools.close()


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
    async with Client(KEY, Connection(base_url="https://api.reelbatch.invalid", timeout_s=5)) as client:
        exchange = await client.send_create(BODY)
    assert heard[0].startswith(b"CONNECT api.reelbatch.invalid:443 ")
    assert KEY.encode() not in b"".join(heard)
    assert (exchange.left, classify(exchange).kind) == (False, Kind.RETRY)
    assert refuse or heard[1] == b"\x16"


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
    async with Client(KEY, Connection(base_url=server.url, concurrency=1, timeout_s=5)) as client:
        assert classify(await client.send_create(BODY)).kind is Kind.SUBMITTED
    assert heard == []


@pytest.mark.parametrize("value", ["socks9://127.0.0.1:1", "socks5://127.0.0.1:1", "http://127.0.0.1:port"])
def test_a_proxy_that_cannot_be_used_is_named(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """Before anything is sent, and in words that say where to look."""
    monkeypatch.setenv("HTTPS_PROXY", value)
    with pytest.raises(SettingsError, match="HTTPS_PROXY"):
        Client(KEY)
