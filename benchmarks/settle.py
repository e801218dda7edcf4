"""A hundred thousand videos that render, each asked about once within the poll interval."""

from __future__ import annotations

from typing import Any

from benchmarks.figures import Bench, Found, at_most, plain, short
from benchmarks.processes import Usage, command, run_command, run_peer, table_url
from benchmarks.serving import Server, raw_server
from benchmarks.tables import rendering_table

INTERVAL_S = 5.0  # the default, and the vendor's advice
AT_ONCE = 16  # the default
_PEERS = {"httpx_small_pools": 10, "aiohttp_bare": 1}  # the slow one a tenth of the questions
_ONCE = {"REELBATCH_POLL_INTERVAL_S": "3600"}  # for the measurement: nothing comes due a second time in one pass


def run(bench: Bench) -> Found:
    """One pass over everything that is due, as `reelbatch settle --no-wait` makes it; and bare loops."""
    rows = bench.size(100_000, 1_000)
    with raw_server() as server:
        table = ("--results", table_url(rendering_table(bench, rows)))
        settle = command("settle", *table, "--base-url", server.url, "--no-wait", "--json")
        ours = _line(server, "reelbatch settle", run_command(settle, **_ONCE, **bench.prefect))
        lines = [ours]
        for name, part in _PEERS.items():
            server.reset()
            used = run_peer(name, url=server.url, rows=rows // part, in_flight=AT_ONCE, questions=True)
            lines.append(_line(server, name, used))
    note = f"the poll interval is {INTERVAL_S:g} s"
    figures = [
        at_most("one pass over all videos", ours["pass s"], INTERVAL_S, "s", note),
        at_most("cores in use", ours["cores"], 1.0, "cores", "processor time of the command by its wall time"),
        plain("videos asked about", ours["polls/s"], "polls/s"),
    ]
    return Found(figures, {"settle": lines})


def _line(server: Server, name: str, used: Usage) -> dict[str, Any]:
    count, first, last = server.books()["calls"]["get"]
    found = {"polls": count, "pass s": last - first, "polls/s": count / (last - first)}
    found |= {**used.spent, "cores": used.cpu_s / used.seconds}
    return {"who": name, **{what: short(value) for what, value in found.items()}}
