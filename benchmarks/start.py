"""How soon something happens: each command beside `python -c "import sqlalchemy, pyarrow.csv, pandas"`, by turns."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.figures import Bench, Found, at_most, median, show
from benchmarks.processes import Usage, environment, run_process
from benchmarks.product import command, generate_command, run_command, table_url
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

Spans = dict[str, tuple[float, float | None]]
"""What was measured: seconds, and processor time of the whole tree where it is one command's."""


@dataclass(frozen=True)
class _Folder:
    """Where the commands work: a batch that is complete, and Prefect's folder that has been used."""

    path: Path
    server: Server
    named: Mapping[str, str]

    @property
    def manifest(self) -> Path:
        return self.path / "rows.csv"

    def generate(self, name: str, manifest: Path, home: Path, named: Mapping[str, str]) -> tuple[float, Usage]:
        """One row into a new table: seconds to the first create, and the whole command."""
        (self.path / name).mkdir()
        self.server.reset()
        arguments = generate_command(manifest, self.server.url, table_url(self.path / name), 16)
        used = run_command(arguments, **{"PREFECT_HOME": str(home), **named})
        return float(self.server.books()["first_at"] - used.started_at), used


def run(bench: Bench) -> Found:
    """Each by turns with the bare start; the first turn, which reads the files from disk, does not count."""
    path = bench.place("start")
    with raw_server() as server:
        folder = _Folder(path, server, bench.prefect.env)
        _prepare(folder)
        turns = [_turn(folder, turn) for turn in range(1 + bench.size(5, 1))][1:]
    bare_s, bare_cpu_s = (median(turn[BARE][each] for turn in turns) or 1.0 for each in (0, 1))
    lines = []
    for name in turns[0]:
        seconds, cpu_s = (median(turn[name][each] for turn in turns) for each in (0, 1))
        lines.append(
            {
                "what": name,
                "median s": round(seconds or 0, 2),
                "bare starts": round((seconds or 0) / bare_s, 2),
                "CPU s": None if cpu_s is None else round(cpu_s, 2),
                "CPU, bare starts": None if cpu_s is None else round(cpu_s / bare_cpu_s, 2),
            }
        )
    show("Start", lines)
    ratios = {line["what"]: line["bare starts"] for line in lines}
    return Found([at_most(name, ratios[name], goal, "bare starts") for name, goal in GOALS.items()], {"start": lines})


def _prepare(folder: _Folder) -> None:
    write_csv(folder.manifest, 1)
    write_csv(folder.path / "many.csv", ROWS)
    run_command(_again(folder), PREFECT_HOME=str(folder.path / "home"))


def _again(folder: _Folder) -> list[str]:
    return generate_command(folder.manifest, folder.server.url, table_url(folder.path), 16)


def _turn(folder: _Folder, turn: int) -> Spans:
    home, table = folder.path / "home", ("--results", table_url(folder.path))
    commands: Mapping[str, Callable[[], Usage]] = {
        BARE: partial(
            run_process, [sys.executable, "-c", "import sqlalchemy, pyarrow.csv, pandas"], environment(), 60
        ),
        "--help": partial(run_command, command("--help")),
        "status": partial(run_command, command("status", *table)),
        f"plan of {ROWS:,} rows": partial(run_command, command("plan", str(folder.path / "many.csv"), *table)),
        "generate with nothing to send": partial(run_command, _again(folder), PREFECT_HOME=str(home)),
    }
    spans: Spans = {}
    for name, work in commands.items():
        used = work()
        spans[name] = (used.seconds, used.cpu_s)
    new = folder.path / f"home-{turn}"
    for name, where, named in (
        ("one row beside a running server", home, folder.named),
        ("one row with the temporary server", home, {}),
        ("the first run ever", new, {}),
    ):
        first_create_s, used = folder.generate(f"{turn} {name}", folder.manifest, where, named)
        spans[f"{name}, {CREATE}"] = (first_create_s, None)
        spans[f"{name}, {PROMPT}"] = (used.seconds, used.cpu_s)
    return spans
