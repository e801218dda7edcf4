"""What a row costs, from a thousand rows to a million; the API answers at once."""

from __future__ import annotations

import shutil
from typing import Any

from benchmarks.figures import PEAK, Bench, Figure, Found, at_most, middle
from benchmarks.processes import run_script, table_url
from benchmarks.rows import write_csv
from benchmarks.serving import Server, raw_server

IN_FLIGHT = 64
SIZES = {1_000: 5, 10_000: 3, 100_000: 1, 1_000_000: 1}  # rows: repeats
_QUICK = {500: 1, 2_000: 1}
_RATIO = 1.1


def run(bench: Bench) -> Found:
    """One whole call of reelbatch.generate for each size."""
    with raw_server() as server:
        curve = [
            {"rows": rows, **middle([_once(bench, server, rows) for _ in range(repeats)])}
            for rows, repeats in (_QUICK if bench.quick else SIZES).items()
        ]
    return Found(_figures(curve), {"curve": curve})


def _once(bench: Bench, server: Server, rows: int) -> dict[str, float]:
    folder = bench.place("flat")
    manifest = write_csv(folder / "rows.csv", rows)
    server.reset()
    used = run_script("generate", manifest, base_url=server.url, results=table_url(folder), concurrency=IN_FLIGHT)
    found, books = used.answer, server.books()
    shutil.rmtree(folder)
    return {
        "ms/row, sending": 1000 * (books["last_at"] - books["first_at"]) / rows,
        "ms/row, whole call": 1000 * found["seconds"] / rows,
        "CPU ms/row": 1000 * found["cpu_s"] / rows,
        PEAK: used.peak_mb,
    }


def _figures(curve: list[dict[str, Any]]) -> list[Figure]:
    small, large = curve[0], curve[-1]
    span = f"{large['rows']:,} rows to {small['rows']:,}"
    names = {name: "peak memory" if name == PEAK else name for name in small if name != "rows"}
    return [at_most(f"{told}: {span}", large[name] / small[name], _RATIO, "times") for name, told in names.items()]
