"""Goal 7: how soon something happens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.figures import Bench, Found, at_most, median, show
from benchmarks.processes import Usage
from benchmarks.product import command, generate_command, run_command, table_url
from benchmarks.rows import write_csv
from benchmarks.serving import Server, raw_server

ROWS = 1000
_FIRST_ROWS = 20


def run(bench: Bench) -> Found:
    """Help, plan, and the first create of generate beside a Prefect server that runs."""
    folder = bench.place("start")
    manifest = write_csv(folder / "rows.csv", ROWS)
    plan = command("plan", str(manifest), "--results", table_url(folder))
    times = {
        "reelbatch --help": _times(bench, command("--help")),
        f"plan of {ROWS:,} rows": _times(bench, plan),
        "generate, to its first create": _first_creates(bench, folder),
    }
    lines = [
        {
            "what": name,
            "median s": round(median(found) or 0, 3),
            "all": [round(second, 2) for second in sorted(found)],
        }
        for name, found in times.items()
    ]
    show("Start", lines)
    goals = (0.3, 1.0, 3.0)
    figures = [
        at_most(name, median(found), goal, "s") for (name, found), goal in zip(times.items(), goals, strict=True)
    ]
    return Found(figures, {"start": lines})


def _times(bench: Bench, arguments: list[str]) -> list[float]:
    """Wall times; the first run, which reads the files from disk, does not count."""
    runs = [run_command(arguments).seconds for _ in range(1 + bench.size(7, 2))]
    return runs[1:]


def _first_creates(bench: Bench, folder: Path) -> list[float]:
    env = bench.prefect.env
    with raw_server() as server:
        runs = [_first_create(server, folder / f"first-{index}", env) for index in range(1 + bench.size(5, 1))]
    return runs[1:]


def _first_create(server: Server, folder: Path, env: Any) -> float:
    folder.mkdir()
    manifest = write_csv(folder / "rows.csv", _FIRST_ROWS)
    server.reset()
    used: Usage = run_command(generate_command(manifest, server.url, table_url(folder), 16), **env)
    return float(server.books()["first_at"] - used.started_at)
