"""One worker hears "too fast", and all workers of the account slow down."""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta
from functools import partial
from pathlib import Path

import forked
from bench import QUICK, URL, Answer, Arrival, scripted
from databases import postgres_url
from sqlalchemy import update

from reelbatch.domain import RunId
from reelbatch.ledger import Ledger, throttles
from reelbatch.ledger.schema import throttles as table
from reelbatch.submit import ConcurrencyLimiter, SharedBrake

WORKER = """
import sys, pandas as pd, reelbatch
name, options = sys.argv[1], eval(sys.argv[2])
keys = [f"{name}-{number:03}" for number in range(60)]
frame = pd.DataFrame({"row_key": keys, "image_path": %r, "prompt": keys, "end_seconds": 2, "model": "ltx-2.3"})
report = reelbatch.generate(frame, batch=name, **options)
print(report.submitted, report.retries)
"""
ASKED_S, HEARD_S = 4.0, 2.0


def test_after_one_429_no_worker_sends_while_the_api_asks_for_a_pause(tmp_path: Path) -> None:
    """Two processes; the one that was not told has read of it in the table within two seconds."""
    told: list[float] = []

    def script(arrival: Arrival) -> Answer:
        if not told and arrival.number > 20 and len({row.name[:3] for row in api.arrivals}) == 2:
            told.append(arrival.at)
            return Answer(429, headers={"Retry-After": str(ASKED_S)})
        return Answer(delay_s=0.3)

    with scripted(script) as api:
        options = {**QUICK, "concurrency": 2, "results": f"sqlite:///{tmp_path}/results.db", "base_url": api.url}
        command = [sys.executable, "-c", WORKER % URL]
        workers = [
            forked.Popen(
                [*command, name, repr({**options, "api_key": "sandbox"})],
                cwd=tmp_path,
                stdout=forked.PIPE,
                text=True,
            )
            for name in ("one", "two")
        ]
        said = [worker.communicate(timeout=120)[0].split() for worker in workers]
    assert sorted(said) == [["60", "0"], ["60", "1"]]
    during = [arrival.name for arrival in api.arrivals if told[0] + HEARD_S < arrival.at < told[0] + ASKED_S - 0.1]
    assert during == []
    before = {arrival.name[:3] for arrival in api.arrivals if arrival.at < told[0]}
    after = {arrival.name[:3] for arrival in api.arrivals if arrival.at > told[0] + ASKED_S - 0.1}
    assert before == after == {"one", "two"}


def payer_told(url: str, *told: throttles.Told) -> None:
    """As a worker does."""
    with Ledger(url) as ledger:
        ledger.change(lambda connection: throttles.tell(connection, told))


def latest(url: str, payer: str = "acc") -> throttles.Throttle | None:
    """As a worker reads it."""
    with Ledger(url) as ledger:
        return ledger.read(partial(throttles.latest, payer=payer))


def test_a_longer_wait_that_was_told_before_still_holds(tmp_path: Path) -> None:
    """On both databases; each account has its own."""
    for url in (f"sqlite:///{tmp_path}/r.db", postgres_url()):
        payer_told(url, throttles.Told("acc", RunId("a"), 60.0), throttles.Told("acc", RunId("b"), 1.0))
        found = latest(url)
        assert found
        assert found.run_id == "b"
        assert 50 < found.left_s <= 60
        assert latest(url, "another") is None


def test_a_429_of_a_clock_that_was_ahead_counts_as_one_of_now(tmp_path: Path) -> None:
    """Its wait is no longer than what the API asked for."""
    url = f"sqlite:///{tmp_path}/r.db"
    payer_told(url, throttles.Told("acc", RunId("a"), 3.0))
    with Ledger(url) as ledger:
        ledger.change(lambda connection: connection.execute(update(table).values(at=table.c.at)))
        found = ledger.read(partial(throttles.latest, payer="acc"))
        assert found
        ahead = found.at + timedelta(hours=1)
        ledger.change(lambda connection: connection.execute(update(table).values(at=ahead)))
    found = latest(url)
    assert found
    assert (found.age_s, found.left_s) == (0.0, 3.0)


async def test_others_slow_down_once_for_each_429(tmp_path: Path) -> None:
    """Half as many in flight for news; nothing for what was heard before, for its own, and for one before the run."""
    limiter = ConcurrencyLimiter(16)
    with Ledger(f"sqlite:///{tmp_path}/r.db") as ledger:
        brake = SharedBrake(ledger, "acc", RunId("me"), limiter)

        def heard(run_id: str) -> int:
            ledger.change(lambda connection: throttles.tell(connection, [throttles.Told("acc", RunId(run_id), 0.0)]))
            return followed()

        def followed() -> int:
            brake._follow(ledger.read(partial(throttles.latest, payer="acc")))
            return limiter.allowed

        assert heard("other") == 16  # before this run looked for the first time
        assert heard("me") == 16
        assert heard("other") == 8
        assert followed() == 8
        await asyncio.sleep(0.01)
        assert heard("third") == 4


async def test_the_first_429_of_a_table_is_news_though_it_names_no_wait(tmp_path: Path) -> None:
    """A run that has looked, and seen none, slows down for the first one that another worker hears."""
    limiter = ConcurrencyLimiter(16)
    with Ledger(f"sqlite:///{tmp_path}/r.db") as ledger:
        brake = SharedBrake(ledger, "acc", RunId("me"), limiter)
        brake._follow(ledger.read(partial(throttles.latest, payer="acc")))
        ledger.change(lambda connection: throttles.tell(connection, [throttles.Told("acc", RunId("other"), 0.0)]))
        brake._follow(ledger.read(partial(throttles.latest, payer="acc")))
    assert limiter.allowed == 8


async def test_a_worker_tells_what_is_news(tmp_path: Path) -> None:
    """Sixteen refusals of one round are told once; a longer wait is told again."""
    limiter, told = ConcurrencyLimiter(16), []
    limiter.on_slowed = told.append
    for _ in range(16):
        limiter.slow_down(started=0.0, wait_s=2.0)
    limiter.slow_down(started=0.0, wait_s=5.0)
    limiter.join_slow_down(0.0, 30.0)
    assert told == [2.0, 5.0]
