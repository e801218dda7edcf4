"""Rows in doubt after a kill, beside those that were really in flight: the price of never sending a row twice.

`reelbatch.generate` in a script, at 16 and at 100 in flight, against an API that takes half a second for each create.
Ten times it is killed at work and begun again. In flight is what the server had got and not answered by then; each
of those may have been charged, so a row in doubt beyond them is one too many, and one fewer would be one too few.
"""

from __future__ import annotations

import random
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from benchmarks.figures import Bench, Found, at_most, plain, say, show
from benchmarks.processes import RunFailed
from benchmarks.product import LONG_S, start_script, table_url
from benchmarks.rows import write_csv
from benchmarks.serving import Server, raw_server

IN_FLIGHT = (16, 100)
KILLS = 10
LATENCY_MS = 500.0
_SEED = 20
_START_S = 120.0
_ROWS_A_KILL = 7  # times those in flight
_UNKNOWN = "SELECT count(*) FROM results WHERE state IN ('sending', 'in_doubt')"


def run(bench: Bench) -> Found:
    """Kill, count, begin again; then let the last run finish."""
    data, figures = {}, []
    with raw_server() as server:
        for in_flight in IN_FLIGHT:
            say(f"  {in_flight} in flight")
            pairs, again = _killed(bench, server, in_flight)
            data[str(in_flight)] = pairs
            show(f"{in_flight} in flight: after each kill", pairs)
            most = max(pair["in_doubt"] for pair in pairs)
            limit = in_flight if in_flight <= 32 else 1.25 * in_flight  # noqa: PLR2004 - as the design says
            figures += [
                at_most(f"rows sent twice, {in_flight} in flight", again, 0, "rows"),
                at_most(f"rows in doubt after one kill, {in_flight} in flight, the most", most, limit, "rows"),
                plain(f"… of all {len(pairs)} kills", sum(pair["in_doubt"] for pair in pairs), "rows"),
                plain("… really in flight then", sum(pair["in_flight"] for pair in pairs), "rows"),
                at_most("… in flight and not in doubt", sum(pair["missed"] for pair in pairs), 0, "rows"),
            ]
    return Found(figures, data)


def _killed(bench: Bench, server: Server, in_flight: int) -> tuple[list[dict[str, int]], int]:
    """For each kill the rows in doubt and those in flight; and how many rows the API was sent twice."""
    kills, draw = bench.size(KILLS, 2), random.Random(_SEED)
    folder = bench.place(f"kills-{in_flight}")
    manifest = write_csv(folder / "rows.csv", _ROWS_A_KILL * in_flight * (kills + 1))
    options = {"results": table_url(folder), "base_url": server.url, "api_key": "k", "concurrency": in_flight}
    server.reset(latency_ms=LATENCY_MS)
    pairs: list[dict[str, int]] = []
    for _ in range(kills):
        worker = start_script("generate", manifest, **options)
        arrived = int(server.books()["creates"]) + draw.randint(2 * in_flight, 4 * in_flight)
        _wait_for(server, arrived)
        time.sleep(draw.uniform(0, LATENCY_MS / 1000))  # creates come in waves: any moment of one is as good
        worker.kill()
        killed_at = time.time()
        worker.wait(LONG_S, codes=None)
        before = sum(pair["in_doubt"] for pair in pairs)
        open_ = server.in_flight(killed_at)
        doubtful = _unknown(folder / "results.db") - before
        pairs.append(
            {"kill": len(pairs) + 1, "in_flight": open_, "in_doubt": doubtful, "missed": max(0, open_ - doubtful)}
        )
    start_script("generate", manifest, **options).wait(LONG_S)
    return pairs, int(server.books()["charged_again"])


def _unknown(table: Path) -> int:
    """Rows that may have been charged and have no id; those that were being sent are in doubt with the next run."""
    with closing(sqlite3.connect(f"file:{table}?mode=ro", uri=True, timeout=30)) as connection:
        found: int = connection.execute(_UNKNOWN).fetchone()[0]
    return found


def _wait_for(server: Server, creates: int) -> None:
    deadline = time.monotonic() + _START_S
    while server.books()["creates"] < creates:
        if time.monotonic() > deadline:
            raise RunFailed(f"fewer than {creates} creates after {_START_S:.0f} s")
        time.sleep(0.01)
