"""Goal 6: a hundred thousand videos that render, each asked about once within the poll interval."""

from __future__ import annotations

import json
from typing import Any

from benchmarks.figures import Bench, Found, at_most, plain, say, show
from benchmarks.processes import Usage, environment, module, run_process
from benchmarks.product import LONG_S, command, run_command, table_url
from benchmarks.serving import Server, raw_server
from benchmarks.tables import rendering_table

INTERVAL_S = 5.0  # the default, and the vendor's advice
AT_ONCE = (16, 100)
_PEERS = {"httpx_gets": 10, "aiohttp_gets": 1, "protocol_gets": 1}  # the slow one a tenth of the questions
_AGAIN_S = 3600  # for the measurement: nothing comes due a second time in one pass


def run(bench: Bench) -> Found:
    """One pass over everything that is due, as `reelbatch settle --no-wait` makes it; and bare loops."""
    rows = bench.size(100_000, 1_000)
    say(f"making a table of {rows:,} rows …")
    with raw_server() as server:
        lines = [_ours(bench, server, rows, at_once) for at_once in AT_ONCE]
        lines += [_theirs(server, name, rows // part, AT_ONCE[0]) for name, part in _PEERS.items()]
    show(f"{rows:,} rendering videos asked about once", lines)
    best = min(lines[: len(AT_ONCE)], key=lambda line: line["pass s"])
    figures = [
        at_most(
            "one pass over all videos", best["pass s"], INTERVAL_S, "s", f"the poll interval is {INTERVAL_S:g} s"
        ),
        at_most("cores in use", best["cores"], 1.0, "cores", "processor time of the command by its wall time"),
        plain("videos asked about", best["polls/s"], "polls/s"),
    ]
    return Found(figures, {"settle": lines})


def _ours(bench: Bench, server: Server, rows: int, at_once: int) -> dict[str, Any]:
    folder = rendering_table(bench, rows)
    server.reset()
    arguments = command("settle", "--results", table_url(folder), "--base-url", server.url, "--no-wait", "--json")
    waits = {"REELBATCH_POLL_CONCURRENCY": str(at_once), "REELBATCH_POLL_INTERVAL_S": str(_AGAIN_S)}
    used = run_command(arguments, **bench.prefect.env, **waits)
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    return _line("reelbatch settle", at_once, used, server.books())


def _theirs(server: Server, name: str, rows: int, at_once: int) -> dict[str, Any]:
    server.reset()
    job = json.dumps({"url": server.url, "rows": rows, "in_flight": at_once})
    used = run_process(module("benchmarks.peers", name, job), environment(), LONG_S)
    return _line(name.replace("_gets", ", bare"), at_once, used, server.books())


def _line(name: str, at_once: int, used: Usage, books: dict[str, Any]) -> dict[str, Any]:
    gets = books["calls"]["get"]
    seconds = gets["last"] - gets["first"]
    return {
        "who": name,
        "at once": at_once,
        "polls": gets["count"],
        "pass s": round(seconds, 2),
        "polls/s": round(gets["count"] / seconds, 1),
        "wall s": round(used.seconds, 1),
        "CPU s": round(used.cpu_s, 1),
        "cores": round(used.cpu_s / used.seconds, 2),
        "peak MiB": round(used.peak_mb),
    }
