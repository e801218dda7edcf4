"""How fast creates start, and when none may start at all, as a server sees it."""

from __future__ import annotations

import gc
import time
from collections import Counter
from pathlib import Path

import pytest
from bench import GOOD, Answer, Arrival, Bench, scripted

from reelbatch.sandbox import RunningSandbox, start


def row_of(arrival: Arrival) -> str:
    """The row that a create belongs to: its name without the token."""
    return arrival.name.rpartition(" ")[0]


def test_a_pause_that_the_api_asks_for_holds_for_every_row(tmp_path: Path) -> None:
    """After Retry-After only what was on its way already arrives, until the time is over."""

    def script(arrival: Arrival) -> Answer:
        if arrival.number == 30:
            return Answer(429, headers={"Retry-After": "2"})
        return Answer(delay_s=0.02)

    with scripted(script) as api:
        report = Bench(tmp_path, api.url).generate(Bench(tmp_path, api.url).rows(80), concurrency=8)
    told = api.arrivals[29].at
    during = [arrival for arrival in api.arrivals if told + 0.5 < arrival.at < told + 1.9]
    late = [arrival for arrival in api.arrivals if arrival.at >= told + 1.9]
    assert during == []
    assert late
    assert (report.submitted, report.retries) == (80, 1)


def test_too_fast_lowers_the_number_in_flight_and_good_answers_raise_it_again(tmp_path: Path) -> None:
    """Sixteen at once, then fewer, then more again; every row arrives."""
    in_flight: list[int] = []

    def script(arrival: Arrival) -> Answer:
        in_flight.append(api.in_flight)
        if 40 < arrival.number <= 44:
            return Answer(429, headers={"Retry-After": "0"}, delay_s=0.1)
        return Answer(delay_s=0.1)

    with scripted(script) as api:
        report = Bench(tmp_path, api.url).generate(Bench(tmp_path, api.url).rows(240), concurrency=16)
    assert max(in_flight[:40]) > 12
    slowed = in_flight[64:84]
    assert max(slowed) < 14
    assert max(in_flight[-60:]) > max(slowed)
    assert max(in_flight) <= 16
    assert report.submitted == 240


def test_the_number_in_flight_never_exceeds_the_setting(bench: Bench) -> None:
    """By the API's own count."""
    with start(latency_ms=20, queue_seconds=600) as own:
        bench.url = own.url
        bench.generate(bench.rows(120), concurrency=10)
        assert own.books(summary=True)["max_in_flight"] == 10


@pytest.mark.parametrize("stated", ["0", "-5", "Sat, 01 Jan 2022 00:00:00 GMT"])
def test_a_pause_that_is_over_already_does_not_burn_the_attempts(tmp_path: Path, stated: str) -> None:
    """A clock that is fast, or a server that says 0: the usual backoff still lies between attempts."""
    refused = Counter[str]()
    began = time.monotonic()

    def script(arrival: Arrival) -> Answer:
        if time.monotonic() - began < 0.4:
            refused[row_of(arrival)] += 1
            return Answer(429, headers={"Retry-After": stated})
        return GOOD

    with scripted(script) as api:
        bench = Bench(tmp_path, api.url)
        began = time.monotonic()
        report = bench.generate(bench.rows(1), retry_wait_s=0.2, retry_max_wait_s=1.0, retry_attempts=8)
    assert report.submitted == 1


@pytest.mark.parametrize(("fault", "reason"), [("unauthorized", "bad_key"), ("payment_required", "no_credits")])
def test_a_bad_key_or_an_empty_account_stops_everything_at_once(
    bench: Bench, sandbox: RunningSandbox, fault: str, reason: str
) -> None:
    """What was in flight is answered and recorded; nothing else leaves; the same command finishes later."""
    before = sandbox.books()["requests"]["create"]
    sandbox.set_faults(script=[None] * 20 + [fault] * 100)
    report = bench.generate(bench.rows(150), concurrency=10)
    assert (report.exit_reason, report.exit_code) == (reason, 3)
    assert sandbox.books()["requests"]["create"] - before <= 20 + 10
    states = bench.states()
    assert states == {"queued": len(bench.charges(sandbox)), "pending": 150 - states["queued"]}
    sandbox.set_faults()
    assert bench.generate(bench.rows(150)).exit_code == 0
    assert len(bench.charges(sandbox)) == 150


def test_after_the_first_401_only_what_was_in_flight_arrives(tmp_path: Path) -> None:
    """By the server's clock: a second after it said no, the last create is long gone."""
    said_no: list[float] = []

    def script(arrival: Arrival) -> Answer:
        if arrival.number <= 30:
            return Answer(delay_s=0.02)
        said_no.append(time.monotonic())
        return Answer(401)

    with scripted(script) as api:
        bench = Bench(tmp_path, api.url)
        report = bench.generate(bench.rows(200), concurrency=8)
    after = [arrival for arrival in api.arrivals if arrival.at > said_no[0]]
    assert len(after) < 8
    assert report.exit_reason == "bad_key"
    assert bench.states() == {"queued": len(api.ids), "pending": 200 - len(api.ids)}


@pytest.mark.usefixtures("nothing_frozen")
def test_the_collector_does_not_hold_the_rows_up(tmp_path: Path) -> None:
    """While rows are sent, what was loaded before is left alone: looking through it all pauses every row."""
    frozen: list[int] = []

    def script(_: Arrival) -> Answer:
        frozen.append(gc.get_freeze_count())
        return GOOD

    with scripted(script) as api:
        Bench(tmp_path, api.url).generate(Bench(tmp_path, api.url).rows(5))
    assert min(frozen) > 10_000
    assert gc.get_freeze_count() == 0
