"""An id that was received is never lost: where the table will not take it, a file keeps it for the next run."""

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from acting import ESTIMATE, LEASE, Worker, answer, attempt, begin, committed, load, rows_of, set_run, states

from reelbatch.ledger import Ledger, utc_now
from reelbatch.ledger.sending import Ending, Intent
from reelbatch.submitter.recorder import Recorder, rescue, rescue_paths, take_up_rescued
from reelbatch.submitter.tally import ExitReason


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
    ledger: Ledger, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The table is locked when the answer comes: the run stops, the id goes to a file, the next run takes it up."""
    (intent,) = under_way(ledger, "a")
    stopped: list[tuple[ExitReason, str | None]] = []
    recorder = Recorder(ledger, lambda reason, message: stopped.append((reason, message)), waits_s=(0.0,))
    with locked(path):
        await recorder.record(answer(intent))
    assert states(ledger) == {"a": "sending"}
    assert {reason for reason, _ in stopped} == {ExitReason.LEDGER_FAILED}
    assert "was kept in" in capsys.readouterr().err
    with Ledger(str(ledger.url)) as next_run:
        assert take_up_rescued(next_run) == 1
        assert states(next_run) == {"a": "queued"}
        assert attempt(next_run, intent.token)["video_id"] == f"vid-{intent.token}"
        assert committed(next_run) == ESTIMATE
        assert take_up_rescued(next_run) == 0


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
        take_up_rescued(ledger)  # whatever a file holds of it by now


@pytest.mark.parametrize("ending", Ending)
def test_every_answer_survives_the_file(ledger: Ledger, ending: Ending) -> None:
    """What is taken up from the file is what was put there, whatever the answer was."""
    (intent,) = under_way(ledger, "a")
    said = answer(intent, ending, status=200, message="Ünïcode \u2028 line", raw_body='{"id"')
    rescue(said, ledger)
    take_up_rescued(ledger)
    kept = attempt(ledger, intent.token)
    assert (kept["outcome"], kept["message"], kept["raw_body"]) == (ending, said.message, said.raw_body)
    assert kept["ended_at"] == said.at


def test_a_file_that_is_taken_up_twice_counts_once(ledger: Ledger) -> None:
    """A crash between taking answers up and putting the file away makes no charge count twice."""
    intents = under_way(ledger, "a", "b")
    rescue(answer(intents[0], credits_charged=60), ledger)
    rescue(answer(intents[1], Ending.REJECTED), ledger)
    content = next(rescue_paths(ledger)).read_text(encoding="utf-8")
    for _ in range(2):
        next(rescue_paths(ledger)).write_text(content, encoding="utf-8")
        take_up_rescued(ledger)
    assert committed(ledger) == 60
    assert states(ledger) == {"a": "queued", "b": "rejected"}


def test_an_id_is_taken_up_after_its_row_came_into_doubt(ledger: Ledger) -> None:
    """Recovery before the file is read does no harm: the id clears the doubt."""
    (intent,) = under_way(ledger, "a")
    rescue(answer(intent), ledger)
    set_run(Worker(ledger, intent.run_id), ended_at=utc_now())
    ledger.recover(LEASE)
    assert states(ledger) == {"a": "in_doubt"}
    take_up_rescued(ledger)
    assert states(ledger) == {"a": "queued"}


def test_an_id_of_another_table_is_kept_in_this_one(ledger: Ledger) -> None:
    """The table was replaced by its backup: the id still goes on record, where a search for it will find it."""
    (intent,) = under_way(ledger, "a")
    ledger.change(lambda connection: connection.exec_driver_sql("DELETE FROM attempts"))
    rescue(answer(intent), ledger)
    take_up_rescued(ledger)
    assert attempt(ledger, intent.token)["video_id"] == f"vid-{intent.token}"


def test_each_table_has_files_of_its_own(ledger: Ledger, tmp_path: Path) -> None:
    """Answers of one table are never taken up by another."""
    with Ledger(f"sqlite:///{tmp_path / 'other' / 'results.db'}") as other:
        assert not set(rescue_paths(ledger)) & set(rescue_paths(other))


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
    beside, away = rescue_paths(ledger)
    assert rescue(answer(intent), ledger)
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
    """In a shared folder for temporary files nobody may rename what is somebody else's; its answers count."""
    theirs.parent.chmod(0o1777)
    run = reconcile_without("-dac_override,-fowner", ledger, theirs.parent)
    assert (run.returncode, run.stderr) == (0, "")
    assert states(ledger) == {"a": "queued"}
    assert theirs.exists()


@_PLAYS_TWO_USERS
def test_a_rescue_file_that_may_not_be_read_stays_for_whoever_may(ledger: Ledger, theirs: Path) -> None:
    """It is not taken for done: its owner's next command takes it up."""
    theirs.parent.chmod(0o777)
    theirs.chmod(0o600)
    run = reconcile_without("-dac_override,-dac_read_search,-fowner", ledger, theirs.parent)
    assert (run.returncode, "may not be read" in run.stderr) == (0, True)
    assert states(ledger) == {"a": "sending"}
    assert take_up_rescued(ledger) == 1
    assert states(ledger) == {"a": "queued"}
