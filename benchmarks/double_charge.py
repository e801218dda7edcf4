"""What lost answers cost: Reelbatch and two usual ways around the vendor's client, against the same faults.

Each tool gets a fresh sandbox with the same seed; what was charged is read from the sandbox's books.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from importlib.metadata import version
from typing import Any

from benchmarks.figures import Bench, Found, at_most
from benchmarks.processes import run_peer, run_script, table_url
from benchmarks.rows import CREDITS, write_csv
from reelbatch.sandbox import RunningSandbox, start

SEED = 1
IN_FLIGHT = 16
RETRY_WAIT_S = 0.1
REELBATCH = "Reelbatch"
_PEERS = {
    "a Prefect task for each row, `retries=3`, vendor's client": "prefect_retries",
    "vendor's client under tenacity, 4 attempts": "tenacity_retries",
}
SCENARIOS: Mapping[str, dict[str, Any]] = {
    "2.5 % of the answers lost after the charge; 1 % each of 429, 500, 503": {
        "share": {"lost_after": 0.025, "rate_limited": 0.01, "server_error": 0.01, "unavailable": 0.01}
    },
    "if the deprecated field `estimated_frame_cost` goes; every answer arrives": {},
}


def run(bench: Bench) -> Found:
    """Every tool in every scenario."""
    rows = bench.size(1000, 60)
    scenarios: dict[str, list[dict[str, Any]]] = {}
    for scenario, faults in SCENARIOS.items():
        account = {
            "faults": {**faults, "seed": SEED},
            "frame_cost_field": bool(faults),
            "latency_ms": 20,
            "seed": SEED,
        }
        for tool in (REELBATCH, *_PEERS):
            with start(**account, render_video=False) as sandbox:
                scenarios.setdefault(scenario, []).append(_measured(bench, tool, sandbox, rows))
    ours = [line for lines in scenarios.values() for line in lines if line["tool"] == REELBATCH]
    figures = [
        at_most("rows charged twice", sum(line["rows_charged_twice"] for line in ours), 0, "rows"),
        at_most("credits overpaid", sum(line["credits_overpaid"] for line in ours), 0, "credits"),
    ]
    versions = {package: version(package) for package in ("magic_hour", "prefect", "tenacity")}
    return Found(figures, {"rows": rows, "seed": SEED, "versions": versions, "scenarios": scenarios})


def _measured(bench: Bench, tool: str, sandbox: RunningSandbox, rows: int) -> dict[str, Any]:
    if tool == REELBATCH:
        ids, in_doubt = _reelbatch(bench, sandbox, rows)
    else:
        used = run_peer(_PEERS[tool], bench.prefect, url=sandbox.url, rows=rows, in_flight=IN_FLIGHT)
        ids, in_doubt = used.answer, 0
    charges = sandbox.books()["charges"]
    times = Counter(charge["row"] for charge in charges)
    return {
        "tool": tool,
        "rows": rows,
        "charges": len(charges),
        "rows_charged_twice": sum(often > 1 for often in times.values()),  # or more often
        "ids_lost": len({charge["video_id"] for charge in charges} - set(ids)),
        "rows_in_doubt": in_doubt,  # reported as such
        "credits_overpaid": CREDITS * (len(charges) - len(times)),
    }


def _reelbatch(bench: Bench, sandbox: RunningSandbox, rows: int) -> tuple[list[str], int]:
    """Ids in the table, and how many rows in doubt the library reports to the script that calls it."""
    folder = bench.place("double-charge")
    options = {"base_url": sandbox.url, "results": table_url(folder), "concurrency": IN_FLIGHT}
    options["retry_wait_s"] = RETRY_WAIT_S
    used = run_script("generate", write_csv(folder / "rows.csv", rows), **options)
    with closing(sqlite3.connect(folder / "results.db")) as table:
        ids = [video_id for (video_id,) in table.execute("SELECT video_id FROM results WHERE video_id IS NOT NULL")]
    return ids, used.answer["answer"]["in_doubt"]
