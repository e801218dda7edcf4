"""Goal 8: two workers on one table, where the API is what takes the time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.figures import Bench, Found, at_least, attempt, median, plain, show
from benchmarks.postgres import running_postgres
from benchmarks.processes import Usage
from benchmarks.product import LONG_S, start_script, table_url
from benchmarks.rows import write_csv
from benchmarks.serving import Server, raw_server

LATENCY_MS = 200
IN_FLIGHT = 16  # of each worker
_POSTGRES, _SQLITE = "Postgres", "SQLite"


def run(bench: Bench) -> Found:
    """One worker and two on the same manifest, with Postgres and with SQLite."""
    rows = bench.size(3200, 320)
    manifest = write_csv(bench.place("workers") / "rows.csv", rows)
    lines: list[dict[str, Any]] = []
    with raw_server() as server:
        for name in (_POSTGRES, _SQLITE):
            lines += attempt(lambda kind=name: _lines(bench, server, manifest, kind), name) or []
    show(f"{rows:,} rows, {LATENCY_MS} ms, {IN_FLIGHT} in flight for each worker", lines)
    gains = {name: _gain(lines, name) for name in (_POSTGRES, _SQLITE)}
    note = "rows per second without the first and the last tenth, in which not all workers are at work"
    figures = [
        at_least("two workers on Postgres, by one", gains[_POSTGRES], 1.9, "times", note),
        plain("two workers on SQLite, by one", gains[_SQLITE], "times", note),
        plain("rows charged twice", sum(line["charged twice"] for line in lines), "rows"),
    ]
    return Found(figures, {"workers": lines})


def _lines(bench: Bench, server: Server, manifest: Path, kind: str) -> list[dict[str, Any]]:
    """By turns: one worker, two workers."""
    runs: dict[int, list[dict[str, Any]]] = {1: [], 2: []}
    with _tables(bench, kind) as table:
        for turn in range(bench.repeats):
            for workers, found in runs.items():
                found.append(_once(server, manifest, table(f"t{turn}w{workers}"), workers))
    return [_line(kind, workers, found) for workers, found in runs.items()]


@contextmanager
def _tables(bench: Bench, kind: str) -> Iterator[Any]:
    """Gives a function from a name to the URL of a new table."""
    if kind == _SQLITE:
        yield lambda name: table_url(bench.place(f"workers/{name}"))
        return
    with running_postgres(bench.place("workers/postgres")) as postgres:
        yield postgres.database


def _once(server: Server, manifest: Path, table: str, workers: int) -> dict[str, Any]:
    server.reset(latency_ms=LATENCY_MS)
    options = {"base_url": server.url, "results": table, "concurrency": IN_FLIGHT}
    started = [start_script("generate", manifest, **options) for _ in range(workers)]
    used: list[Usage] = [process.wait(LONG_S) for process in started]
    books = server.books()
    return {
        "rate": books["middle_rate"],
        "whole": books["rate"],
        "again": books["charged_again"],
        "cpu_s": sum(one.cpu_s for one in used),
        "peak_mb": max(one.peak_mb for one in used),
    }


def _line(kind: str, workers: int, runs: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "table": kind,
        "workers": workers,
        "rows/s": round(median(run["rate"] for run in runs) or 0.0, 1),
        "with both ends": round(median(run["whole"] for run in runs) or 0.0, 1),
        "bound": workers * IN_FLIGHT * 1000 / LATENCY_MS,
        "CPU s": round(median(run["cpu_s"] for run in runs) or 0.0, 1),
        "peak MiB each": round(max(run["peak_mb"] for run in runs)),
        "charged twice": sum(run["again"] for run in runs),
    }


def _gain(lines: list[dict[str, Any]], kind: str) -> float | None:
    rates = {line["workers"]: line["rows/s"] for line in lines if line["table"] == kind}
    return rates[2] / rates[1] if rates.get(1) else None
