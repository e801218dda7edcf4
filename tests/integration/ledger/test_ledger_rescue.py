"""An id that was received is never lost: where the table will not take it, a file keeps it for the next run."""

import asyncio
import json
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from acting import (
    ESTIMATE,
    LEASE,
    SPRING,
    Worker,
    answer,
    attempt,
    begin,
    committed,
    load,
    rows_of,
    set_run,
    states,
    tell,
)
from waiting import until

from reelbatch.ledger import Ledger, utc_now
from reelbatch.ledger.admission import Intent
from reelbatch.ledger.attempts import Answer, Ending
from reelbatch.ledger.rescue_files import RescueFile, lying, objection, replay, unverified
from reelbatch.pipeline.reconcile import Placed, Rules, reconcile
from reelbatch.pipeline.reconcile_list import ListEntry
from reelbatch.submit.recorder import Recorder
from reelbatch.submit.run_stats import ExitReason


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the table lies."""
    return tmp_path / "results.db"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    """A table that gives up soon when another program has locked it."""
    with Ledger(f"sqlite:///{path}?timeout=0.2") as opened:
        yield opened


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another program keeps the table locked."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield


def under_way(ledger: Ledger, *keys: str) -> list[Intent]:
    """Rows whose requests have left."""
    load(ledger, rows_of(*keys))
    worker = begin(ledger)
    return [worker.intend(taken) for taken in worker.claim()]


async def test_an_id_waits_in_a_file_until_the_next_run(
    ledger: Ledger, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The table is locked when the answer comes: the run stops, the id goes to a file, the next run takes it up."""
    (intent,) = under_way(ledger, "a")
    stopped: list[tuple[ExitReason, str | None]] = []
    recorder = Recorder(ledger, lambda reason, message: stopped.append((reason, message)), waits_s=(0.0,))
    with locked(path):
        await recorder.record(answer(intent))
    assert states(ledger) == {"a": "sending"}
    assert {reason for reason, _ in stopped} == {ExitReason.LEDGER_FAILED}
    assert "kept in" in caplog.text
    with Ledger(str(ledger.url)) as next_run:
        assert replay(next_run) == 1
        assert states(next_run) == {"a": "queued"}
        assert attempt(next_run, intent.token)["video_id"] == f"vid-{intent.token}"
        assert committed(next_run) == ESTIMATE
        assert replay(next_run) == 0


async def test_an_answer_gets_in_once_the_lock_is_gone(ledger: Ledger, path: Path) -> None:
    """A table that fails for a moment only needs another try, and nothing is counted twice."""
    (intent,) = under_way(ledger, "a")
    recorder = Recorder(ledger, lambda *_: lock.close(), waits_s=(0.0,))
    lock = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    lock.execute("BEGIN IMMEDIATE")
    await recorder.record(answer(intent))
    for _ in range(2):
        assert states(ledger) == {"a": "queued"}
        assert committed(ledger) == ESTIMATE
        replay(ledger)  # whatever a file holds of it by now


@pytest.mark.parametrize("ending", Ending)
def test_every_answer_survives_the_file(ledger: Ledger, ending: Ending) -> None:
    """What is replayed from the file is what was put there, whatever the answer was."""
    (intent,) = under_way(ledger, "a")
    said = answer(intent, ending, status=200, message="Ünïcode \u2028 line", raw_body='{"id"')
    RescueFile(ledger).keep([said])
    replay(ledger)
    kept = attempt(ledger, intent.token)
    assert (kept["outcome"], kept["message"], kept["raw_body"]) == (ending, said.message, said.raw_body)
    assert kept["ended_at"] == said.at


def test_a_file_that_is_replayed_twice_counts_once(ledger: Ledger) -> None:
    """A crash between taking answers up and putting the file away makes no charge count twice."""
    intents = under_way(ledger, "a", "b")
    RescueFile(ledger).keep([answer(intents[0], credits_charged=60)])
    RescueFile(ledger).keep([answer(intents[1], Ending.REJECTED)])
    content = {path: path.read_bytes() for path in lying(ledger)}
    for _ in range(2):
        for path, lines in content.items():
            path.write_bytes(lines)
        assert replay(ledger) == 2
    assert committed(ledger) == 60
    assert states(ledger) == {"a": "queued", "b": "rejected"}


