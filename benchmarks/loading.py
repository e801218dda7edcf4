"""Goal 2: manifests of a million rows, checked, compared with the table and stored; the same again; ten million."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.figures import Bench, Figure, Found, at_most, median, plain, show
from benchmarks.processes import environment, module, run_process
from benchmarks.product import LONG_S, run_script, table_url
from benchmarks.rows import write_csv, write_parquet

_NOWHERE = "http://127.0.0.1:9"  # nothing is sent
_MEMORY_MB = 400
_PEER = "csv + sha256 + executemany, bare"


def run(bench: Bench) -> Found:
    """CSV and Parquet by turns with the bare loop, then the large one."""
    rows = bench.size(1_000_000, 20_000)
    folder = bench.place("loading")
    manifests = {"CSV": write_csv(folder / "rows.csv", rows), "Parquet": write_parquet(folder / "rows.parquet", rows)}
    runs: dict[str, list[dict[str, Any]]] = {}
    for turn in range(bench.repeats):
        for kind, manifest in manifests.items():
            place = bench.place(f"loading/{turn}-{kind}")
            runs.setdefault(f"{kind}, new", []).append(_load(manifest, place))
            runs.setdefault(f"{kind}, unchanged", []).append(_load(manifest, place))
        runs.setdefault(_PEER, []).append(_bare(manifests["CSV"], folder / f"bare-{turn}.db"))
    lines = [_line(name, rows, found) for name, found in runs.items()]
    large = _large(bench)
    show("Loading", [*lines, *large])
    return Found([*_figures(lines), *_large_figures(large)], {"loading": lines, "large": large})


def _load(manifest: Path, folder: Path) -> dict[str, Any]:
    used = run_script("load", manifest, base_url=_NOWHERE, results=table_url(folder))
    found = used.answer
    return {"seconds": found["seconds"], "cpu_s": found["cpu_s"], "wall_s": used.seconds, "peak_mb": used.peak_mb}


def _bare(manifest: Path, table: Path) -> dict[str, Any]:
    job = json.dumps({"manifest": str(manifest), "table": str(table)})
    used = run_process(module("benchmarks.peers_files", "csv_sqlite", job), environment(), LONG_S)
    table.unlink()
    return {"seconds": used.seconds, "cpu_s": used.cpu_s, "wall_s": used.seconds, "peak_mb": used.peak_mb}


def _line(name: str, rows: int, runs: list[dict[str, Any]]) -> dict[str, Any]:
    middle = {key: median(run[key] for run in runs) or 0.0 for key in runs[0]}
    return {
        "what": name,
        "rows": rows,
        "seconds": round(middle["seconds"], 2),
        "CPU s": round(middle["cpu_s"], 2),
        "with start of Python": round(middle["wall_s"], 2),
        "peak MiB": round(max(run["peak_mb"] for run in runs)),
    }


def _large(bench: Bench) -> list[dict[str, Any]]:
    """Ten times as many rows, once: whether memory stays where it is."""
    rows = bench.size(10_000_000, 100_000)
    folder = bench.place("loading/large")
    manifest = write_csv(folder / "rows.csv", rows)
    lines = [_line(f"CSV, {name}", rows, [_load(manifest, folder)]) for name in ("new", "unchanged")]
    for path in folder.iterdir():
        path.unlink()
    return lines


def _figures(lines: list[dict[str, Any]]) -> list[Figure]:
    rows = f"{lines[0]['rows']:,} rows"
    goals = {"new": 10, "unchanged": 5}
    figures = [plain(f"{_PEER}: {rows}", lines[-1]["seconds"], "s", "checks nothing, compares nothing")]
    for line in lines[:-1]:
        figures.append(at_most(f"{line['what']}: {rows}", line["seconds"], goals[line["what"].split(", ")[1]], "s"))
        figures.append(at_most(f"{line['what']}: peak memory", line["peak MiB"], _MEMORY_MB, "MiB"))
    return figures


def _large_figures(lines: list[dict[str, Any]]) -> list[Figure]:
    figures = []
    for line in lines:
        figures.append(plain(f"{line['what']}: {line['rows']:,} rows", line["seconds"], "s"))
        figures.append(
            at_most(f"{line['what']}: {line['rows']:,} rows, peak memory", line["peak MiB"], _MEMORY_MB, "MiB")
        )
    return figures
