"""A noted id is asked about by the next run: the same command again finishes the work."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import forked
import pytest
from bench import PRICE, Answer, Arrival, Bench, ScriptedApi, scripted
from pydantic import SecretStr
from sqlalchemy import update
from test_submit_claimed_ids import ID, named, refusing
from waiting import wait_until

from reelbatch import settle
from reelbatch.domain import Batch
from reelbatch.ledger import Ledger, rescue_files
from reelbatch.ledger.schema import batches
from reelbatch.pipeline.settle import open_settler
from reelbatch.settings import load_settings
from reelbatch.settle import SettleStats

WORKER = """
import json, sys
import pandas as pd
from reelbatch import generate
generate(pd.read_json(sys.argv[2]), **json.loads(sys.argv[1]))
"""
COMPLETE = {"status": "complete", "credits_charged": 50}


@dataclass(frozen=True)
class Killed:
    """What a run left that was killed: its folder, its batch, and what the API had seen by then."""

    folder: Path
    batch: str
    arrivals: list[Arrival]


@pytest.fixture
def status() -> int:
    """Of the refusal."""
    return 409


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Killed]:
    """What is left of two rows, and of a run that was killed while it asked about the id that a refusal had named.

    One run for each status: the tests get copies of its table.
    """

    @cache
    def killed_run(status: int) -> Killed:
        folder = tmp_path_factory.mktemp("killed")
        with scripted(refusing(status)) as api:
            api.known = lambda _: Answer(500)
            bench = Bench(folder, api.url)
            _kill_in_the_midst(bench, api)
        return Killed(folder, bench.batch, api.arrivals)

    return killed_run


def _kill_in_the_midst(bench: Bench, api: ScriptedApi) -> None:
    bench.rows(2).to_json(bench.folder / "rows.json")
    stated = {**bench.settings(retry_attempts=1000, retry_wait_s=0.2), "batch": bench.batch}
    command = [sys.executable, "-c", WORKER, json.dumps(stated), str(bench.folder / "rows.json")]
    process = forked.Popen(command)
    try:
        wait_until(lambda: api.asked_about and len(api.arrivals) == 2, "both are sent, and the API is asked")
        wait_until(lambda: bench.states() == {"in_doubt": 1, "queued": 1}, "the other one has its video")
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def api(status: int, left: Callable[[int], Killed]) -> Iterator[ScriptedApi]:
    """The API that named an id in its refusal of the first create, after the run was killed."""
    with scripted(refusing(status)) as running:
        running.arrivals.extend(left(status).arrivals)
        yield running


@pytest.fixture
def killed(api: ScriptedApi, status: int, left: Callable[[int], Killed], tmp_path: Path) -> Bench:
    """The killed run's table, as it left it."""
    shutil.copytree(left(status).folder, tmp_path, dirs_exist_ok=True)
    return Bench(tmp_path, api.url, batch=left(status).batch)


def first(bench: Bench) -> dict[str, Any]:
    """The row of the create that was refused."""
    key = next(attempt["row_key"] for attempt in bench.attempts() if attempt["http_status"] in {409, 429})
    row = next(row for row in bench.table() if row["row_key"] == key)
    return {name: row[name] for name in ("state", "video_id", "credits_charged")}


def settled(bench: Bench, **stated: Any) -> SettleStats:
    """A settle of the batch by itself."""
    settings = load_settings(options={**bench.settings(**stated), "api_key": SecretStr(bench.key)})

    async def run(ledger: Ledger) -> SettleStats:
        async with open_settler(ledger, settings, Batch(bench.batch), wait=False) as settler:
            return await settler.run()

    with Ledger(bench.results) as ledger:
        return asyncio.run(run(ledger))


def test_the_same_command_finds_the_video(killed: Bench, api: ScriptedApi) -> None:
    """It is the row's, and paid for once; the run says so."""
    api.known = named(api, name=api.arrivals[0].name)
    report = killed.generate(killed.rows(2))
    assert first(killed) == {"state": "queued", "video_id": ID, "credits_charged": 50}
    assert (report.exit_code, report.cleared_up, report.sent, len(api.arrivals)) == (0, 1, 0, 2)
    assert (report.status.credits.in_doubt, report.status.credits.worst_case) == (0, 50 + PRICE)
    assert killed.generate(killed.rows(2)).cleared_up == 0
    assert api.asked_about == [ID]


