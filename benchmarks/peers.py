"""What Reelbatch is compared with: usual ways to send the same rows, with no table and no safety.

python -m benchmarks.peers NAME JSON      each in a process of its own, as Reelbatch is
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from itertools import cycle
from math import ceil
from typing import Any, NamedTuple, cast
from urllib.parse import urlsplit

from benchmarks.rows import body

_KEY = "sandbox"
_HEADERS = {"Authorization": f"Bearer {_KEY}"}
_SMALL = 8  # connections of a small pool
_TIMEOUT_S = 60


class Job(NamedTuple):
    """What a peer is to do."""

    url: str
    rows: int
    in_flight: int


async def _in_flight(job: Job, send: Callable[[int], Awaitable[Any]]) -> None:
    """`send` every number once, that many at a time: the leanest loop there is."""
    numbers = iter(range(1, job.rows + 1))

    async def work() -> None:
        for number in numbers:
            await send(number)

    await asyncio.gather(*(work() for _ in range(job.in_flight)))


def _httpx(job: Job, pools: int, each: int) -> None:
    """Clients of `each` connections, in turn."""
    import httpx

    address = f"{job.url}/v1/image-to-video"

    async def main() -> None:
        limits = httpx.Limits(max_connections=each, max_keepalive_connections=each)
        context = httpx.create_ssl_context()
        clients = [
            httpx.AsyncClient(limits=limits, timeout=_TIMEOUT_S, headers=_HEADERS, verify=context, trust_env=False)
            for _ in range(pools)
        ]
        turn = cycle(clients)

        async def send(number: int) -> None:
            response = await next(turn).post(address, json=body(number))
            response.raise_for_status().json()

        await _in_flight(job, send)
        for client in clients:
            await client.aclose()

    asyncio.run(main())


def httpx_one_pool(job: Job) -> None:
    """One httpx client with as many connections as there are creates in flight."""
    _httpx(job, 1, job.in_flight)


def httpx_small_pools(job: Job) -> None:
    """As many clients of eight connections each."""
    _httpx(job, ceil(job.in_flight / _SMALL), _SMALL)


def aiohttp_bare(job: Job) -> None:
    """One aiohttp session."""
    import aiohttp

    address = f"{job.url}/v1/image-to-video"

    async def main() -> None:
        connector = aiohttp.TCPConnector(limit=job.in_flight)
        async with aiohttp.ClientSession(connector=connector, headers=_HEADERS) as session:

            async def send(number: int) -> None:
                async with session.post(address, json=body(number)) as response:
                    response.raise_for_status()
                    await response.json()

            await _in_flight(job, send)

    asyncio.run(main())


def sdk_async(job: Job) -> None:
    """The vendor's asynchronous client."""
    from magic_hour import AsyncClient

    async def main() -> None:
        client = AsyncClient(token=_KEY, base_url=job.url)
        await _in_flight(job, lambda number: client.v1.image_to_video.create(**body(number)))

    asyncio.run(main())


def sdk_threads(job: Job) -> None:
    """The vendor's client in as many threads as there are creates in flight."""
    from concurrent.futures import ThreadPoolExecutor

    send = _sdk_create(job)
    with ThreadPoolExecutor(job.in_flight) as threads:
        for _ in threads.map(send, range(1, job.rows + 1)):
            pass


def _sdk_create(job: Job) -> Callable[[int], str]:
    from magic_hour import Client

    client = Client(token=_KEY, base_url=job.url)
    return lambda number: str(client.v1.image_to_video.create(**body(number)).id)


def prefect_map(job: Job) -> None:
    """A Prefect task for each row, mapped over a pool of threads, over the vendor's client."""
    from prefect import flow, task
    from prefect.task_runners import ThreadPoolTaskRunner

    create = _sdk_create(job)

    @task(persist_result=False)
    def send(number: int) -> str:
        return create(number)

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=job.in_flight), persist_result=False)
    def send_all() -> None:
        for future in send.map(range(1, job.rows + 1)):
            future.result()

    send_all()


def prefect_gather(job: Job) -> None:
    """A Prefect task for each row, gathered, over the vendor's asynchronous client."""
    from magic_hour import AsyncClient
    from prefect import flow, task

    @flow(persist_result=False)
    async def send_all() -> None:
        client = AsyncClient(token=_KEY, base_url=job.url)

        @task(persist_result=False)
        async def send(number: int) -> str:
            return str((await client.v1.image_to_video.create(**body(number))).id)

        await _in_flight(job, send)

    asyncio.run(send_all())


def httpx_gets(job: Job) -> None:
    """Ask about every video once, over httpx clients of eight connections each."""
    import httpx

    async def main() -> None:
        limits = httpx.Limits(max_connections=_SMALL, max_keepalive_connections=_SMALL)
        context = httpx.create_ssl_context()
        options: dict[str, Any] = {"limits": limits, "headers": _HEADERS, "verify": context, "trust_env": False}
        clients = [httpx.AsyncClient(**options) for _ in range(ceil(job.in_flight / _SMALL))]
        turn = cycle(clients)

        async def ask(number: int) -> None:
            (await next(turn).get(f"{job.url}/v1/video-projects/v{number:024}")).raise_for_status().json()

        await _in_flight(job, ask)

    asyncio.run(main())


def aiohttp_gets(job: Job) -> None:
    """The same over one aiohttp session."""
    import aiohttp

    async def main() -> None:
        connector = aiohttp.TCPConnector(limit=job.in_flight)
        async with aiohttp.ClientSession(connector=connector, headers=_HEADERS) as session:

            async def ask(number: int) -> None:
                async with session.get(f"{job.url}/v1/video-projects/v{number:024}") as response:
                    response.raise_for_status()
                    await response.json()

            await _in_flight(job, ask)

    asyncio.run(main())


class _Asker(asyncio.Protocol):
    """Asks over one connection until there is nothing left; takes for granted that an answer comes in one piece."""

    def __init__(self, numbers: Iterator[int], left: asyncio.Semaphore) -> None:
        self._numbers = numbers
        self._left = left

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._ask()

    def data_received(self, data: bytes) -> None:
        json.loads(data.partition(b"\r\n\r\n")[2])
        self._ask()

    def _ask(self) -> None:
        if (number := next(self._numbers, None)) is None:
            self._left.release()
            return
        head = f"GET /v1/video-projects/v{number:024} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {_KEY}\r\n\r\n"
        self._transport.write(head.encode())


def protocol_gets(job: Job) -> None:
    """The same with a bare asyncio protocol, without any HTTP: as fast as asyncio can be."""

    async def main() -> None:
        numbers, left, where = iter(range(1, job.rows + 1)), asyncio.Semaphore(0), urlsplit(job.url)
        loop = asyncio.get_running_loop()
        for _ in range(job.in_flight):
            await loop.create_connection(lambda: _Asker(numbers, left), where.hostname, where.port)
        for _ in range(job.in_flight):
            await left.acquire()

    asyncio.run(main())


PEERS: Mapping[str, Callable[[Job], None]] = {
    peer.__name__: peer
    for peer in (
        httpx_one_pool,
        httpx_small_pools,
        aiohttp_bare,
        sdk_async,
        sdk_threads,
        prefect_map,
        prefect_gather,
        httpx_gets,
        aiohttp_gets,
        protocol_gets,
    )
}

if __name__ == "__main__":
    PEERS[sys.argv[1]](Job(**json.loads(sys.argv[2])))
