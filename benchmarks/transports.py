"""What carries requests: our own connections, the same behind `httpx.AsyncClient`, or httpx in small pools.

python -m benchmarks.transports WAY JSON       sends creates or asks questions, in a process of its own
python -m benchmarks.transports WAY generate … is `reelbatch generate …` over that way

All three speak httpx and give the same evidence. docs/adr/0018 decides by these figures.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Mapping
from itertools import count
from typing import Any, NamedTuple

import httpx
from pydantic import SecretStr

from benchmarks.figures import Bench, Found, at_most, median, plain, show
from benchmarks.processes import environment, module, run_process
from benchmarks.product import DONE, LONG_S, generate_command, table_url
from benchmarks.rows import body, write_csv
from benchmarks.serving import Server, raw_server
from reelbatch.client.connection_pool import ConnectionPool
from reelbatch.client.httpx_pools import HttpxPools
from reelbatch.client.masking import KeyMask
from reelbatch.client.outcome import Kind, classify
from reelbatch.client.transport import Evidence, Timeouts, TransportFactory, send

OWN, CLIENT, POOLS = "own", "own-behind-client", "httpx-pools"
_LATENCY_MS, _IN_FLIGHT = 200, 100
_MOST_SHARE = 0.05  # of the bound: what httpx may cost `generate` before connections of our own are worth it
_KEY = SecretStr("sandbox")
_places = count()


class Case(NamedTuple):
    """What is sent: creates at a latency, or questions."""

    method: str
    in_flight: int
    latency_ms: int
    requests: int

    @property
    def name(self) -> str:
        """As the table has it."""
        return f"{self.method}, {self.in_flight} in flight, {self.latency_ms} ms"


CASES = (
    Case("POST", 16, _LATENCY_MS, 480),
    Case("POST", _IN_FLIGHT, _LATENCY_MS, 2500),
    Case("POST", 16, 0, 1500),
    Case("POST", _IN_FLIGHT, 0, 1500),
    Case("GET", 16, 0, 1500),
    Case("GET", _IN_FLIGHT, 0, 1500),
)


class _BehindClient(httpx.AsyncBaseTransport):
    """A transport as `httpx.AsyncClient` uses it."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._client = httpx.AsyncClient(transport=transport, trust_env=False)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self._client.send(request, stream=True)

    async def aclose(self) -> None:
        await self._client.aclose()


def run(bench: Bench) -> Found:
    """Requests by themselves, then the whole of `generate`; by turns."""
    with raw_server() as server:
        lines = [
            _line(case, _by_turns(bench, lambda way, one=case: _requests(bench, server, way, one))) for case in CASES
        ]
        rates = _by_turns(bench, lambda way: _generate(bench, server, way), (OWN, POOLS))
    show("One request: share of the bound or requests/s, and µs of processor time", lines)
    shares = {way: median(rates[way]) for way in rates}
    lost = [ours - theirs for ours, theirs in zip(rates[OWN], rates[POOLS], strict=True)]
    note = "above it our own connections stay"
    figures = [
        plain("generate, own connections: share of the bound", shares[OWN], ""),
        plain("generate, httpx in small pools: share of the bound", shares[POOLS], ""),
        at_most("what httpx costs generate, of the bound", median(lost), _MOST_SHARE, "", note),
    ]
    return Found(figures, {"requests": lines, "generate": rates})


def _by_turns(bench: Bench, work: Any, ways: tuple[str, ...] = (OWN, CLIENT, POOLS)) -> dict[str, list[Any]]:
    """Every second round in the opposite order."""
    found: dict[str, list[Any]] = {way: [] for way in ways}
    for number in range(bench.repeats):
        for way in ways if number % 2 == 0 else ways[::-1]:
            found[way].append(work(way))
    return found


def _requests(bench: Bench, server: Server, way: str, case: Case) -> dict[str, float]:
    server.reset(latency_ms=case.latency_ms)
    requests = bench.size(case.requests, 2 * case.in_flight)
    job = json.dumps({"url": server.url, **case._replace(requests=requests)._asdict()})
    return run_process(module("benchmarks.transports", way, job), environment(), LONG_S).answer


def _generate(bench: Bench, server: Server, way: str) -> float:
    rows, folder = bench.size(3000, 300), bench.place(f"transports-{next(_places)}")
    server.reset(latency_ms=_LATENCY_MS)
    told = generate_command(write_csv(folder / "rows.csv", rows), server.url, table_url(folder), _IN_FLIGHT)
    run_process(module("benchmarks.transports", way, *told[1:]), environment(**bench.prefect.env), LONG_S, DONE)
    return float(server.books()["rate"]) * _LATENCY_MS / 1000 / _IN_FLIGHT


def _line(case: Case, found: Mapping[str, list[dict[str, float]]]) -> dict[str, Any]:
    bound = case.in_flight * 1000 / case.latency_ms if case.latency_ms else 1.0
    line: dict[str, Any] = {"what": case.name}
    for way, runs in found.items():
        rate = (median(run["rate"] for run in runs) or 0.0) / bound
        line[way] = round(rate, 3) if case.latency_ms else round(rate)
        line[f"{way} µs"] = round(median(run["cpu_us"] for run in runs) or 0.0)
    return line


async def _send_all(way: str, url: str, case: Case) -> dict[str, float]:
    transport: httpx.AsyncBaseTransport = (
        HttpxPools(case.in_flight) if way == POOLS else ConnectionPool(case.in_flight, None)
    )
    transport = _BehindClient(transport) if way == CLIENT else transport
    numbers, mask, timeouts = iter(range(case.requests)), KeyMask(_KEY), Timeouts.of(60).as_extension()
    headers = {"Authorization": f"Bearer {_KEY.get_secret_value()}", "Accept-Encoding": "identity"}
    create = httpx.URL(f"{url}/v1/image-to-video")

    async def work() -> None:
        for number in numbers:
            asked = httpx.URL(f"{url}/v1/video-projects/v{number:024}") if case.method == "GET" else create
            content = {} if case.method == "GET" else {"json": body(number)}
            evidence = Evidence()
            request = httpx.Request(case.method, asked, headers=headers, extensions=timeouts, **content)
            await send(transport, request, evidence)
            assert classify(evidence.exchange(None, mask)).kind is Kind.SUBMITTED  # noqa: S101 - or nothing is measured

    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(work() for _ in range(case.in_flight)))
    took, used = time.perf_counter() - began, time.process_time() - cpu
    await transport.aclose()
    return {"rate": case.requests / took, "cpu_us": used / case.requests * 1e6}


def _main(way: str, job: str) -> None:
    if job.startswith("{"):
        stated = json.loads(job)
        url = stated.pop("url")
        print(json.dumps(asyncio.run(_send_all(way, url, Case(**stated)))))
        return
    from reelbatch.cli import main

    if way == POOLS:
        TransportFactory.for_answers = TransportFactory.for_downloads  # type: ignore[method-assign]  # what is measured
    sys.argv = ["reelbatch", *sys.argv[2:]]
    main()


if __name__ == "__main__":
    _main(*sys.argv[1:3])
