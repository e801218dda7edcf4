"""Faults, killed workers and restarts of the database at once; the API's books are the judge.

Workers are `reelbatch.generate` in processes of their own, without Prefect: a start takes half as long. They are
killed with SIGKILL at drawn moments and started again as they were; Postgres is stopped, `fast` and `immediate` (a
crash) by turns, and started again while they work. The API is the sandbox, which fails in each way that ends no run;
`reelbatch webhook` takes the few events that it sends. In the end the same command runs with `settle`.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.figures import Bench, Figure, Found, at_most, plain, say
from benchmarks.processes import Process, start_script
from benchmarks.rows import CREDITS, write_csv
from benchmarks.serving import webhook_receiver
from reelbatch.sandbox import RunningSandbox, start
from reelbatch.sandbox.faults import CREATE_KINDS, FAULTS, Ending
from tests.proof.accounts import audit
from tests.proof.histories import judge_by_parts
from tests.support.own_postgres import OwnPostgres

SEED = 20
_POLL_S, _STALLED_S, _LAST_RUNS = 0.1, 240.0, 5
_JUDGED_AT_ONCE = 100_000  # rows whose history the judge has in memory
_LOSSY = 0.9  # of the events are never sent: what no event clears up stays in doubt, and `settle` has work
_HALTING = {kind for kind in CREATE_KINDS if FAULTS[kind].status in {401, 402}}
_ODD = {kind for kind in CREATE_KINDS if FAULTS[kind].ending is Ending.ODD_CHARGE}  # books and answers can't agree
KINDS = sorted(map(str, CREATE_KINDS - _HALTING - _ODD))
_OF_QUESTIONS = {"get_fail": 0.002, "get_lost": 0.002}
_MAY_CHARGE = ["gateway_timeout", "request_timeout", "cloudflare_520", "cloudflare_522", "cloudflare_524"]
_OPTIONS = {"retry_wait_s": 0.05, "retry_max_wait_s": 0.5, "bad_gateway_wait_s": 0.1, "request_timeout_s": 20}
_OPTIONS |= {"poll_interval_s": 1, "poll_concurrency": 32, "doubt_probe_wait_s": 0.5, "api_key": "sandbox"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much of everything. With `kill_every_s` workers are killed by the clock, else as charges come in."""

    rows: int
    faults: int
    kills: int
    restarts: int
    workers: int
    in_flight: int  # of each worker
    latency_ms: float = 20
    kill_every_s: float | None = None

    @property
    def doubts_allowed(self) -> float:
        """Rows in doubt after one kill at most, as the design says."""
        return self.in_flight if self.in_flight <= 32 else 1.25 * self.in_flight  # noqa: PLR2004 - DESIGN


_LARGE = Size(rows=1_000_000, faults=10_000, kills=100, restarts=10, workers=4, in_flight=100)
_SMALL = Size(
    rows=72_000, faults=720, kills=360, restarts=10, workers=20, in_flight=4, latency_ms=2000, kill_every_s=5
)
SCENARIOS = {"large": _LARGE, "small workers": _SMALL}
_QUICK = {"rows": 2000, "faults": 100, "kills": 2, "restarts": 1}


def run(bench: Bench) -> Found:
    """Both scenarios; or those that HEADLINE_SIZES states with other sizes (JSON), and the other as it is known."""
    stated = json.loads(os.environ.get("HEADLINE_SIZES", "{}"))
    data = bench.known().get("headline", {}).get("data", {}) if stated else {}
    for name, changed in (stated or dict.fromkeys(SCENARIOS, _QUICK if bench.quick else {})).items():
        data[name] = _measured(bench, name, replace(SCENARIOS[name], **changed))
    return Found([figure for found in data.values() for figure in _figures(found)], data)


def _measured(bench: Bench, name: str, size: Size) -> dict[str, Any]:
    """One scenario."""
    say(f"  {name}: {size}")
    folder = bench.place("headline")
    write_csv(folder / "rows.csv", size.rows)
    with ExitStack() as stack:
        postgres = stack.enter_context(OwnPostgres(folder / "postgres"))
        postgres.allow(connections=400)
        events = stack.enter_context(webhook_receiver(postgres.url))
        sandbox = stack.enter_context(start(**_account(size), **events))
        crew = Crew(size, folder, postgres, sandbox)
        data = {"size": asdict(size), **crew.work(), "webhook": _all_events(sandbox)}
        books = sandbox.books()
        data |= audit(postgres.query(_ROWS), books) | crew.doubts()
    histories, parts = sorted(folder.glob("history-*.jsonl")), 1 + len(books["charges"]) // _JUDGED_AT_ONCE
    found = judge_by_parts(histories, books["charges"], parts).contradictions
    for contradiction in found[:20]:
        say(f"  {contradiction}")
    return {**data, "contradictions": len(found), "creates": books["requests"]["create"]}


