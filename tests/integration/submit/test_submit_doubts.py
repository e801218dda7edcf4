"""An outage that puts row after row in doubt: it is noticed, waited for, and does not take all rows."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from bench import GONE, PRICE, Answer, Arrival, Bench, scripted

from reelbatch.submit import ExitReason

OUTAGES = {"504": Answer(504), "no id": Answer(200, {"ok": True}), "gone": Answer(GONE)}
QUICK = {"doubts_in_a_row": 5, "doubt_probe_wait_s": 0.1}


@pytest.mark.parametrize("outage", OUTAGES.values(), ids=OUTAGES)
def test_an_outage_takes_those_in_flight_and_three_more(tmp_path: Path, outage: Answer) -> None:
    """The fifth doubt stops all others, three single rows are tried, and then the run ends; the rest is pending."""
    with scripted(lambda _: outage) as api:
        bench = Bench(tmp_path, api.url)
        report = bench.generate(bench.rows(200), concurrency=8, **QUICK)
        sent = len(api.arrivals)
    assert 5 + 3 <= sent <= 4 + 8 + 3
    assert bench.states() == {"in_doubt": sent, "pending": 200 - sent}
    assert (report.exit_reason, report.exit_code) == (ExitReason.DOUBTS, 3)
    assert report.status.credits.worst_case == sent * PRICE


def test_the_same_command_sends_the_rest_after_the_outage(tmp_path: Path) -> None:
    """Without those in doubt, each once."""
    outage = True
    with scripted(lambda _: Answer(504) if outage else Answer()) as api:
        bench = Bench(tmp_path, api.url)
        bench.generate(bench.rows(40), concurrency=4, **QUICK)
        outage, lost = False, len(api.arrivals)
        report = bench.generate(bench.rows(40), concurrency=4, **QUICK)
        assert len(api.arrivals) == 40
    assert (report.exit_reason, bench.states()) == (ExitReason.DONE, {"in_doubt": lost, "queued": 40 - lost})


def test_a_blip_that_cuts_all_in_flight_ends_no_run(tmp_path: Path) -> None:
    """A router that restarts in the night: what was in flight is in doubt, all others are sent."""
    in_flight = threading.Barrier(16)

    def cut(arrival: Arrival) -> Answer:
        if arrival.number > 16:
            return Answer()
        in_flight.wait(30)
        return Answer(GONE)

    with scripted(cut) as api:
        bench = Bench(tmp_path, api.url)
        report = bench.generate(bench.rows(100), concurrency=16, **QUICK)
    assert (report.exit_reason, report.exit_code) == (ExitReason.DONE, 1)
    assert bench.states() == {"in_doubt": 16, "queued": 84}


def test_single_rows_are_tried_once_all_in_flight_have_ended(tmp_path: Path) -> None:
    """Two are lost as well, the third is taken, and then many leave at once again."""
    alone: list[int] = []
    all_there = threading.Barrier(8)

    def script(arrival: Arrival) -> Answer:
        if arrival.number <= 8:  # seven of them are still under way when the first is lost
            all_there.wait(20)
            return Answer(504, delay_s=0.0 if arrival.number == 1 else 0.5)
        if arrival.number <= 11:
            alone.append(api.in_flight)
            return Answer(504) if arrival.number <= 10 else Answer()
        return Answer(delay_s=0.05)

    with scripted(script) as api:
        bench = Bench(tmp_path, api.url)
        report = bench.generate(bench.rows(60), concurrency=8, doubts_in_a_row=1, doubt_probe_wait_s=0.1)
    assert alone == [1, 1, 1]
    assert (report.exit_reason, bench.states()) == (ExitReason.DONE, {"in_doubt": 10, "queued": 50})


def test_a_success_between_starts_the_count_again(tmp_path: Path) -> None:
    """Four of five lost is a bad night, but no outage: no one waits for ten minutes."""
    with scripted(lambda arrival: Answer() if arrival.number % 5 == 0 else Answer(504)) as api:
        bench = Bench(tmp_path, api.url)
        report = bench.generate(bench.rows(30), concurrency=1, doubt_probe_wait_s=600)
    assert (report.exit_reason, bench.states()) == (ExitReason.DONE, {"in_doubt": 24, "queued": 6})


def test_refusals_between_are_no_success(tmp_path: Path) -> None:
    """An API that refuses some and loses the others is not well."""
    with scripted(lambda arrival: Answer(422 if arrival.number % 2 else 504)) as api:
        bench = Bench(tmp_path, api.url)
        report = bench.generate(bench.rows(60), concurrency=1, **QUICK)
    assert report.exit_reason == ExitReason.DOUBTS
    assert bench.states()["in_doubt"] == 8


@pytest.mark.parametrize("many", [1, 30])
def test_the_last_rows_may_all_be_in_doubt(tmp_path: Path, many: int) -> None:
    """No one waits for a probe where nothing is left to be sent."""
    all_are_here = threading.Barrier(many, timeout=30)

    def lost(_: Arrival) -> Answer:
        all_are_here.wait()  # else the first doubts would hold back the others
        return Answer(504)

    with scripted(lost) as api:
        bench = Bench(tmp_path, api.url)
        report = bench.generate(bench.rows(many), concurrency=30, doubt_probe_wait_s=600)
    assert (report.exit_reason, bench.states()) == (ExitReason.DONE, {"in_doubt": many})