def test_a_settle_finds_the_video_and_follows_it(killed: Bench, api: ScriptedApi) -> None:
    """To its end, in the same settle."""
    api.known = named(api, name=api.arrivals[0].name, **COMPLETE)
    stats = settled(killed)
    assert (stats.cleared_up, stats.complete) == (1, 2)
    assert first(killed) == {"state": "complete", "video_id": ID, "credits_charged": 50}


@pytest.mark.parametrize("status", [409, 429])
def test_a_video_that_is_not_known_is_what_the_refusal_said(killed: Bench, api: ScriptedApi, status: int) -> None:
    """Once the API has had its time: refused for good, or sent by this very run."""
    api.known = lambda _: Answer(404)
    assert killed.generate(killed.rows(2)).cleared_up == 0
    assert first(killed)["state"] == "in_doubt"
    refused = status == 409
    report = killed.generate(killed.rows(2), doubt_min_age_s=0)
    assert (report.cleared_up, report.status.credits.in_doubt) == (1, 0)
    assert first(killed)["state"] == ("rejected" if refused else "queued")
    assert (report.exit_code, len(api.arrivals)) == ((1, 2) if refused else (0, 3))


def test_nothing_is_said_not_to_exist_while_a_rescue_file_can_t_be_read(killed: Bench, api: ScriptedApi) -> None:
    """It may hold the id."""
    api.known = lambda _: Answer(404)
    with Ledger(killed.results) as ledger:
        folder, identity = next(rescue_files.folders(ledger)), ledger.identity
    (folder / f"reelbatch-{identity}.0.rescue.jsonl").write_text("no line of ours\n")
    assert killed.generate(killed.rows(2), doubt_min_age_s=0).cleared_up == 0
    assert first(killed)["state"] == "in_doubt"


@pytest.mark.parametrize("said", [401, 429, 500, None])
def test_an_api_that_can_t_say_leaves_the_row_in_doubt(killed: Bench, api: ScriptedApi, said: int | None) -> None:
    """An API without an answer, or one that speaks of another's video; each run asks once, and goes on."""
    api.known = named(api, name="another's rb_00000000000000000000") if said is None else lambda _: Answer(said)
    report = killed.generate(killed.rows(3), doubt_min_age_s=0)
    assert (report.cleared_up, report.submitted, report.status.credits.in_doubt) == (0, 1, PRICE)
    assert killed.states() == {"in_doubt": 1, "queued": 2}
    assert api.asked_about == [ID]


def test_an_api_that_does_not_answer_is_not_asked_about_every_row(tmp_path: Path) -> None:
    """After some questions in vain the others are left to the next run."""
    with scripted(lambda arrival: Answer(409, {"id": f"vid9{arrival.number:03}", "message": "odd"})) as api:
        bench, api.known = Bench(tmp_path, api.url), lambda _: Answer(500)
        bench.generate(bench.rows(60), retry_attempts=1, doubts_in_a_row=1000)
        assert bench.states() == {"in_doubt": 60}
        api.asked_about.clear()
        bench.generate(bench.rows(60))
        assert 3 <= len(api.asked_about) < 30


def test_the_word_of_another_account_s_key_decides_nothing(killed: Bench, api: ScriptedApi) -> None:
    """Its settle asks about no video of this one; where no one knows whose they are, a 404 says nothing."""
    api.accounts = {"other": "acc-other"}
    own, killed.key = killed.key, "other"
    stated = killed.settings(doubt_min_age_s=0)
    settle(wait=False, **stated)
    assert api.asked_about == []
    with Ledger(killed.results) as ledger:  # as a table of before there were hashes of keys
        ledger.change(lambda connection: connection.execute(update(batches).values(key_hash=None)))
    settle(killed.batch, wait=False, **stated)
    assert ID in api.asked_about
    assert killed.states() == {"in_doubt": 1, "queued": 1}
    killed.key, api.known = own, named(api, name=api.arrivals[0].name)
    assert killed.generate(killed.rows(2)).cleared_up == 1
    assert (first(killed)["video_id"], len(api.arrivals)) == (ID, 2)


def test_a_settle_names_the_batches_that_it_leaves_to_another_account(
    killed: Bench, api: ScriptedApi, caplog: pytest.LogCaptureFixture
) -> None:
    """Who has mistaken the key is told, and which batches wait for the other one."""
    api.accounts = {"other": "acc-other"}
    killed.key = "other"
    settle(wait=False, **killed.settings())
    assert api.asked_about == []
    assert f'1 of "{killed.batch}". Use its key.' in caplog.text
