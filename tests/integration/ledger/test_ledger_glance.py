"""A look at a SQLite table without SQLAlchemy: it says what the ledger says, or nothing at all."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from acting import LEASE, SPRING, begin, die, end, load, process_at_work, rows_of

from reelbatch.domain import Batch, RowState
from reelbatch.ledger import Ledger, queries
from reelbatch.ledger.attempts import Ending
from reelbatch.pipeline.status import batch_status, statuses_at_a_glance

AUTUMN = Batch("autumn")


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the table is; no one else's rescued answers are about."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path / "results.db"


@pytest.fixture
def ledger_url(path: Path) -> str:
    """Only SQLite is looked at in this way."""
    return f"sqlite:///{path}"


def sent(ledger: Ledger) -> None:
    """Two batches, one of them with rows that ended in several ways."""
    load(ledger, rows_of("a", "b", "c", "d"))
    load(ledger, rows_of("e"), batch=AUTUMN)
    worker = begin(ledger)
    answered, refused, doubtful, left = worker.claim()
    worker.send(answered, credits_charged=7)
    worker.send(refused, Ending.REJECTED)
    worker.send(doubtful, Ending.IN_DOUBT)
    worker.release(left)
    end(worker)


def change(path: Path, statement: str) -> None:
    """What another program does to the file."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement)
        connection.commit()


def test_it_says_what_the_ledger_says(ledger: Ledger, ledger_url: str) -> None:
    """The same rows by state and the same credits, of all batches in their order or of the one that is named."""
    sent(ledger)
    known = [batch_status(ledger, batch) for batch in ledger.read(queries.batch_names)]
    assert [found.batch for found in known] == [AUTUMN, SPRING]
    assert list(known[1].states) == [RowState.IN_DOUBT, RowState.PENDING, RowState.QUEUED, RowState.REJECTED]
    seen = statuses_at_a_glance(ledger_url)
    assert seen == known
    assert [list(found.states) for found in seen] == [list(found.states) for found in known]
    assert statuses_at_a_glance(ledger_url, SPRING) == known[1:]


def test_it_sees_a_table_while_another_process_is_at_work(ledger: Ledger, ledger_url: str) -> None:
    """Rows that a living worker holds are counted as they are; it is not kept waiting for the count."""
    load(ledger, rows_of("a", "b", "c", "d"))
    with process_at_work(ledger_url) as process:
        assert statuses_at_a_glance(ledger_url) == [batch_status(ledger, SPRING)]
        process.kill()
        process.wait()
        assert statuses_at_a_glance(ledger_url) is None


def test_what_a_dead_worker_left_is_for_the_ledger(ledger: Ledger, ledger_url: str) -> None:
    """It is cleared up before anything is counted: a run without an end, and rows of a run that has one."""
    sent(ledger)
    die(begin(ledger, "run-2"))
    assert statuses_at_a_glance(ledger_url) is None
    ledger.recover(LEASE)
    assert statuses_at_a_glance(ledger_url) is not None
    careless = begin(ledger, "run-3")
    careless.claim()
    end(careless)
    assert statuses_at_a_glance(ledger_url) is None
    ledger.recover(LEASE)
    assert statuses_at_a_glance(ledger_url) is not None


def test_a_figure_that_was_not_believed_is_for_the_ledger(ledger: Ledger, ledger_url: str) -> None:
    """It is named with its row, and the question is answered from an index that is mostly empty."""
    load(ledger, rows_of("a"))
    worker = begin(ledger)
    (row,) = worker.claim()
    worker.send(row, credits_charged=None, odd_figure="-7 is negative")
    end(worker)
    assert statuses_at_a_glance(ledger_url) is None
    status = batch_status(ledger, SPRING)
    assert (status.odd_figure_rows, [odd.why for odd in status.odd_figures]) == (1, ["-7 is negative"])


def test_a_run_of_this_process_is_for_the_ledger(ledger: Ledger, ledger_url: str) -> None:
    """That its process is alive says nothing about it: only the ledger knows whether it was left."""
    sent(ledger)
    begin(ledger, "run-2")
    assert statuses_at_a_glance(ledger_url) is None


def test_rescued_answers_are_for_the_ledger(ledger: Ledger, ledger_url: str, path: Path) -> None:
    """What is known of a row and is not in the table yet comes first."""
    sent(ledger)
    (path.parent / f"reelbatch-{ledger.identity}.0.rescue.jsonl").write_text("")
    assert statuses_at_a_glance(ledger_url) is None


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE reelbatch_schema SET version = 2",
        "UPDATE reelbatch_schema SET version = 99",
        "DELETE FROM reelbatch_schema",
        "DROP TABLE reelbatch_schema",
        "DROP TABLE runs",
    ],
)
def test_an_odd_table_is_for_the_ledger(ledger: Ledger, ledger_url: str, path: Path, statement: str) -> None:
    """It is migrated, or refused with what to do."""
    sent(ledger)
    change(path, statement)
    assert statuses_at_a_glance(ledger_url) is None


def test_what_is_no_plain_table_is_for_the_ledger(tmp_path: Path, path: Path) -> None:
    """No file, no SQLite, options in the URL, another database, an unknown batch: nothing is made or read."""
    (tmp_path / "notes.txt").write_text("image_path,prompt\n" * 100)
    for url in (
        f"sqlite:///{path}",
        f"sqlite:///{tmp_path}/notes.txt",
        f"sqlite:///{tmp_path}",
        "sqlite://",
        "sqlite:///:memory:",
        "postgresql+psycopg://localhost/results",
    ):
        assert statuses_at_a_glance(url) is None
    assert not path.exists()
    Ledger(f"sqlite:///{path}").close()
    assert statuses_at_a_glance(f"sqlite:///{path}") == []
    assert statuses_at_a_glance(f"sqlite:///{path}?timeout=1") is None
    assert statuses_at_a_glance(f"sqlite:///{path}", "spring") is None


def test_a_file_with_an_odd_name_is_found(tmp_path: Path) -> None:
    """As it is written in the URL, which is no web address."""
    url = f"sqlite:///{tmp_path}/50%20 off #1 é.db"
    with Ledger(url) as ledger:
        sent(ledger)
        assert statuses_at_a_glance(url) == [batch_status(ledger, batch) for batch in (AUTUMN, SPRING)]
        assert ledger.shown_url == url
        assert (tmp_path / "50%20 off #1 é.db").exists()
