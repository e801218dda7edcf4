"""Usual ways to keep a render window full: the vendor's SDK in threads, and Prefect with a concurrency limit.

python -m benchmarks.window_peers NAME JSON      each in a process of its own, as Reelbatch is
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from benchmarks.rows import body

_KEY = "sandbox"
_LIMIT = "benchmark-renders"
_PENDING = 16  # tasks that wait for the limit


class Job(NamedTuple):
    """What a peer is to do. The SDK reads its poll interval from MAGIC_HOUR_POLL_INTERVAL."""

    url: str
    videos: int
    window: int


def _generate(job: Job) -> Callable[[int], str]:
    """The vendor's own call: create, then poll until the video is finished."""
    from magic_hour import Client

    client = Client(token=_KEY, base_url=job.url)

    def generate(number: int) -> str:
        stated = body(number)
        found = client.v1.image_to_video.generate(**stated, wait_for_completion=True, download_outputs=False)
        return str(found.id)

    return generate


def sdk_threads(job: Job) -> None:
    """`generate` in as many threads as videos may render at once."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(job.window) as threads:
        for _ in threads.map(_generate(job), range(1, job.videos + 1)):
            pass


def prefect_limit(job: Job) -> None:
    """A Prefect task for each video, under a global concurrency limit of the window's size."""
    from prefect import flow, get_client, task
    from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
    from prefect.concurrency.sync import concurrency
    from prefect.task_runners import ThreadPoolTaskRunner

    generate = _generate(job)

    @task(persist_result=False)
    def send(number: int) -> str:
        with concurrency(_LIMIT, occupy=1, strict=True):
            return generate(number)

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=_PENDING), persist_result=False)
    def send_all() -> None:
        for future in send.map(range(1, job.videos + 1)):
            future.result()

    with get_client(sync_client=True) as client:
        client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=_LIMIT, limit=job.window))
    try:
        send_all()
    finally:
        with get_client(sync_client=True) as client:
            client.delete_global_concurrency_limit_by_name(_LIMIT)


PEERS: Mapping[str, Callable[[Job], None]] = {peer.__name__: peer for peer in (sdk_threads, prefect_limit)}


def main() -> None:
    """Run the peer that the command line names."""
    stated: dict[str, Any] = json.loads(sys.argv[2])
    PEERS[sys.argv[1]](Job(**stated))


if __name__ == "__main__":
    main()
