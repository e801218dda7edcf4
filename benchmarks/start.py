"""How soon something happens: each command beside `python -c "import sqlalchemy, pyarrow.csv, pandas"`, by turns."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Mapping
from pathlib import Path

from benchmarks.figures import Bench, Found, at_most
from benchmarks.processes import command, generate_command, run_command, table_url
from benchmarks.rows import write_csv
from benchmarks.serving import Server, raw_server

ROWS = 1000
BARE = "bare start: import sqlalchemy, pyarrow.csv, pandas"
CREATE, PROMPT = "to the first create", "to the prompt"
GOALS: Mapping[str, float] = {
    "--help": 1,
    "status": 1,
    f"plan of {ROWS:,} rows": 1,
    "generate with nothing to send": 3,
    f"one row beside a running server, {CREATE}": 3,
    f"one row beside a running server, {PROMPT}": 3,
    f"one row with the temporary server, {CREATE}": 4.4,  # half of what it took on 26 November: 5.1 s of 0.58 s
    f"one row with the temporary server, {PROMPT}": 5,  # of 5.8 s
    f"the first run ever, {PROMPT}": 9.9,  # of 11.5 s
}
"""Times of the bare start."""


def run(bench: Bench) -> Found:
    """The first turn sends the one row, reads the files from disk, and does not count."""
    folder = bench.place("start")
    write_csv(folder / "rows.csv", 1)
    write_csv(folder / "many.csv", ROWS)
    with raw_server() as server:
        turns = [_turn(bench, folder, server) for _ in range(1 + bench.size(5, 1))][1:]
    medians = {name: statistics.median(turn[name] for turn in turns) for name in turns[0]}
    lines = [
        {"what": name, "median s": round(seconds, 2), "bare starts": round(seconds / medians[BARE], 2)}
        for name, seconds in medians.items()
    ]
    ratios = {line["what"]: line["bare starts"] for line in lines}
    return Found([at_most(name, ratios[name], goal, "bare starts") for name, goal in GOALS.items()], {"start": lines})


def _turn(bench: Bench, folder: Path, server: Server) -> dict[str, float]:
    """Seconds of each: with a batch that is complete and a folder that Prefect has used; one row in new tables."""
    used, many = {"PREFECT_HOME": str(folder / "home")}, str(folder / "many.csv")
    table = ("--results", table_url(folder))
    seconds = {
        BARE: run_command([sys.executable, "-c", "import sqlalchemy, pyarrow.csv, pandas"]).seconds,
        "generate with nothing to send": run_command(_generate(folder, folder, server), **used).seconds,
        "--help": run_command(command("--help")).seconds,
        "status": run_command(command("status", *table)).seconds,
        f"plan of {ROWS:,} rows": run_command(command("plan", many, *table)).seconds,
    }
    for name, env in (
        ("one row beside a running server", bench.prefect),
        ("one row with the temporary server", used),
        ("the first run ever", {"PREFECT_HOME": str(bench.place("home"))}),
    ):
        server.reset()
        ran = run_command(_generate(folder, bench.place("start"), server), **env)
        seconds[f"{name}, {CREATE}"] = server.books()["first_at"] - ran.started_at
        seconds[f"{name}, {PROMPT}"] = ran.seconds
    return seconds


def _generate(folder: Path, table: Path, server: Server) -> list[str]:
    return generate_command(folder / "rows.csv", server.url, table_url(table), 16)
