"""Videos that are made again, through kills: the same command goes on, and no row is paid for more than once more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from waiting import wait_until
from workplace import HELD, Workplace, working

from reelbatch.sandbox import RunningSandbox, start

ROWS = 24
PLAIN, AGAIN = {"settle": True}, {"settle": True, "regenerate": "all"}


@pytest.fixture(scope="module")
def api() -> Iterator[RunningSandbox]:
    """An API whose creates take a while and whose videos are soon done."""
    with start(latency_ms=150, queue_seconds=0.05, render_seconds=0.2, render_video=False) as sandbox:
        yield sandbox


@pytest.fixture
def place(tmp_path: Path, api: RunningSandbox, quiet_env: dict[str, str]) -> Iterator[Workplace]:
    """Rows whose videos are all there."""
    quick = {"REELBATCH_CONCURRENCY": "4", "REELBATCH_POLL_INTERVAL_S": "0.1"}
    with working(tmp_path, api, {**quiet_env, **quick}) as workplace:
        workplace.write_manifest(ROWS)
        assert workplace.generate_here(**PLAIN).code == 0
        yield workplace


def made(place: Workplace) -> Counter[str]:
    """How often each row was charged."""
    return Counter(charge["row"] for charge in place.charges())


@pytest.mark.parametrize("while_", ["sending", "settling"])
def test_an_order_that_is_killed_goes_on_where_it_was(place: Workplace, while_: str) -> None:
    """`kill -9` while it sends, or while it waits for the videos: each row once more, or in doubt and reported."""
    first = {row["row_key"]: row["video_id"] for row in place.query("SELECT * FROM results")}
    run = place.from_python(**AGAIN)
    enough = ROWS + (6 if while_ == "sending" else ROWS)
    wait_until(lambda: len(place.charges()) >= enough, "some of them are made again")
    run.kill()
    assert all(row["video_id"] for row in place.query("SELECT * FROM results"))  # what is paid for is shown
    again = place.generate_here(**AGAIN)
    doubtful = place.status()["states"]["in_doubt"]
    assert again.code == (1 if doubtful else 0)
    assert doubtful <= 4
    assert set(made(place).values()) == {2}
    kept = {row["video_id"] for row in place.query("SELECT video_id FROM generations")}
    assert kept >= set(first.values())
    assert not HELD & {row["state"] for row in place.query("SELECT state FROM generations")}
    plain = place.generate_here(**PLAIN)
    assert (plain.code, plain.report["sent"]) == (again.code, 0)
    assert set(made(place).values()) == {2}


def test_an_order_whose_videos_are_unfinished_goes_on(place: Workplace) -> None:
    """A run that ended before its videos: the same command finishes that order, and pays for none of them again."""
    short = place.generate_here(**AGAIN, settle_timeout_s=0.001)
    assert (short.report["sent"], place.states()) == (ROWS, {"queued": ROWS})
    assert place.generate_here(**AGAIN).code == 0
    assert set(made(place).values()) == {2}
    assert {row["state"] for row in place.query("SELECT state FROM generations")} == {"complete"}  # none is to come
    assert place.generate_here(**AGAIN).code == 0  # that one did all: to type it again is another order
    assert set(made(place).values()) == {3}


def test_a_key_that_has_expired_costs_no_id(place: Workplace) -> None:
    """Nothing is made again, nothing is lost, and the next plain run pays for nothing."""
    before = [tuple(row) for row in place.query("SELECT row_key, state, video_id, credits_final FROM results")]
    refused = place.generate_here(**AGAIN, api_key="expired")
    assert (refused.code, refused.report["exit_reason"]) == (3, "bad_key")
    after = [tuple(row) for row in place.query("SELECT row_key, state, video_id, credits_final FROM results")]
    assert after == before
    assert place.generate_here(**PLAIN).code == 0
    assert set(made(place).values()) == {1}


def test_a_limit_typed_again_and_again_makes_each_row_once_more(place: Workplace) -> None:
    """And then a new order begins, which is a new decision."""
    for expected in (10, 10, 4):
        assert place.generate_here(**AGAIN, limit=10).report["sent"] == expected
    assert set(made(place).values()) == {2}
    assert place.status()["order"] is None
