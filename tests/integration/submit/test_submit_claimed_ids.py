"""An id that came with a refusal: asked for, believed by its name, and never lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest
from bench import PRICE, Answer, Arrival, Bench, ScriptedApi, scripted
from waiting import until

from reelbatch.ledger import Ledger
from reelbatch.submit import ExitReason

ID = "vid900001"
# One of each kind: a redirect, a refusal, "later", an error. tests/unit/test_outcome.py has every status.
STATUSES = [303, 409, 429, 503]
REFUSED = {303: "rejected", 409: "rejected", 429: "pending", 500: "pending"}


def refusing(status: int) -> Callable[[Arrival], Answer]:
    """A script that refuses the first create, names an id, and takes all others."""

    def script(arrival: Arrival) -> Answer:
        if arrival.number > 1:
            return Answer()
        return Answer(status, {"id": ID, "message": "odd"})

    return script


def named(api: ScriptedApi, **stated: Any) -> Callable[[str], Answer]:
    """An API that knows the first create's video."""

    def known(video_id: str) -> Answer:
        name = api.arrivals[0].name
        return Answer(content={"id": video_id, "name": name, "status": "queued", "credits_charged": 50, **stated})

    return known


@pytest.mark.parametrize("status", STATUSES)
def test_an_id_that_is_this_attempt_s_is_the_row_s(tmp_path: Path, status: int) -> None:
    """Paid once, whatever the status says; the same command again has nothing to do."""
    with scripted(refusing(status)) as api:
        bench, api.known = Bench(tmp_path, api.url), named(api)
        report = bench.generate(bench.rows(1))
        again = bench.generate(bench.rows(1))
        assert (len(api.arrivals), api.asked_about) == (1, [ID])
    (row,) = bench.table()
    assert (row["state"], row["video_id"], row["credits_charged"]) == ("queued", ID, 50)
    assert (row["error_code"], row["error_message"]) == (None, None)
    assert (report.exit_code, report.submitted, report.credits_charged) == (0, 1, 50)
    assert (again.exit_code, again.status.credits.worst_case) == (0, 50)
    assert [(attempt["outcome"], attempt["http_status"]) for attempt in bench.attempts()] == [("submitted", status)]


@pytest.mark.parametrize(("status", "state"), REFUSED.items())
def test_an_id_that_is_not_known_is_what_its_status_says(tmp_path: Path, status: int, state: str) -> None:
    """Once the API has had its time. A row to be sent again is left to the next run."""
    with scripted(refusing(status)) as api:
        bench = Bench(tmp_path, api.url)
        report = bench.generate(bench.rows(1), doubt_min_age_s=0.2)
        (row,) = bench.table()
        assert (row["state"], row["error_code"]) == (state, f"http_{status}")
        assert ID in row["error_message"]
        assert len(api.arrivals) == 1
        assert len(api.asked_about) > 2
        none_sent = 3 if state == "pending" else 1
        assert (report.exit_code, report.status.credits.worst_case) == (none_sent, 0)
        if state == "pending":
            assert bench.generate(bench.rows(1)).exit_code == 0
            assert bench.states() == {"queued": 1}


def test_a_video_that_is_known_later_than_its_id_is_found(tmp_path: Path) -> None:
    """A 404 that comes too soon is not believed."""
    with scripted(refusing(409)) as api:
        bench = Bench(tmp_path, api.url)
        answers = chain([Answer(404)] * 3, repeat(None))
        api.known = lambda video_id: next(answers) or named(api)(video_id)
        bench.generate(bench.rows(1), doubt_min_age_s=60)
    assert [(row["state"], row["video_id"]) for row in bench.table()] == [("queued", ID)]


UNTOLD = {
    "another's video": {"name": "someone else's rb_000000000000000000000"},
    "another's answer": {"id": "vid000017"},
    "no name": {"name": None},
}


@pytest.mark.parametrize("stated", UNTOLD.values(), ids=UNTOLD)
def test_an_id_whose_name_is_another_s_leaves_the_row_in_doubt(tmp_path: Path, stated: dict[str, Any]) -> None:
    """Neither taken for this row's nor forgotten; the message says which one to look at."""
    with scripted(refusing(409)) as api:
        bench, api.known = Bench(tmp_path, api.url), named(api, **stated)
        report = bench.generate(bench.rows(1), doubt_min_age_s=0.1)
        assert len(api.arrivals) == 1
    _assert_in_doubt(bench)
    assert (report.exit_code, report.status.credits.in_doubt) == (1, PRICE)


