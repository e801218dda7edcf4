"""Runs that are stopped, cancelled, or go wrong inside: what is in flight is recorded, nothing else leaves."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from bench import PRICE, Answer, Arrival, Bench, ScriptedApi, scripted
from waiting import until

from reelbatch.domain import Batch
from reelbatch.errors import LedgerError
from reelbatch.ledger import Ledger, attempts, queries
from reelbatch.ledger.rescue_files import lying
from reelbatch.pipeline.resources import opened_ledger
from reelbatch.pipeline.run_context import RunContext
from reelbatch.pipeline.run_summary import RunReport
from reelbatch.settings import load_settings
from reelbatch.submit import ExitReason, Uploader
from reelbatch.submit.freshness import Freshness, Readings
from reelbatch.submit.uploads import Asset


def recorded_ids(bench: Bench) -> set[str]:
    """Ids that the table has."""
    return {row["video_id"] for row in bench.table() if row["video_id"]}


class Gate:
    """Holds every create until it is opened; says when enough have come."""

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self.full = threading.Event()
        self.opened = threading.Event()

    def __call__(self, arrival: Arrival) -> Answer:
        """The script of an API."""
        if arrival.number >= self.wanted:
            self.full.set()
        self.opened.wait(20)
        return Answer()

    async def until_full(self) -> None:
        """Wait for the creates."""
        assert await asyncio.to_thread(self.full.wait, 20)

    async def open_late(self) -> None:
        """Open it when whatever should not leave has had its time to."""
        await asyncio.sleep(0.2)
        self.opened.set()


class InFlight(NamedTuple):
    """A run, all of whose places are taken by creates that wait at the gate."""

    gate: Gate
    api: ScriptedApi
    bench: Bench
    context: RunContext
    run: asyncio.Task[RunReport]


@asynccontextmanager
async def in_flight(
    folder: Path, rows: int, concurrency: int, prepare: Callable[[RunContext], None] = lambda _: None
) -> AsyncIterator[InFlight]:
    """Rows on their way to an API that holds the creates; `prepare` as in Bench."""
    gate = Gate(concurrency)
    sessions: list[RunContext] = []

    def take(context: RunContext) -> None:
        sessions.append(context)
        prepare(context)

    with scripted(gate) as api, Ledger(Bench(folder, api.url).results) as ledger:
        bench = Bench(folder, api.url)
        run = asyncio.create_task(bench.run(ledger, bench.rows(rows), take, concurrency=concurrency))
        await gate.until_full()
        yield InFlight(gate, api, bench, sessions[0], run)


def test_every_request_finds_its_intent_in_the_table(tmp_path: Path) -> None:
    """What the API was told of, the table was told of before: row, token and credits held back."""
    found: list[list[tuple[str, int]]] = []

    def look(arrival: Arrival) -> Answer:
        token = arrival.name.rpartition(" ")[2]
        held = {attempt["token"]: attempt["credits_reserved"] for attempt in bench.attempts()}
        found.append([(row["state"], held[token]) for row in bench.table() if row["token"] == token])
        return Answer()

    with scripted(look) as api:
        bench = Bench(tmp_path, api.url)
        bench.generate(bench.rows(6), concurrency=2)
    assert found == [[("sending", PRICE)]] * 6


async def test_what_was_ready_when_the_run_stops_never_leaves(tmp_path: Path) -> None:
    """Forty are in flight and ten have their intents on disk: these ten are taken back, and cost nothing."""
    async with in_flight(tmp_path, 80, 40) as (gate, api, bench, context, run):
        await until(lambda: bench.states().get("sending", 0) >= 50, "ten more intents are on disk")
        context.interrupt()
        await gate.open_late()
        report = await run
    assert len(api.arrivals) == 40
    assert bench.states() == {"queued": 40, "pending": 40}
    outcomes = [attempt["outcome"] for attempt in bench.attempts()]
    assert sorted(outcomes) == ["submitted"] * 40 + ["withdrawn"] * 10
    assert report.status.credits.worst_case == report.status.credits.charged


async def test_a_row_that_was_ready_for_long_begins_again(tmp_path: Path) -> None:
    """After a time in which others may have taken its worker for dead, its intent counts no more."""
    slept = 0.0

    def clocks() -> Readings:
        return 0.0, slept  # the monotonic clock stands still while the machine sleeps

    def prepare(context: RunContext) -> None:
        context.submitter.sender._freshness = Freshness(60, clocks)

    async with in_flight(tmp_path, 80, 40, prepare) as (gate, api, bench, _, run):
        await until(lambda: bench.states().get("sending", 0) >= 50, "ten intents wait for their slots")
        slept = 3600.0
        await gate.open_late()
        await run
    assert bench.states() == {"queued": 80}
    assert len(api.arrivals) == 80
    outcomes = [attempt["outcome"] for attempt in bench.attempts()]
    assert sorted(outcomes) == ["retry"] * 10 + ["submitted"] * 80


async def test_stop_lets_nothing_leave_and_records_what_is_in_flight(tmp_path: Path) -> None:
    """As on Ctrl-C: five are in flight, five end with their ids, the rest is pending."""
    async with in_flight(tmp_path, 60, 5) as (gate, api, bench, context, run):
        context.interrupt()
        await gate.open_late()
        report = await run
        assert len(api.arrivals) == 5
    assert (report.exit_reason, report.exit_code, report.submitted) == (ExitReason.INTERRUPTED, 130, 5)
    assert bench.states() == {"queued": 5, "pending": 55}
    assert recorded_ids(bench) == set(api.ids.values())


@pytest.mark.parametrize("rows", [6, 60])
async def test_cancelling_a_run_stops_it_gently(tmp_path: Path, rows: int) -> None:
    """Wherever the cancellation hits: no row that only waited for its turn is sent any more."""
    async with in_flight(tmp_path, rows, 1) as (gate, api, bench, _, run):
        run.cancel()
        await gate.open_late()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert len(api.arrivals) == 1
    assert bench.states() == {"queued": 1, "pending": rows - 1}


async def test_cancelling_one_span_while_it_waits_for_a_place(tmp_path: Path) -> None:
    """A task of a flow is cancelled alone: its rows that have not left do not leave."""
    spans: list[asyncio.Task[int]] = []

    def one_span(context: RunContext) -> None:
        spans.append(asyncio.create_task(context.submitter.submit(context.scope, (1, 10))))

    async with in_flight(tmp_path, 10, 1, one_span) as (gate, api, bench, _, run):
        spans[0].cancel()
        await gate.open_late()
        await asyncio.gather(run, *spans, return_exceptions=True)
        assert len(api.arrivals) == 1
    assert bench.states() == {"queued": 1, "pending": 9}


class _Broken(Uploader):
    """An uploader with a fault that no one thought of: whatever files and sockets can do is thought of."""

    def __init__(self, whole: Uploader, bad: str, api: ScriptedApi) -> None:
        super().__init__(whole._client, whole._ledger, whole._options, whole._sleep)
        self.bad = bad
        self.api = api

    async def asset(self, stated: str, base: str) -> Asset:
        """Fails for one image once others are on their way."""
        if stated == self.bad:
            await until(lambda: self.api.in_flight, "creates are in flight")
            raise ZeroDivisionError("no one thought of this")
        return await super().asset(stated, base)


async def test_an_unexpected_error_does_not_cancel_what_is_in_flight(tmp_path: Path) -> None:
    """The other creates are answered and recorded, then the error is raised."""
    with scripted(lambda _: Answer(delay_s=1.0)) as api, Ledger(Bench(tmp_path, api.url).results) as ledger:
        bench = Bench(tmp_path, api.url)
        manifest = bench.rows(30)
        manifest.loc[3, "image_path"] = bad = "https://images.example.com/bad.png"

        def spoil(context: RunContext) -> None:
            context.submitter.sender.uploader = _Broken(context.submitter.sender.uploader, bad, api)

        with pytest.raises(ZeroDivisionError, match="no one thought"):
            await bench.run(ledger, manifest, spoil, concurrency=8)
    assert recorded_ids(bench) == set(api.ids.values())
    assert 0 < len(api.ids) < 30
    assert bench.states() == {"queued": len(api.ids), "pending": 30 - len(api.ids)}


class FailingLedger(Ledger):
    """A table that fails to take answers, and nothing else, for some time: a full disk does not choose."""

    fails: Callable[[], Exception | None] = staticmethod(lambda: None)

    async def write(self, work: Any, item: Any) -> Any:
        """As the table, unless it fails."""
        if work is attempts.record_answers and (error := self.fails()):
            raise error
        return await super().write(work, item)


@pytest.mark.parametrize("error", [LedgerError("disk full"), RuntimeError("the writer is gone")], ids=repr)
async def test_answers_outlast_a_table_that_fails_for_a_while(tmp_path: Path, error: Exception) -> None:
    """No new create leaves; those in flight are recorded as soon as the table works again."""
    failures = iter([error] * 12)
    with scripted(lambda _: Answer(delay_s=0.1)) as api, FailingLedger(Bench(tmp_path, api.url).results) as ledger:
        bench = Bench(tmp_path, api.url)
        ledger.fails = lambda: next(failures, None)
        report = await bench.run(ledger, bench.rows(60), concurrency=6)
        assert len(api.arrivals) <= 12
    assert report.exit_reason == ExitReason.LEDGER_FAILED
    assert recorded_ids(bench) == set(api.ids.values())
    assert bench.states() == {"queued": len(api.ids), "pending": 60 - len(api.ids)}


async def test_answers_that_the_table_never_takes_are_rescued(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """They wait in a file beside it, as many as the log says; the next run brings them in and sends nothing twice."""
    with scripted(lambda _: Answer(delay_s=0.1)) as api:
        bench = Bench(tmp_path, api.url)
        with FailingLedger(bench.results) as ledger:
            ledger.fails = lambda: LedgerError("disk full")

            def no_patience(context: RunContext) -> None:
                context.submitter.sender.recorder._waits_s = (0.01,)

            await bench.run(ledger, bench.rows(60), no_patience, concurrency=6)
        assert recorded_ids(bench) == set()
        file, lines = await asyncio.to_thread(_rescue_file, tmp_path)
        first = set(api.ids.values())
        assert f"{lines} answers are kept for the next run, in files whose names begin with {file}:" in caplog.text
        assert "rows not written" not in caplog.text
        report = await asyncio.to_thread(bench.generate, bench.rows(60))
    assert report.exit_code == 0
    assert first <= recorded_ids(bench) == set(api.ids.values())
    assert len(api.arrivals) == 60
    assert report.status.credits.worst_case == report.status.credits.charged == 60 * 48


def _rescue_file(folder: Path) -> tuple[Path, int]:
    """The only one, and how many answers it has."""
    (file,) = folder.glob("*.rescue.jsonl")
    return file, sum(1 for line in file.read_text().splitlines() if line)


async def _rescued(tmp_path: Path, api: ScriptedApi) -> tuple[Bench, Path]:
    bench = Bench(tmp_path, api.url)
    with FailingLedger(bench.results) as ledger:
        ledger.fails = lambda: LedgerError("disk full")

        def no_patience(context: RunContext) -> None:
            context.submitter.sender.recorder._waits_s = ()

        await bench.run(ledger, bench.rows(10), no_patience, concurrency=4)
        return bench, lying(ledger)[0]


async def test_a_damaged_line_of_a_rescue_file_hides_no_other(tmp_path: Path) -> None:
    """A disk that was full cut a line in half: the others are replayed, and no later command fails over it."""
    with scripted(lambda _: Answer()) as api:
        bench, path = await _rescued(tmp_path, api)
    lines = sorted(filter(None, path.read_text().splitlines()), key=lambda line: '"video_id": null' in line)
    path.write_text(lines[0][:40] + "\n" + "\n".join(lines[1:]) + "\n")
    settings = load_settings(options=bench.settings())
    for _ in range(2):
        with opened_ledger(settings):
            pass
    damaged, *whole = [json.loads(line.split(" ", 2)[2]) for line in lines]
    assert recorded_ids(bench) == {answer["video_id"] for answer in whole} - {None}
    (row,) = (row for row in bench.table() if row["row_key"] == damaged["row_key"])
    assert row["state"] == "in_doubt"


async def test_an_answer_that_is_replayed_twice_counts_once(tmp_path: Path) -> None:
    """A process that dies between the table and the file leaves the books right."""
    with scripted(lambda _: Answer()) as api:
        bench, path = await _rescued(tmp_path, api)
    content = path.read_text()
    settings = load_settings(options=bench.settings())
    committed = []
    for _ in range(3):
        path.write_text(content)
        with opened_ledger(settings) as ledger:
            committed.append(ledger.read(lambda connection: _committed(connection, bench)))
    assert len(set(committed)) == 1
    assert recorded_ids(bench) == set(api.ids.values())


def _committed(connection: Any, bench: Bench) -> int:
    return queries.worst_case(connection, Batch(bench.batch))
