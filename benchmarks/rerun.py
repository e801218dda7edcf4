"""Rerun, status and export on a table of a million rows, one per cent of them failed."""

from __future__ import annotations

from typing import Any

from benchmarks.figures import PEAK, Bench, Found, at_most, middle
from benchmarks.processes import Usage, command, run_command, run_script, table_url
from benchmarks.tables import finished_table

_EXPORT_MB = 400


def run(bench: Bench) -> Found:
    """The plan by itself, and whole commands as they are typed."""
    rows, times = bench.size(1_000_000, 20_000), bench.size(5, 2)
    folder = finished_table(bench, rows, failed_each=100)
    table = ("--results", table_url(folder), "--json")
    plans = [run_script("rerun_plan", None, results=table_url(folder)) for _ in range(times)]
    statuses = [run_command(command("status", *table)) for _ in range(times)]
    export = command("export", folder / "out.parquet", *table)
    plan = {"what": "rerun's plan, called", **middle([{"seconds": used.answer["seconds"]} for used in plans])}
    status = _line("reelbatch status", statuses)
    exported = _line("reelbatch export", [run_command(export) for _ in range(bench.repeats)])
    figures = [
        at_most("plan of a rerun", plan["seconds"], 1.0, "s", "from opening the table to what the user is asked"),
        at_most("reelbatch status", status["wall s"], 0.3, "s", "the whole command, start of Python included"),
        at_most("reelbatch export to Parquet", exported["wall s"], 5.0, "s", "the whole command"),
        at_most("export: peak memory", exported[PEAK], _EXPORT_MB, "MiB"),
    ]
    failed = plans[0].answer["answer"]["send"]
    return Found(figures, {"rows": rows, "failed": failed, "commands": [plan, status, exported]})


def _line(name: str, runs: list[Usage]) -> dict[str, Any]:
    return {"what": name, **middle([used.spent for used in runs])}
