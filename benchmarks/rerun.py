"""Goal 3: rerun, status and export on a table of a million rows, one per cent of them failed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.figures import Bench, Found, at_most, median, plain, say, show
from benchmarks.processes import Usage
from benchmarks.product import command, run_command, run_script, table_url
from benchmarks.tables import finished_table

_FAILED_EACH = 100
_EXPORT_MB = 400


def run(bench: Bench) -> Found:
    """The plan by itself, and whole commands as they are typed."""
    rows = bench.size(1_000_000, 20_000)
    say(f"making a table of {rows:,} rows …")
    folder = finished_table(bench, rows, failed_each=_FAILED_EACH)
    table = table_url(folder)
    times = bench.size(5, 2)
    plans = [run_script("rerun_plan", None, results=table) for _ in range(times)]
    chosen = plans[0].answer["answer"]["send"]
    statuses = [run_command(command("status", "--results", table, "--json")) for _ in range(times)]
    again = run_command(
        command("rerun", "--results", table, "--base-url", "http://127.0.0.1:9", "--limit", "0", "--json"),
        **bench.prefect.env,
    )
    exports = [_export(folder, table, index) for index in range(bench.repeats)]
    lines = [
        _line("rerun's plan, called", [used.answer["seconds"] for used in plans], plans),
        _line("reelbatch status", [used.seconds for used in statuses], statuses),
        _line("reelbatch export", [used.seconds for used in exports], exports),
        _line("reelbatch rerun --limit 0", [again.seconds], [again]),
    ]
    show(f"A table of {rows:,} rows, {chosen:,} failed", lines)
    plan, status, export, whole = lines
    figures = [
        at_most("plan of a rerun", plan["seconds"], 1.0, "s", "from opening the table to what the user is asked"),
        at_most("reelbatch status", status["seconds"], 0.3, "s", "the whole command, start of Python included"),
        at_most("reelbatch export to Parquet", export["seconds"], 5.0, "s", "the whole command"),
        at_most("export: peak memory", export["peak MiB"], _EXPORT_MB, "MiB"),
        plain("reelbatch rerun --limit 0, the whole command", whole["seconds"], "s", "with report and export"),
    ]
    return Found(figures, {"rows": rows, "failed": chosen, "commands": lines})


def _export(folder: Path, table: str, index: int) -> Usage:
    return run_command(command("export", str(folder / f"out-{index}.parquet"), "--results", table, "--json"))


def _line(name: str, seconds: list[float], used: list[Usage]) -> dict[str, Any]:
    return {
        "what": name,
        "seconds": round(median(seconds) or 0.0, 3),
        "CPU s": round(median(one.cpu_s for one in used) or 0.0, 2),
        "peak MiB": round(max(one.peak_mb for one in used)),
    }
