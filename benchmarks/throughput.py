"""Rows per second beside peers, at an API that answers in 200 ms and at one that answers at once.

The rate is the server's: creates between the first arrival and the last answer, so that a process's start does not
count; its wall time stands beside it. Everybody sends the same bodies to the same server, by turns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from benchmarks.figures import Bench, Figure, Found, at_least, middle, plain
from benchmarks.processes import Usage, generate_command, run_command, run_peer, run_script, table_url
from benchmarks.rows import write_csv
from benchmarks.serving import Server, raw_server

LATENCY_MS = 200
IN_FLIGHT = 100
BOUND = IN_FLIGHT * 1000 / LATENCY_MS
COMMAND, LIBRARY = "reelbatch generate", "reelbatch.generate"
AIOHTTP, SMALL_POOLS = "aiohttp, bare", "httpx, small pools"
SDK, PREFECT = "vendor's SDK, threads", "Prefect .map over the SDK"
_PEERS = {AIOHTTP: "aiohttp_bare", SMALL_POOLS: "httpx_small_pools", SDK: "sdk_threads", PREFECT: "prefect_map"}
_WARM_UP = 200


class Contender(NamedTuple):
    """Who sends. Slow ones get fewer rows: the rate does not depend on it."""

    name: str
    in_flight: int
    rows: int


def run(bench: Bench) -> Found:
    """Both latencies."""
    some, fewer, few = bench.size(6000, 500), bench.size(1500, 300), bench.size(600, 200)
    rows = {COMMAND: some, LIBRARY: some, AIOHTTP: some, SMALL_POOLS: some, SDK: fewer, PREFECT: few}
    late = [Contender(name, IN_FLIGHT, sent) for name, sent in rows.items()]
    at_once = [(SMALL_POOLS, 8), (LIBRARY, 16), (SMALL_POOLS, 16), (LIBRARY, 64), (SMALL_POOLS, 64)]
    swift = [Contender(name, in_flight, bench.size(5000, 800)) for name, in_flight in at_once]
    with raw_server() as server:
        slow, fast = _measure(bench, server, late, LATENCY_MS), _measure(bench, server, swift, 0)
    for line in slow:
        line["of bound"] = round(line["rows/s"] / BOUND, 3)
    return Found([*_late_figures(slow), *_swift_figures(fast)], {"bound": BOUND, "late": slow, "swift": fast})


def _measure(
    bench: Bench, server: Server, contenders: Sequence[Contender], latency_ms: float
) -> list[dict[str, Any]]:
    """In turns, so that whatever else the machine does hits everybody alike; the first turn only warms up."""
    runs: dict[Contender, list[dict[str, float]]] = {contender: [] for contender in contenders}
    for contender in contenders if not bench.quick else ():
        _send(bench, server, contender._replace(rows=_WARM_UP))
    for _ in range(bench.repeats):
        for contender, found in runs.items():
            server.reset(latency_ms)
            used = _send(bench, server, contender)
            cost_ms = 1000 * used.cpu_s / contender.rows
            found.append({"rows/s": server.books()["rate"], "CPU ms/row": cost_ms, **used.spent})
    names = ("sender", "in flight", "rows")
    return [dict(zip(names, contender, strict=True)) | middle(found) for contender, found in runs.items()]


def _send(bench: Bench, server: Server, contender: Contender) -> Usage:
    """The whole command (table, Prefect, progress, artifacts, export), the same without Prefect, or a peer."""
    name, in_flight, rows = contender
    if name in _PEERS:
        return run_peer(_PEERS[name], bench.prefect, url=server.url, rows=rows, in_flight=in_flight)
    folder = bench.place("throughput")
    manifest = write_csv(folder / "rows.csv", rows)
    if name == COMMAND:
        return run_command(generate_command(manifest, server.url, table_url(folder), in_flight), **bench.prefect)
    return run_script("generate", manifest, base_url=server.url, results=table_url(folder), concurrency=in_flight)


def _late_figures(lines: list[dict[str, Any]]) -> list[Figure]:
    found = {line["sender"]: line for line in lines}
    note = "first arrival to last answer at the server; table, artifacts, progress included; start-up excluded"
    share = found[COMMAND]["of bound"]
    return [
        at_least("generate at 200 ms, 100 in flight: share of the bound", share, 0.95, "", note),
        plain("the same command, wall time with start, load, report and export", found[COMMAND]["wall s"], "s"),
        plain("without Prefect: share of the bound", found[LIBRARY]["of bound"], ""),
        plain("bare aiohttp: share of the bound", found[AIOHTTP]["of bound"], ""),
        plain("bare httpx, small pools: share of the bound", found[SMALL_POOLS]["of bound"], ""),
    ]


def _swift_figures(lines: list[dict[str, Any]]) -> list[Figure]:
    ours = max(line["rows/s"] for line in lines if line["sender"] == LIBRARY)
    bare = max(line["rows/s"] for line in lines if line["sender"] != LIBRARY)
    note = "the best of ours by the best of theirs, over all numbers in flight"
    return [
        at_least("0 ms: share of the best bare httpx loop", ours / bare, 0.8, "", note),
        plain("0 ms: rows/s", ours, "rows/s"),
        plain("0 ms: best bare httpx loop", bare, "rows/s"),
    ]