def test_an_id_is_recorded_after_its_row_came_into_doubt(ledger: Ledger) -> None:
    """Recovery before the file is read does no harm: the id clears the doubt."""
    (intent,) = under_way(ledger, "a")
    RescueFile(ledger).keep([answer(intent)])
    set_run(Worker(ledger, intent.run_id), ended_at=utc_now())
    ledger.recover(LEASE)
    assert states(ledger) == {"a": "in_doubt"}
    replay(ledger)
    assert states(ledger) == {"a": "queued"}


def test_an_id_of_another_table_is_kept_in_this_one(ledger: Ledger) -> None:
    """The table was replaced by its backup: the id still goes on record, where a search for it will find it."""
    (intent,) = under_way(ledger, "a")
    ledger.change(lambda connection: connection.exec_driver_sql("DELETE FROM attempts"))
    RescueFile(ledger).keep([answer(intent)])
    replay(ledger)
    assert attempt(ledger, intent.token)["video_id"] == f"vid-{intent.token}"


@pytest.mark.parametrize("name", ["other.db", "reelbatch.db"])
def test_each_table_has_files_of_its_own(ledger: Ledger, name: str, tmp_path: Path) -> None:
    """Answers of one table are never taken for those of another in the same folder, whatever that is called."""
    (intent,) = under_way(ledger, "a")
    RescueFile(ledger).keep([answer(intent)])
    kept = lying(ledger)
    with Ledger(f"sqlite:///{tmp_path / name}") as other:
        assert (lying(other), replay(other), objection(other)) == ([], 0, None)
    assert lying(ledger) == kept


def test_a_file_is_found_however_the_table_is_spelt(ledger: Ledger, path: Path, tmp_path: Path) -> None:
    """By a link in another folder; no one else may read it."""
    (intent,) = under_way(ledger, "a")
    RescueFile(ledger).keep([answer(intent)])
    assert [stat.S_IMODE(file.stat().st_mode) for file in lying(ledger)] == [0o600]
    link = tmp_path / "elsewhere" / "link.db"
    link.parent.mkdir()
    link.symlink_to(path)
    with Ledger(f"sqlite:///{link}?timeout=3") as linked:
        assert replay(linked) == 1
    assert states(ledger) == {"a": "queued"}


async def test_an_answer_that_waits_is_in_a_file_until_the_table_takes_it(ledger: Ledger, path: Path) -> None:
    """A kill in that time loses nothing; afterwards the file is gone again."""
    (intent,) = under_way(ledger, "a")
    ended: list[ExitReason] = []
    recorder = Recorder(ledger, lambda reason, _: ended.append(reason), rescue_after_s=0.01, waits_s=[0.05] * 100)
    with locked(path):
        recording = asyncio.create_task(recorder.record(answer(intent)))
        await until(lambda: lying(ledger), "the answer is in a file")
        assert ended == []  # nothing has failed so far
    await recording
    assert states(ledger) == {"a": "queued"}
    assert lying(ledger) == []


async def test_one_who_stops_waiting_leaves_the_answer_in_a_file(ledger: Ledger, path: Path) -> None:
    """A second Ctrl-C while the table is locked."""
    (intent,) = under_way(ledger, "a")
    with locked(path):
        recording = asyncio.create_task(Recorder(ledger, lambda *_: None).record(answer(intent)))
        await asyncio.sleep(0)
        recording.cancel()
        await asyncio.gather(recording, return_exceptions=True)
        assert len(lying(ledger)) == 1


def changed(ledger: Ledger, **values: Any) -> None:
    """Someone writes other values into the file, and leaves the seals as they are."""
    (file,) = lying(ledger)
    run_id, seal, content = file.read_text(encoding="utf-8").strip().split(" ", 2)
    file.write_text(f"{run_id} {seal} {json.dumps({**json.loads(content), **values})}\n", encoding="utf-8")


def in_old_form(ledger: Ledger, said: Answer) -> None:
    """As it was before lines were sealed."""
    assert ledger.path is not None
    path = ledger.path.with_name(f"{ledger.label}.rescue.jsonl")
    path.write_text(json.dumps(asdict(said), default=str), encoding="utf-8")