_ROWS = "SELECT row_key, state, video_id, token, credits_charged, credits_final, error_code FROM results"
_HELD_AT_KILL = """
SELECT run_id, (SELECT count(*) FROM attempts AS a WHERE a.run_id = r.run_id AND a.video_id IS NULL
  AND (a.outcome IS NULL OR (a.outcome = 'in_doubt' AND a.message LIKE 'the worker ended%%'))) AS doubts
FROM runs AS r WHERE pid = %(pid)s ORDER BY started_at DESC LIMIT 1
"""
_UNFINISHED = "SELECT count(*) AS n FROM results WHERE state IN ('queued', 'rendering')"
_CLEARED = "SELECT count(*) AS n FROM attempts WHERE message LIKE 'told by a webhook event%%'"
_DEAD = """
SELECT run_id, count(*) AS n FROM attempts
WHERE video_id IS NULL AND message LIKE 'the worker ended%%' GROUP BY run_id
"""


class Crew:
    """The workers. Each is started, waited for and killed by its own id."""

    def __init__(self, size: Size, folder: Path, postgres: OwnPostgres, sandbox: RunningSandbox) -> None:
        self._size, self._folder, self._postgres, self._sandbox = size, folder, postgres, sandbox
        self._draw = random.Random(SEED)
        self._workers: dict[int, Process] = {}  # by their places
        self._ends: Counter[str] = Counter()
        self._killed: dict[str, int] = {}  # rows that each killed run left without an answer, by its id
        self._peak_mb = 0.0
        self._starts = self._restarts = 0
        self._idle, self._last, self._since = False, -1, time.monotonic()
        (folder / "tmp").mkdir()

    def work(self) -> dict[str, Any]:
        """Until every row has been sent and every video has ended."""
        started = time.monotonic()
        try:
            self._workers = {slot: self._start(slot) for slot in range(self._size.workers)}
            while not self._charges() and not self._is_stalled():  # until then there may be no table to ask
                self._tend()
            self._trouble(time.monotonic())
            while self._workers and not self._is_stalled():
                self._tend()
            hung = len(self._workers)
        finally:
            for worker in self._workers.values():
                worker.kill()
                worker.wait(codes=None)
        sent_s, charges = time.monotonic() - started, self._charges()
        self._settle()
        return {
            "sent_s": round(sent_s),
            "seconds": round(time.monotonic() - started),
            "rows_per_s": round(charges / sent_s, 1),
            "kills": self._ends["killed"],
            "restarts": self._restarts,
            "starts": self._starts,
            "ends": dict(self._ends),
            "hung": hung,
            "doubts_after_a_kill": max(self._killed.values(), default=0),
            "peak_mb": round(self._peak_mb),
        }

    def _trouble(self, started: float) -> None:
        """Kill and restart until there were enough, or all rows are sent."""
        size, draw = self._size, self._draw
        whole = size.kills * size.kill_every_s if size.kill_every_s else size.rows
        kills = [((n - draw.random() / 2) / (size.kills + 1), self._kill) for n in range(1, size.kills + 1)]
        stops = [((n - 0.5) / (size.restarts + 1), self._restart) for n in range(1, size.restarts + 1)]
        for part, happen in sorted([*kills, *stops], key=lambda moment: moment[0]):
            while (time.monotonic() - started if size.kill_every_s else self._charges()) < part * whole:
                self._tend()
                if self._idle or self._is_stalled():
                    return
            happen()

    def _tend(self) -> None:
        """Start again what has ended, since the table was away, say; but not what found nothing more to send."""
        for slot, worker in list(self._workers.items()):
            if worker.has_ended:
                del self._workers[slot]
                if self._end(worker) == "done":
                    self._idle = True
                else:
                    self._workers[slot] = self._start(slot)
        time.sleep(_POLL_S)

    def _kill(self) -> None:
        slot = self._draw.randrange(self._size.workers)
        victim = self._workers.pop(slot)
        victim.kill()
        self._end(victim)
        for line in self._postgres.query(_HELD_AT_KILL, {"pid": victim.pid}):
            self._killed[line["run_id"]] = line["doubts"]
            say(f"  a kill after {self._charges():,} charges: {line['doubts']} without an answer")
        self._workers[slot] = self._start(slot)

    def _restart(self) -> None:
        self._restarts += 1
        how = ("immediate", "fast")[self._restarts % 2]
        self._postgres.restart(how, away_s=self._draw.uniform(0, 3))
        say(f"  a restart ({how}) after {self._charges():,} charges")

    def _settle(self) -> None:
        """The same command with `settle`, until it says that nothing is left."""
        for _ in range(_LAST_RUNS):
            ended = self._end(self._start(self._size.workers, settle=True))
            (left,) = self._postgres.query(_UNFINISHED)
            if ended == "done" and not left["n"]:
                return

    def doubts(self) -> dict[str, int]:
        """What became of the doubtful, and those of workers that were not killed."""
        (cleared,) = self._postgres.query(_CLEARED)
        dead = {line["run_id"]: line["n"] for line in self._postgres.query(_DEAD)}
        unkilled = sum(rows for run_id, rows in dead.items() if run_id not in self._killed)
        return {"cleared_by_events": cleared["n"], "in_doubt_by_kills": sum(dead.values()), "unkilled": unkilled}

    def _start(self, slot: int, **more: Any) -> Process:
        self._starts += 1
        options = {**_OPTIONS, "base_url": self._sandbox.url, "results": self._postgres.url, **more}
        options |= {"concurrency": self._size.in_flight, "history": str(self._folder / f"history-{slot}.jsonl")}
        return start_script("generate", self._folder / "rows.csv", options, TMPDIR=str(self._folder / "tmp"))

    def _end(self, worker: Process) -> str:
        """Why it ended, in a word."""
        used = worker.wait(codes=None)
        self._peak_mb = max(self._peak_mb, used.peak_mb)
        if used.code == -signal.SIGKILL:
            why = "killed"
        elif used.code:
            why = ["?", *used.err.strip().splitlines()][-1].partition(":")[0]
        else:
            why = str(used.answer["answer"]["exit_reason"])
        if why not in {"done", "killed"}:
            say(f"  a worker ended with {used.code}, {why}: {used.err[-200:]}")
        self._ends[why] += 1
        return why

    def _charges(self) -> int:
        return int(self._sandbox.books(summary=True)["creates"])

    def _is_stalled(self) -> bool:
        """Whether nothing was charged for long."""
        if (charges := self._charges()) != self._last:
            self._last, self._since = charges, time.monotonic()
        return time.monotonic() - self._since > _STALLED_S


