"""Two workers on one table in Postgres by one, where the API is what takes the time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.figures import PEAK, Bench, Found, at_least, middle, plain
from benchmarks.processes import start_script
from benchmarks.rows import write_csv
from benchmarks.serving import Server, raw_server
from tests.support.own_postgres import OwnPostgres

LATENCY_MS = 200
IN_FLIGHT = 16  # of each worker


def run(bench: Bench) -> Found:
    """One worker and two on the same manifest, by turns."""
    folder = bench.place("workers")
    manifest = write_csv(folder / "rows.csv", bench.size(3200, 320))
    runs: dict[int, list[dict[str, float]]] = {1: [], 2: []}
    with raw_server() as server, OwnPostgres(folder / "postgres") as postgres:
        for turn in range(bench.repeats):
            for workers, found in runs.items():
                found.append(_once(server, manifest, postgres.database(f"t{turn}w{workers}"), workers))
    lines: list[dict[str, Any]] = [{"workers": workers, **middle(found)} for workers, found in runs.items()]
    note = "rows per second without the first and the last tenth, in which not all workers are at work"
    gain = lines[1]["rows/s"] / lines[0]["rows/s"]
    figures = [
        at_least("two workers on Postgres, by one", gain, 1.9, "times", note),
        plain("rows charged twice", sum(one["charged twice"] for found in runs.values() for one in found), "rows"),
    ]
    return Found(figures, {"workers": lines})


def _once(server: Server, manifest: Path, table: str, workers: int) -> dict[str, float]:
    server.reset(LATENCY_MS)
    options = {"base_url": server.url, "results": table, "concurrency": IN_FLIGHT}
    started = [start_script("generate", manifest, options) for _ in range(workers)]
    used, books = [process.wait() for process in started], server.books()
    return {
        "rows/s": books["middle_rate"],
        "with both ends": books["rate"],
        "charged twice": books["charged_again"],
        "CPU s": sum(one.cpu_s for one in used),
        PEAK: max(one.peak_mb for one in used),
    }
