"""Goal 4: what a row costs, from a thousand rows to a million; the API answers at once."""

from __future__ import annotations

from typing import Any

from benchmarks.figures import Bench, Figure, Found, at_most, median, show
from benchmarks.product import run_script, table_url
from benchmarks.rows import write_csv
from benchmarks.serving import Server, raw_server

IN_FLIGHT = 64
SIZES = {1_000: 5, 10_000: 3, 100_000: 1, 1_000_000: 1}  # rows: repeats
_QUICK = {500: 1, 2_000: 1}
_RATIO = 1.1
_COST = ("ms/row, sending", "ms/row, whole call", "CPU ms/row")


def run(bench: Bench) -> Found:
    """One whole call of reelbatch.generate for each size."""
    curve = []
    with raw_server() as server:
        for rows, repeats in (_QUICK if bench.quick else SIZES).items():
            curve.append(_point(rows, [_once(bench, server, rows, index) for index in range(repeats)]))
            show(f"{rows:,} rows", curve[-1:])
    show("Cost of a row", curve)
    return Found(_figures(curve), {"curve": curve})


def _once(bench: Bench, server: Server, rows: int, index: int) -> dict[str, float]:
    folder = bench.place(f"flat-{rows}-{index}")
    manifest = write_csv(folder / "rows.csv", rows)
    server.reset()
    used = run_script("generate", manifest, base_url=server.url, results=table_url(folder), concurrency=IN_FLIGHT)
    found, books = used.answer, server.books()
    sent = books["last_at"] - books["first_at"]
    for path in folder.iterdir():
        path.unlink()
    return {"sent": sent, "whole": found["seconds"], "cpu": found["cpu_s"], "peak": used.peak_mb}


def _point(rows: int, runs: list[dict[str, float]]) -> dict[str, Any]:
    middle = {name: median(run[name] for run in runs) or 0.0 for name in runs[0]}
    costs = {
        name: round(1000 * middle[key] / rows, 3) for name, key in zip(_COST, ("sent", "whole", "cpu"), strict=True)
    }
    return {"rows": rows, **costs, "peak MiB": round(middle["peak"])}


def _figures(curve: list[dict[str, Any]]) -> list[Figure]:
    small, large = curve[0], curve[-1]
    span = f"{large['rows']:,} rows to {small['rows']:,}"
    notes = {"ms/row, sending": "first arrival to last answer at the server"}
    figures = [
        at_most(f"{name}: {span}", large[name] / small[name], _RATIO, "times", notes.get(name)) for name in _COST
    ]
    return [*figures, at_most(f"peak memory: {span}", large["peak MiB"] / small["peak MiB"], _RATIO, "times")]
