"""Goal 1: rows per second, at an API that answers in 200 ms and at one that answers at once.

The rate is the server's: creates between the first arrival and the last answer, so that a process's start does not
count; its wall time stands beside it. Everybody sends the same bodies to the same server, by turns.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import count
from typing import Any, NamedTuple

from benchmarks.figures import Bench, Figure, Found, at_least, attempt, median, plain, show
from benchmarks.processes import Usage, environment, module, run_process
from benchmarks.product import generate_command, run_command, run_script, table_url
from benchmarks.rows import write_csv
from benchmarks.serving import Server, cpu_s, raw_server
from reelbatch.sandbox import start

LATENCY_MS = 200
IN_FLIGHT = 100
BOUND = IN_FLIGHT * 1000 / LATENCY_MS
AT_ONCE = (16, 64)  # in flight, where there is no latency
COMMAND, LIBRARY = "reelbatch generate", "reelbatch.generate"
_TIMEOUT_S = 900.0
_WARM_UP = 200
_places = count()
Run = Callable[[str, int], Usage]
"""Given the server's URL and how many rows: sends them."""


class Contender(NamedTuple):
    """Who sends. Slow ones get fewer rows: the rate does not depend on it."""

    name: str
    in_flight: int
    rows: int
    run: Run


def run(bench: Bench) -> Found:
    """Both latencies, then what the servers themselves cost."""
    with raw_server() as server:
        late = _measure(bench, server, _late_contenders(bench), LATENCY_MS)
        show(f"{LATENCY_MS} ms, {IN_FLIGHT} in flight: at most {BOUND:.0f} rows/s", late)
        swift = _measure(bench, server, _swift_contenders(bench), 0)
        show("0 ms", swift)
    servers = [_sandbox(bench), _lean(swift)]
    show("The servers themselves", servers)
    figures = [*_late_figures(late), *_swift_figures(swift)]
    return Found(figures, {"bound": BOUND, "late": late, "swift": swift, "servers": servers})


def _late_contenders(bench: Bench) -> list[Contender]:
    some, few = bench.size(6000, 500), bench.size(600, 200)  # the last answers alone take 0.2 s
    prefect = bench.prefect.env
    return [
        Contender(COMMAND, IN_FLIGHT, some, _command(bench)),
        Contender(LIBRARY, IN_FLIGHT, some, _library(bench, IN_FLIGHT)),
        Contender("aiohttp, bare", IN_FLIGHT, some, _peer("aiohttp_bare", IN_FLIGHT)),
        Contender("httpx, small pools", IN_FLIGHT, some, _peer("httpx_small_pools", IN_FLIGHT)),
        Contender("vendor's SDK, threads", IN_FLIGHT, bench.size(1500, 300), _peer("sdk_threads", IN_FLIGHT)),
        Contender("Prefect .map over the SDK", IN_FLIGHT, few, _peer("prefect_map", IN_FLIGHT, prefect)),
        Contender("httpx, one pool", IN_FLIGHT, few, _peer("httpx_one_pool", IN_FLIGHT)),
        Contender("vendor's SDK, async", IN_FLIGHT, few, _peer("sdk_async", IN_FLIGHT)),
        Contender("Prefect gather over the SDK", IN_FLIGHT, few, _peer("prefect_gather", IN_FLIGHT, prefect)),
    ]


def _swift_contenders(bench: Bench) -> list[Contender]:
    rows = bench.size(5000, 800)
    contenders = [Contender("httpx, one pool", 8, rows, _peer("httpx_one_pool", 8))]
    for at_once in AT_ONCE:
        contenders += [
            Contender(LIBRARY, at_once, rows, _library(bench, at_once)),
            Contender("httpx, small pools", at_once, rows, _peer("httpx_small_pools", at_once)),
            Contender("httpx, one pool", at_once, rows, _peer("httpx_one_pool", at_once)),
            Contender("aiohttp, bare", at_once, rows, _peer("aiohttp_bare", at_once)),
        ]
    return contenders


def _command(bench: Bench) -> Run:
    """The whole command: manifest, table, Prefect, progress, artifacts, export."""

    def work(url: str, rows: int) -> Usage:
        folder = bench.place(f"command-{next(_places)}")
        manifest = write_csv(folder / "rows.csv", rows)
        arguments = generate_command(manifest, url, table_url(folder), IN_FLIGHT)
        return run_command(arguments, **bench.prefect.env)

    return work


def _library(bench: Bench, in_flight: int) -> Run:
    """The same without Prefect."""

    def work(url: str, rows: int) -> Usage:
        folder = bench.place(f"library-{next(_places)}")
        manifest = write_csv(folder / "rows.csv", rows)
        return run_script("generate", manifest, base_url=url, results=table_url(folder), concurrency=in_flight)

    return work