@pytest.mark.parametrize("forged", ["credits", "other row", "old form", "noise", "pipe", "link"])
def test_what_can_not_be_verified_is_reported_and_moves_nothing(
    ledger: Ledger, forged: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It stays there, and no one can say of a row that it was not created: the file may hold its id."""
    intent, other = under_way(ledger, "a", "b")
    said = answer(intent)
    file = tmp_path / f"reelbatch-{ledger.identity}.0.rescue.jsonl"
    match forged:
        case "credits":
            RescueFile(ledger).keep([said])
            changed(ledger, credits_charged=1_000_000_000)
        case "other row":  # sealed, but by a run that never sent this row with this token
            RescueFile(ledger).keep([replace(said, token=other.token)])
        case "old form":
            in_old_form(ledger, said)
        case "noise":
            file.write_bytes(b"[" * 100_000 + b"\n\xff \x00 {}\n")
        case "pipe":
            os.mkfifo(file)
        case "link":
            (tmp_path / "elsewhere").write_text("")
            file.symlink_to(tmp_path / "elsewhere")
    for _ in range(2):
        assert replay(ledger) == 0
        assert (states(ledger), committed(ledger)) == ({"a": "sending", "b": "sending"}, 2 * ESTIMATE)
        (left,) = unverified(ledger)
        assert str(left) in caplog.messages[-1]
    assert "see to them first" in (objection(ledger) or "")
    left.unlink()
    assert objection(ledger) is None


def test_what_another_table_is_owed_stays_its_own(tmp_path: Path) -> None:
    """In the folder for temporary files lie those of all tables, most of them of a `reelbatch.db`."""
    with Ledger(f"sqlite:///{tmp_path}/reelbatch.db") as ledger:
        other = tmp_path / f"reelbatch-{'0' * 32}.0.rescue.jsonl"
        other.write_text("for another table\n", encoding="utf-8")
        assert (replay(ledger), unverified(ledger), objection(ledger)) == (0, [], None)
        assert other.exists()


async def test_no_row_is_declared_not_created_while_a_file_can_not_be_read(ledger: Ledger, tmp_path: Path) -> None:
    """`reconcile --not-created` says which file is in the way; without it the row goes back."""
    (intent,) = under_way(ledger, "a")
    tell(ledger, intent, Ending.IN_DOUBT)
    file = tmp_path / f"reelbatch-{ledger.identity}.0.rescue.jsonl"
    file.write_text("what someone else wrote")
    finding = ListEntry(intent.row.row_key, None)
    (refused,) = await reconcile(ledger, None, [Placed(SPRING, finding)], Rules(0))
    assert file.name in (refused.problem or "")
    assert states(ledger) == {"a": "in_doubt"}
    unverified(ledger)[0].unlink()
    (done,) = await reconcile(ledger, None, [Placed(SPRING, finding)], Rules(0))
    assert done.problem is None
    assert states(ledger) == {"a": "pending"}


_PLAYS_TWO_USERS = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None, reason="only root can play two users"
)


@pytest.fixture
def theirs(ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An answer to row "a" that another user left in a shared folder for temporary files."""
    (intent,) = under_way(ledger, "a")
    shared = tmp_path / "tmp"
    shared.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(shared))
    assert RescueFile(ledger).keep([answer(intent)])
    (beside,) = lying(ledger)
    away = shared / beside.name
    shutil.move(beside, away)
    os.chown(shared, 1, 1)
    os.chown(away, 2, 2)
    return away


def reconcile_without(capabilities: str, ledger: Ledger, shared: Path) -> subprocess.CompletedProcess[str]:
    """`reelbatch reconcile` by a user who may less than root."""
    url = ledger.url.render_as_string(hide_password=False)
    command = [sys.executable, "-m", "reelbatch", "reconcile", "--results", url, "--json"]
    return subprocess.run(
        ["setpriv", "--bounding-set", capabilities, *command],
        env={**os.environ, "TMPDIR": str(shared)},
        capture_output=True,
        text=True,
        check=False,
    )


@_PLAYS_TWO_USERS
def test_a_rescue_file_of_another_user_is_read_where_it_lies(ledger: Ledger, theirs: Path) -> None:
    """In a shared folder for temporary files no one may rename what is someone else's; its answers count."""
    theirs.parent.chmod(0o1777)
    run = reconcile_without("-dac_override,-fowner", ledger, theirs.parent)
    assert (run.returncode, run.stderr) == (0, "")
    assert states(ledger) == {"a": "queued"}
    assert theirs.exists()


@_PLAYS_TWO_USERS
def test_a_rescue_file_that_may_not_be_read_stays_for_one_who_may(ledger: Ledger, theirs: Path) -> None:
    """It is not taken for done: its owner's next command takes it up."""
    theirs.parent.chmod(0o777)
    theirs.chmod(0o600)
    run = reconcile_without("-dac_override,-dac_read_search,-fowner", ledger, theirs.parent)
    assert (run.returncode, "may not be read" in run.stderr) == (0, True)
    assert states(ledger) == {"a": "sending"}
    assert replay(ledger) == 1
    assert states(ledger) == {"a": "queued"}