def _account(size: Size) -> dict[str, Any]:
    """An API that fails as the size says, and sends some events."""
    faults = {"share": {**dict.fromkeys(KINDS, size.faults / size.rows / len(KINDS)), **_OF_QUESTIONS}, "seed": SEED}
    faults |= {"charge_anyway": _MAY_CHARGE, "retry_after": "none", "stall_seconds": 5, "slow_seconds": 0.2}
    events = {"lost": _LOSSY, "duplicate": 0.01, "shuffle": 0.01, "seed": SEED}
    account = {"faults": faults, "webhook_faults": events, "webhook_tries": 12, "balance": 4 * CREDITS * size.rows}
    account |= {"latency_ms": size.latency_ms, "queue_seconds": 1, "render_seconds": 2, "render_error_share": 0.01}
    return {**account, "render_video": False, "seed": SEED}


def _all_events(sandbox: RunningSandbox) -> dict[str, int]:
    """The sandbox's count of events, once the last one was sent."""
    deadline = time.monotonic() + _STALLED_S
    while (counts := sandbox.events())["pending"] and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    return counts


def _figures(data: dict[str, Any]) -> list[Figure]:
    size = Size(**data["size"])
    what = f"{size.rows:,} rows, {size.workers} workers, {size.in_flight} in flight each"
    return [
        at_most(f"{what}: rows charged twice", data["charged_twice"], 0, "rows"),
        at_most("… ids lost: charged, and neither in the table nor in doubt there", data["ids_lost"], 0, "ids"),
        at_most("… rows without an end", data["unfinished"], 0, "rows"),
        at_most("… rows in which table and books differ", data["differing"], 0, "rows"),
        at_most("… credits that the table does not explain", abs(data["credits_unexplained"]), 0, "credits"),
        at_most("… contradictions in the histories", data["contradictions"], 0, ""),
        at_most("… workers that hung", data["hung"], 0, "workers"),
        at_most("… in doubt after one kill, the most", data["doubts_after_a_kill"], size.doubts_allowed, "rows"),
        at_most("… in doubt for a worker that ended and was not killed", data["unkilled"], 0, "rows"),
        plain("… workers killed", data["kills"], "workers"),
        plain("… restarts of Postgres", data["restarts"], "restarts"),
        plain("… creates that met a fault, as drawn", round(data["creates"] * size.faults / size.rows), "creates"),
        plain("… in doubt in the end, reported", data["in_doubt"], "rows"),
        plain("… cleared up by a webhook event", data["cleared_by_events"], "rows"),
        plain("… peak memory of a worker", data["peak_mb"], "MiB"),
        plain("… rows/s, kills, restarts and starts included", data["rows_per_s"], "rows/s"),
    ]
