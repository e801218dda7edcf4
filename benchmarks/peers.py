"""What Reelbatch is compared with: usual ways to send the same, with no table and no safety.

python -m benchmarks.peers NAME JSON      each in a process of its own, as Reelbatch is; prints the ids that it knows
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.rows import body

_KEY = "sandbox"
_HEADERS = {"Authorization": f"Bearer {_KEY}"}
_SMALL = 8  # connections of a small pool
_CHUNK = 1 << 20
_RETRIES, _RETRY_WAIT_S = 3, 0.1
_LIMIT = "benchmark-renders"
_PENDING = 16  # tasks that wait for the limit
Create = Callable[[int], str]
"""Given a row's number, the id of its video."""


class Job(NamedTuple):
    """What a peer is to do: creates, unless it says `questions` or the folder of `uploads`."""

    url: str
    rows: int
    in_flight: int
    questions: bool = False
    uploads: str = ""

    def request(self, number: int) -> tuple[str, str, dict[str, Any]]:
        """Method, address and content of one of them."""
        if self.questions:
            return "GET", f"{self.url}/v1/video-projects/v{number:024}", {}
        if self.uploads:
            file = Path(self.uploads) / f"{number}.jpg"
            content = {"content": _chunks(file), "headers": {"Content-Length": str(file.stat().st_size)}}
            return "PUT", f"{self.url}/storage/api-assets/bench/{file.name}", content
        return "POST", f"{self.url}/v1/image-to-video", {"json": body(number)}


async def _chunks(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:  # from the page cache; a thread would only cost
        while chunk := file.read(_CHUNK):
            yield chunk


async def _in_flight(job: Job, send: Callable[[int], Awaitable[Any]]) -> None:
    """`send` every number once, that many at a time: the leanest loop there is."""
    numbers = iter(range(1, job.rows + 1))

    async def work() -> None:
        for number in numbers:
            await send(number)

    await asyncio.gather(*(work() for _ in range(job.in_flight)))


def httpx_small_pools(job: Job) -> None:
    """Clients of httpx with eight connections each, in turn."""
    import httpx

    async def main() -> None:
        limits = httpx.Limits(max_connections=_SMALL, max_keepalive_connections=_SMALL)
        options: dict[str, Any] = {"limits": limits, "timeout": 60, "headers": _HEADERS, "trust_env": False}
        context = httpx.create_ssl_context()
        turn = cycle([httpx.AsyncClient(**options, verify=context) for _ in range(ceil(job.in_flight / _SMALL))])

        async def send(number: int) -> None:
            method, address, content = job.request(number)
            answer = await next(turn).request(method, address, **content)
            answer.raise_for_status()
            if not job.uploads:
                answer.json()

        await _in_flight(job, send)

    asyncio.run(main())


def aiohttp_bare(job: Job) -> None:
    """One aiohttp session."""
    import aiohttp

    async def main() -> None:
        connector = aiohttp.TCPConnector(limit=job.in_flight)
        async with aiohttp.ClientSession(connector=connector, headers=_HEADERS) as session:

            async def send(number: int) -> None:
                method, address, content = job.request(number)
                async with session.request(method, address, **content) as answer:
                    answer.raise_for_status()
                    await answer.json()

            await _in_flight(job, send)

    asyncio.run(main())


def _create(job: Job) -> Create:
    """The vendor's create."""
    from magic_hour import Client

    videos = Client(token=_KEY, base_url=job.url).v1.image_to_video
    return lambda number: str(videos.create(**body(number)).id)


def _generate(job: Job) -> Create:
    """The vendor's own call: create, then poll (MAGIC_HOUR_POLL_INTERVAL) until the video is finished."""
    from magic_hour import Client

    videos = Client(token=_KEY, base_url=job.url).v1.image_to_video
    return lambda number: str(videos.generate(**body(number), download_outputs=False).id)


def _in_threads(job: Job, work: Callable[[int], str | None]) -> list[str]:
    with ThreadPoolExecutor(job.in_flight) as threads:
        return [video_id for video_id in threads.map(work, range(1, job.rows + 1)) if video_id]


def _in_prefect(job: Job, work: Create, **options: Any) -> list[str]:
    """A Prefect task for each row, mapped over a pool of threads; of those that have retries some may fail."""
    from prefect import flow, task
    from prefect.task_runners import ThreadPoolTaskRunner

    @task(persist_result=False, **options)
    def send(number: int) -> str:
        return work(number)

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=job.in_flight), persist_result=False)
    def send_all() -> list[str]:
        futures = send.map(range(1, job.rows + 1))
        answers = [future.result(raise_on_failure=not options) for future in futures]
        return [answer for answer in answers if isinstance(answer, str)]

    return send_all()


def sdk_threads(job: Job) -> list[str]:
    """The vendor's client in as many threads as there are creates in flight."""
    return _in_threads(job, _create(job))


def prefect_map(job: Job) -> list[str]:
    """A Prefect task for each row, over the vendor's client."""
    return _in_prefect(job, _create(job))


def prefect_retries(job: Job) -> list[str]:
    """The same with Prefect's retries."""
    return _in_prefect(job, _create(job), retries=_RETRIES, retry_delay_seconds=_RETRY_WAIT_S)


def tenacity_retries(job: Job) -> list[str]:
    """The vendor's client in threads, each call under tenacity."""
    from tenacity import Retrying, stop_after_attempt, wait_fixed

    create, often = _create(job), stop_after_attempt(1 + _RETRIES)

    def send(number: int) -> str | None:
        again = Retrying(stop=often, wait=wait_fixed(_RETRY_WAIT_S), retry_error_callback=lambda _: None)
        return again(create, number)

    return _in_threads(job, send)


def sdk_generate(job: Job) -> list[str]:
    """The vendor's `generate` in as many threads as videos may render at once."""
    return _in_threads(job, _generate(job))


def prefect_limit(job: Job) -> list[str]:
    """A Prefect task for each video over `generate`, under a global concurrency limit of the window's size."""
    from prefect import get_client
    from prefect.concurrency.sync import concurrency

    generate = _generate(job)

    def within_limit(number: int) -> str:
        with concurrency(_LIMIT, occupy=1, strict=True):
            return generate(number)

    with get_client(sync_client=True) as client:
        client.upsert_global_concurrency_limit_by_name(_LIMIT, limit=job.in_flight)
    return _in_prefect(job._replace(in_flight=_PENDING), within_limit)


_BARE = (httpx_small_pools, aiohttp_bare)
_KNOWING = (sdk_threads, prefect_map, prefect_retries, tenacity_retries, sdk_generate, prefect_limit)
PEERS: dict[str, Callable[[Job], list[str] | None]] = {peer.__name__: peer for peer in (*_BARE, *_KNOWING)}

if __name__ == "__main__":
    print(json.dumps(PEERS[sys.argv[1]](Job(**json.loads(sys.argv[2])))))
