"""Under a cap, workers in processes of their own find out a price that was not seen, one row at a time."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import forked
import pytest
from bench import GONE, PRICE, QUICK, Answer, Arrival, Bench, ScriptedApi, scripted
from databases import postgres_url
from sqlalchemy import Engine, create_engine, text
from waiting import wait_until

import reelbatch
from reelbatch.ledger import Ledger
from reelbatch.pipeline.reach import Reach
from reelbatch.sandbox import start

_WORKER = "import json, sys, reelbatch; reelbatch.generate(sys.argv[1], **json.loads(sys.argv[2]))"
_HOLDERS = text("SELECT count(DISTINCT run_id) FROM results WHERE state IN ('claimed', 'sending')")
_STATES = text("SELECT state, count(*) FROM results GROUP BY state")
ROWS = 12
DEAR = 2 * PRICE + 4
ROOM = 5  # rows at the price that is charged, and not one more


class Probes:
    """An API that charges more than the estimate; the first creates wait for a word before they are answered."""

    def __init__(self, waiting: int) -> None:
        self._may_answer = [threading.Event() for _ in range(waiting)]

    def __call__(self, arrival: Arrival) -> Answer:
        """Wait where it has to; then a video."""
        if arrival.number <= len(self._may_answer):
            self._may_answer[arrival.number - 1].wait(60)
        return Answer(content={"id": f"vid{arrival.number:06}", "credits_charged": DEAR})

    def answer(self, number: int) -> None:
        """Let one be answered."""
        self._may_answer[number - 1].set()


@pytest.fixture(params=["sqlite", "postgres"])
def table(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty results table."""
    return postgres_url() if request.param == "postgres" else f"sqlite:///{tmp_path / 'results.db'}"


@pytest.fixture
def engine(table: str) -> Iterator[Engine]:
    """A way to look at it."""
    engine = create_engine(table)
    yield engine
    engine.dispose()


def count(engine: Engine) -> int:
    """Runs that hold rows."""
    with engine.connect() as connection:
        return connection.scalar(_HOLDERS) or 0


def states(engine: Engine) -> dict[str, int]:
    """Rows by state."""
    with engine.connect() as connection:
        return dict(connection.execute(_STATES).all())


@contextmanager
def working(bench: Bench, api: ScriptedApi, table: str, credits_: int) -> Iterator[list[forked.Popen[bytes]]]:
    """Two workers on one batch, of which the first has sent its first row before the second begins."""
    manifest = bench.folder / "spring.csv"
    bench.rows(ROWS).to_csv(manifest, index=False)
    stated = {**QUICK, "results": table, "base_url": api.url, "api_key": "k", "max_credits": credits_}
    stated |= {"concurrency": 4, "request_timeout_s": 120}
    command = [sys.executable, "-c", _WORKER, str(manifest), json.dumps(stated)]
    with ExitStack() as stack:
        workers = []
        for _ in range(2):
            workers.append(stack.enter_context(forked.Popen(command, stdout=forked.DEVNULL)))
            stack.callback(workers[-1].kill)
            wait_until(lambda: api.arrivals, "the first row is sent")
        yield workers


def test_one_row_finds_out_the_price_for_all_workers(bench: Bench, table: str, engine: Engine) -> None:
    """While it is under way no other leaves, of neither worker; then the cap is filled at what was charged."""
    probes = Probes(1)
    with scripted(probes) as api, working(bench, api, table, ROOM * DEAR + PRICE) as workers:
        wait_until(lambda: count(engine) == 2, "both workers hold rows")
        with pytest.raises(forked.TimeoutExpired):
            workers[1].wait(1)  # four times as long as it waits until it tries again
        assert len(api.arrivals) == 1
        probes.answer(1)
        for worker in workers:
            worker.wait(60)
        assert len(api.arrivals) == ROOM
    assert states(engine) == {"queued": ROOM, "pending": ROWS - ROOM}


def test_a_killed_worker_passes_on_what_it_was_finding_out(bench: Bench, table: str, engine: Engine) -> None:
    """Its row is in doubt and keeps its credits; one row of the other worker takes its place, and no second."""
    probes = Probes(2)
    with scripted(probes) as api, working(bench, api, table, ROOM * DEAR + PRICE) as workers:
        wait_until(lambda: count(engine) == 2, "both workers hold rows")
        assert len(api.arrivals) == 1
        workers[0].kill()
        wait_until(lambda: len(api.arrivals) == 2, "another row finds out the price")
        with pytest.raises(forked.TimeoutExpired):
            workers[1].wait(1)
        assert len(api.arrivals) == 2
        probes.answer(2)
        workers[1].wait(60)
        assert len(api.arrivals) == 1 + ROOM
        probes.answer(1)
    assert states(engine) == {"in_doubt": 1, "queued": ROOM, "pending": ROWS - ROOM - 1}


def test_a_drift_that_halts_sends_no_more_of_what_turned_out_dearer(bench: Bench) -> None:
    """Measured on finished videos: the next run gives such rows back, names why, and is not well ended.

    Plan and question say so; with a limit another kind goes in their place.
    """
    with start(prices={"ltx-2.3": {"480p": 30}}, queue_seconds=0.0, render_seconds=0.05, render_video=False) as api:
        bench.url, bench.key = api.url, api.key
        stated = {"max_credits": 100 * PRICE, "poll_interval_s": 0.1, "price_drift": "halt"}
        first = bench.generate(bench.rows(1), **stated, settle=True)
        assert first.submitted == 1
        shown = reelbatch.plan(bench.rows(4), batch=bench.batch, **bench.settings(**stated))
        report = bench.generate(bench.rows(4), **stated)
        assert report.exit_code != 0
        assert bench.states() == {"complete": 1, "pending": 3}
        assert {row["error_code"] for row in bench.table()[1:]} == {"price_drift"}
        assert len(bench.attempts()) == 1
        assert report.funds is not None
        assert (shown.cap, report.funds.cap_reach) == (Reach(rows=0, of=3, credits=0, unknown=3),) * 2
        assert (report.funds.at_most, report.funds.halted) == (0, 3)
        more = bench.rows(5, end_seconds=[2, 2, 2, 2, 4])
        shown = reelbatch.plan(more, batch=bench.batch, limit=1, **bench.settings(**stated))
        assert bench.generate(more, **stated, limit=1).sent == 1
    assert (shown.send, shown.credits_estimated, shown.requests[0]["end_seconds"]) == (1, 2 * PRICE, 4)


def test_the_figure_of_a_failed_video_is_no_price_that_was_seen(tmp_path: Path) -> None:
    """A row in doubt gets the id of a video that has failed by then: its figure has the refund in it, and is 0."""
    with scripted(lambda _: Answer(GONE)) as api:
        bench = Bench(tmp_path, api.url, batch="spring")
        bench.generate(bench.rows(1))
        failed = {"id": "lost", "status": "error", "credits_charged": 0, "name": api.arrivals[0].name}
        api.known = lambda _: Answer(200, failed)
        reelbatch.reconcile(batch=bench.batch, row=["spring-001"], video_id="lost", **bench.settings())
        (attempt,) = bench.attempts()
        assert (attempt["video_id"], attempt["credits_charged"]) == ("lost", None)
        with Ledger(bench.results) as ledger:
            assert ledger.read(lambda found: found.execute(text("SELECT charged FROM prices")).all()) == []