def _peer(name: str, in_flight: int, env: Any = None) -> Run:
    def work(url: str, rows: int) -> Usage:
        job = json.dumps({"url": url, "rows": rows, "in_flight": in_flight})
        return run_process(module("benchmarks.peers", name, job), env or environment(), _TIMEOUT_S)

    return work


def _measure(bench: Bench, server: Server, contenders: list[Contender], latency_ms: float) -> list[dict[str, Any]]:
    """In turns, so that whatever else the machine does hits everybody alike; the first turn only warms up."""
    runs: dict[Contender, list[dict[str, Any]]] = {contender: [] for contender in contenders}
    if not bench.quick:
        for contender in contenders:
            attempt(lambda one=contender: one.run(server.url, _WARM_UP), contender.name)
    for _ in range(bench.repeats):
        for contender in contenders:
            server.reset(latency_ms=latency_ms)
            used = attempt(lambda one=contender: one.run(server.url, one.rows), contender.name)
            runs[contender].append(_told(used, server.books()))
    return [_line(contender, found, latency_ms) for contender, found in runs.items()]


def _told(used: Usage | None, books: dict[str, Any]) -> dict[str, Any]:
    if used is None:
        return {}
    per_row = 1000 / books["creates"]
    return {
        "rate": books["rate"],
        "seconds": used.seconds,
        "cpu_ms": used.cpu_s * per_row,
        "peak_mb": used.peak_mb,
        "server_cpu_ms": books["cpu_s"] * per_row,
        "again": books["charged_again"],
    }


def _line(contender: Contender, runs: list[dict[str, Any]], latency_ms: float) -> dict[str, Any]:
    names = ("rate", "seconds", "cpu_ms", "peak_mb", "server_cpu_ms")
    middle = {name: median(run.get(name) for run in runs) for name in names}
    rate = middle["rate"]
    share = {"of bound": round(rate / BOUND, 3) if rate else None} if latency_ms else {}
    return {
        "sender": contender.name,
        "in flight": contender.in_flight,
        "rows": contender.rows,
        "rows/s": round(rate, 1) if rate else None,
        **share,
        "lowest": round(min((run["rate"] for run in runs if run), default=0.0), 1),
        "highest": round(max((run["rate"] for run in runs if run), default=0.0), 1),
        "wall s": round(middle["seconds"], 1) if rate else None,
        "CPU ms/row": round(middle["cpu_ms"], 2) if rate else None,
        "peak MiB": round(middle["peak_mb"]) if rate else None,
        "server CPU ms/row": round(middle["server_cpu_ms"], 3) if rate else None,
        "paid again": sum(run["again"] for run in runs if run),
    }


def _sandbox(bench: Bench) -> dict[str, Any]:
    """What a create costs the product's sandbox, by its own processor time."""
    rows = bench.size(3000, 500)
    with start(render_video=False, balance=10**12) as sandbox:
        before = cpu_s(sandbox.pid)
        _peer("aiohttp_bare", AT_ONCE[0])(sandbox.url, rows)
        return _server("sandbox", 1000 * (cpu_s(sandbox.pid) - before) / rows)


def _lean(swift: list[dict[str, Any]]) -> dict[str, Any]:
    cost = median(line["server CPU ms/row"] for line in swift if line["sender"] == "aiohttp, bare")
    return _server("lean server", cost or 0.0)


def _server(name: str, cpu_ms: float) -> dict[str, Any]:
    most = round(1000 / cpu_ms) if cpu_ms else None
    return {"server": name, "CPU ms/create": round(cpu_ms, 3), "creates/s at most": most}


def _late_figures(lines: list[dict[str, Any]]) -> list[Figure]:
    shares = {line["sender"]: line["of bound"] for line in lines}
    walls = {line["sender"]: line["wall s"] for line in lines}
    note = "first arrival to last answer at the server; table, artifacts, progress included; start-up excluded"
    return [
        at_least("generate at 200 ms, 100 in flight: share of the bound", shares[COMMAND], 0.95, "", note),
        plain("the same command, wall time with start, load, report and export", walls[COMMAND], "s"),
        plain("without Prefect: share of the bound", shares[LIBRARY], ""),
        plain("bare aiohttp: share of the bound", shares["aiohttp, bare"], ""),
        plain("bare httpx, small pools: share of the bound", shares["httpx, small pools"], ""),
    ]


def _swift_figures(lines: list[dict[str, Any]]) -> list[Figure]:
    ours = max((line["rows/s"] or 0.0 for line in lines if line["sender"] == LIBRARY), default=0.0)
    bare = max((line["rows/s"] or 0.0 for line in lines if line["sender"].startswith("httpx")), default=0.0)
    note = "the best of ours by the best of theirs, over all numbers in flight"
    return [
        at_least("0 ms: share of the best bare httpx loop", ours / bare if bare else None, 0.8, "", note),
        plain("0 ms: rows/s", ours, "rows/s"),
        plain("0 ms: best bare httpx loop", bare, "rows/s"),
    ]
