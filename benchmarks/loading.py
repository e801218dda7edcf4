"""Manifests of a million rows, checked, compared with the table and stored; the same again; ten million."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

from benchmarks.figures import PEAK, Bench, Figure, Found, at_most, middle, plain
from benchmarks.processes import run_script, table_url
from benchmarks.rows import write_csv, write_parquet

_NOWHERE = "http://127.0.0.1:9"  # nothing is sent
_MEMORY_MB = 400
_BARE = "csv + sha256 + executemany, bare"
_GOALS_S = {"new": 10, "unchanged": 5}
_Runs = dict[str, list[dict[str, float]]]


def run(bench: Bench) -> Found:
    """CSV and Parquet by turns with the bare loop; then, once, ten times as many rows: whether memory stays."""
    rows, folder, runs = bench.size(1_000_000, 20_000), bench.place("loading"), defaultdict[str, Any](list)
    manifests = {"CSV": write_csv(folder / "rows.csv", rows), "Parquet": write_parquet(folder / "rows.parquet", rows)}
    for _ in range(bench.repeats):
        for kind, manifest in manifests.items():
            _load_twice(manifest, bench.place("loading"), kind, runs)
        runs[_BARE].append(_load("bare_load", manifests["CSV"], bench.place("loading")))
    large, once = write_csv(folder / "large.csv", 10 * rows), defaultdict[str, Any](list)
    _load_twice(large, bench.place("loading"), "CSV", once)
    lines, larger = _lines(rows, runs), _lines(10 * rows, once)
    return Found(_figures([*lines, *larger]), {"loading": lines, "large": larger})


def _load_twice(manifest: Path, folder: Path, kind: str, runs: _Runs) -> None:
    for what in _GOALS_S:
        runs[f"{kind}, {what}"].append(_load("load", manifest, folder))


def _load(work: str, manifest: Path, folder: Path) -> dict[str, float]:
    used = run_script(work, manifest, base_url=_NOWHERE, results=table_url(folder))
    return {"seconds": used.answer["seconds"], **used.spent}


def _lines(rows: int, runs: _Runs) -> list[dict[str, Any]]:
    return [{"what": name, "rows": rows, **middle(found)} for name, found in runs.items()]


def _figures(lines: list[dict[str, Any]]) -> list[Figure]:
    """Of the bare loop, and of ten times as many rows, the seconds have no goal."""
    figures = []
    for line in lines:
        what, rows = line["what"], f"{line['rows']:,} rows"
        if what == _BARE:
            figures.append(plain(f"{what}: {rows}", line["seconds"], "s", "checks nothing, compares nothing"))
        elif line["rows"] > lines[0]["rows"]:
            figures.append(plain(f"{what}: {rows}", line["seconds"], "s"))
            figures.append(at_most(f"{what}: {rows}, peak memory", line[PEAK], _MEMORY_MB, "MiB"))
        else:
            figures.append(at_most(f"{what}: {rows}", line["seconds"], _GOALS_S[what.partition(", ")[2]], "s"))
            figures.append(at_most(f"{what}: peak memory", line[PEAK], _MEMORY_MB, "MiB"))
    return figures
