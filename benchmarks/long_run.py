"""Goal 9: the long run. 100,000 rows, every kind of fault, two workers at a time, ten of them killed.

Workers are whole commands, `reelbatch generate --json`, beside a Prefect server that runs; the API is the sandbox,
whose books say what was charged. In the end the same command runs until nothing is left, then the videos are settled.
"""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

from benchmarks.accounts import audit
from benchmarks.figures import Bench, Found, at_most, plain, say, show
from benchmarks.processes import Process, Usage, environment
from benchmarks.product import LONG_S, generate_command, table_url
from benchmarks.rows import CREDITS, write_csv
from reelbatch.sandbox import RunningSandbox, start

KILLS = 10
SEED = 20
_IN_FLIGHT = 32  # of each worker
_POLL_S = 0.25
_LAST_RUNS = 5
_STALLED_S = 120.0
_SHARES = {
    "rate_limited": 0.001,
    "server_error": 0.003,
    "bad_gateway": 0.002,
    "unavailable": 0.003,
    "gateway_timeout": 0.001,
    "cloudflare_520": 0.001,
    "invalid": 0.001,
    "lost_before": 0.002,
    "reset_before": 0.002,
    "lost_after": 0.003,
    "reset_after": 0.002,
    "stall_after": 0.0002,
    "truncated_json": 0.001,
    "no_id": 0.001,
    "get_fail": 0.002,
    "get_lost": 0.002,
}
_IMPATIENT = {
    "REELBATCH_RETRY_WAIT_S": "0.05",
    "REELBATCH_RETRY_MAX_WAIT_S": "0.5",
    "REELBATCH_BAD_GATEWAY_WAIT_S": "0.1",
    "REELBATCH_REQUEST_TIMEOUT_S": "3",
    "REELBATCH_POLL_CONCURRENCY": "32",
}


def run(bench: Bench) -> Found:
    """Send everything, then compare the table with the books."""
    rows, kills = bench.size(100_000, 800), bench.size(KILLS, 3)
    folder = bench.place("long-run")
    manifest = write_csv(folder / "rows.csv", rows)
    faults = {"share": _SHARES, "seed": SEED, "charge_anyway": ["gateway_timeout", "cloudflare_520"]}
    faults |= {"retry_after": "none", "stall_seconds": 5}
    account = {"latency_ms": 20, "queue_seconds": 0.1, "render_seconds": 0.5, "render_error_share": 0.01}
    with start(faults=faults, render_video=False, balance=4 * CREDITS * rows, seed=SEED, **account) as sandbox:
        crew = _Crew(bench, sandbox, manifest)
        started = time.monotonic()
        killed_at = crew.work_and_die(rows, kills)
        crew.finish()
        seconds = time.monotonic() - started
        found = audit(folder / "results.db", sandbox.books())
    found |= {"killed": crew.killed, "killed_at": killed_at}
    found |= {"seconds": round(seconds), "peak_mb": round(crew.peak_mb)}
    show("The long run", [{"what": name, "count": value} for name, value in found.items()])
    figures = [
        at_most("rows charged twice", found["charged_twice"], 0, "rows"),
        at_most("ids lost: charged, and neither in the table nor in doubt there", found["ids_lost"], 0, "ids"),
        at_most("rows in which table and books differ", found["differing"], 0, "rows"),
        at_most("rows without an end", found["unfinished"], 0, "rows"),
        plain("workers killed at work", crew.killed, "workers"),
        plain("rows in doubt, reported", found["in_doubt"], "rows"),
        plain("peak memory of a worker", crew.peak_mb, "MiB"),
        plain("seconds, with settle", seconds, "s"),
    ]
    return Found(figures, found)


class _Crew:
    """The workers. Each is started, waited for and killed by its own id."""

    def __init__(self, bench: Bench, sandbox: RunningSandbox, manifest: Path) -> None:
        self.peak_mb = 0.0
        self.killed = 0
        self._sandbox = sandbox
        self._env = environment(**bench.prefect.env, **_IMPATIENT)
        self._command = generate_command(manifest, sandbox.url, table_url(manifest.parent), _IN_FLIGHT)

    def work_and_die(self, rows: int, kills: int) -> list[int]:
        """Two at a time; every few charges one of them is killed and another takes its place."""
        draw = random.Random(SEED)
        workers = [self._start(), self._start()]
        killed_at = []
        try:
            for kill in range(1, kills + 1):
                self._wait_for(int(rows * (kill - draw.random() * 0.5) / (kills + 1)))
                victim = workers.pop(draw.randrange(2))
                victim.kill()
                self.killed += self._end(victim).code == -signal.SIGKILL
                killed_at.append(self._charges())
                say(f"  killed one after {killed_at[-1]:,} charges")
                workers.append(self._start())
        finally:
            for worker in workers:
                self._end(worker)
        return killed_at

    def finish(self) -> None:
        """The same command until nothing is pending; the last one waits for the videos."""
        for _ in range(_LAST_RUNS):
            used = self._end(Process(self._command, self._env))
            if not used.answer.get("pending") and not used.answer.get("unsent"):
                break
        self._end(Process([*self._command, "--settle"], self._env))

    def _start(self) -> Process:
        return Process(self._command, self._env)

    def _end(self, worker: Process) -> Usage:
        used = worker.wait(LONG_S, codes=None)
        self.peak_mb = max(self.peak_mb, used.peak_mb)
        return used

    def _charges(self) -> int:
        return int(self._sandbox.books(summary=True)["creates"])

    def _wait_for(self, charges: int) -> None:
        """Until that many were charged; not for ever where nothing goes on."""
        last, since = -1, time.monotonic()
        while (now := self._charges()) < charges and time.monotonic() - since < _STALLED_S:
            if now != last:
                last, since = now, time.monotonic()
            time.sleep(_POLL_S)