@pytest.mark.parametrize("status", [401, 429, 500])
def test_an_api_that_can_t_say_leaves_the_row_in_doubt(tmp_path: Path, status: int) -> None:
    """It is asked a few times, and then the others go on; the id is noted."""
    with scripted(refusing(409)) as api:
        bench, api.known = Bench(tmp_path, api.url), lambda _: Answer(status)
        report = bench.generate(bench.rows(5), retry_attempts=3, doubt_min_age_s=0.0)
        assert (len(api.arrivals), len(api.asked_about)) == (5, 3)
    assert bench.states() == {"queued": 4, "in_doubt": 1}
    assert (report.exit_code, report.status.credits.worst_case) == (1, 5 * PRICE)


def _assert_in_doubt(bench: Bench) -> None:
    (row,), (attempt,) = bench.table(), bench.attempts()
    assert (row["state"], row["video_id"]) == ("in_doubt", None)
    assert ID in row["error_message"]
    assert ID in attempt["raw_body"]


async def test_the_row_is_in_doubt_with_its_id_while_the_api_is_asked(tmp_path: Path) -> None:
    """Whatever kills the process then, the id is in the table; Ctrl-C does not wait for five minutes."""
    with scripted(refusing(409)) as api, Ledger(Bench(tmp_path, api.url).results) as ledger:
        bench = Bench(tmp_path, api.url)
        sessions: list[Any] = []
        running = asyncio.create_task(bench.run(ledger, bench.rows(1), sessions.append, doubt_min_age_s=600))
        await until(lambda: len(api.asked_about) > 1, "the API is asked")
        _assert_in_doubt(bench)
        sessions[0].interrupt()
        report = await asyncio.wait_for(running, 20)
    _assert_in_doubt(bench)
    assert (report.exit_reason, report.status.credits.in_doubt) == (ExitReason.INTERRUPTED, PRICE)


async def test_a_run_that_reached_its_cap_does_not_wait_for_the_api_s_word(tmp_path: Path) -> None:
    """Nothing more is sent, so the question is left to the next run, and the id is noted."""
    with scripted(refusing(409)) as api, Ledger(Bench(tmp_path, api.url).results) as ledger:
        bench = Bench(tmp_path, api.url)
        api.known = lambda _: Answer(404)
        rows = bench.rows(4)
        running = bench.run(ledger, rows, lambda _: None, doubt_min_age_s=600, max_credits=2 * PRICE)
        report = await asyncio.wait_for(running, 60)
    assert report.exit_reason is ExitReason.CAP
    assert bench.states() == {"in_doubt": 1, "queued": 1, "pending": 2}


def test_a_bad_key_stops_the_run_whatever_else_it_says(tmp_path: Path) -> None:
    """An id in the answer holds nothing up."""
    with scripted(lambda _: Answer(401, {"id": ID, "message": "Unauthorized"})) as api:
        bench, api.known = Bench(tmp_path, api.url), lambda _: Answer(401)
        report = bench.generate(bench.rows(20), concurrency=1)
        assert len(api.arrivals) == 1
    assert (report.exit_reason, report.exit_code) == (ExitReason.BAD_KEY, 3)
    assert bench.states() == {"in_doubt": 1, "pending": 19}


@pytest.mark.parametrize("code", ["plan_upgrade_required", "subscription_required"])
def test_a_row_that_needs_another_plan_stops_no_other(tmp_path: Path, code: str) -> None:
    """Only an account that is dry stops them all."""
    refused = Answer(402, {"code": code, "message": "4k needs another plan"})
    with scripted(lambda arrival: refused if arrival.number == 2 else Answer()) as api:
        bench = Bench(tmp_path, api.url)
        report = bench.generate(bench.rows(5), concurrency=1)
    assert (report.exit_reason, bench.states()) == (ExitReason.DONE, {"queued": 4, "rejected": 1})
    (row,) = (row for row in bench.table() if row["state"] == "rejected")
    assert (row["error_code"], row["error_message"]) == ("http_402", f"{code}: 4k needs another plan")
