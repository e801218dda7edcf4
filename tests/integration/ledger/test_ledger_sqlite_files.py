"""SQLite files that hurt: foreign, newer, older, locked, read-only, full; and how ours are written."""

import asyncio
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import forked
import pytest
from acting import ESTIMATE, SPRING, attempt, begin, committed, load, rows_of, states
from sqlalchemy import Connection, event

from reelbatch.domain import SUMS
from reelbatch.errors import LedgerError, LedgerUnusable
from reelbatch.ledger import Ledger, migrations, queries
from reelbatch.ledger.accounting import Ending
from reelbatch.ledger.admission import Admission
from reelbatch.ledger.columns import VERSION
from reelbatch.ledger.engine import open_engine
from reelbatch.ledger.intents import record_intents
from reelbatch.ledger.migrations import prepare
from reelbatch.ledger.schema import metadata
from reelbatch.ledger.urls import parse_url, shown

OPENER = """
import sys
from pathlib import Path
from acting import begin
from reelbatch.ledger import Ledger
while not Path(sys.argv[2]).exists():
    pass
with Ledger(sys.argv[1]) as ledger:
    begin(ledger, sys.argv[3])
"""
_OF_VERSION_4 = (
    ("attempts", "same_as"),
    ("runs", "secret"),
    *(("attempts", name) for name in ("generation", "refund_due_at", "refund_until", "unrated", "odd_figure")),
    *(("batches", name) for name in ("account", "probe", "key_hash", "unknown")),
    ("reelbatch_schema", "identity"),
    *(("decisions", name) for name in ("command", "before", "undoes")),
)
AS_THIRD_VERSION = (
    "DROP INDEX attempts_video",
    "DROP INDEX attempts_same",
    "DROP VIEW results",
    *(f"DROP INDEX {name}" for name in ("attempts_odd", "attempts_unrated")),
    f"CREATE TABLE results AS SELECT {migrations._COLUMNS_3}, in_manifest AS listed FROM generations",  # noqa: S608 - our columns
    *(f"DROP TABLE {table}" for table in ("generations", "orders", "accounts", "prices")),
    "DROP INDEX attempts_refund",
    *(f"ALTER TABLE {table} DROP COLUMN {column}" for table, column in _OF_VERSION_4),
    "CREATE INDEX results_state ON results (batch, state, row_number)",
    "ALTER TABLE batches RENAME COLUMN worst_case TO committed",
    "UPDATE reelbatch_schema SET version = 3",
)
AS_SECOND_VERSION = (
    *AS_THIRD_VERSION,
    *(f"ALTER TABLE batches DROP COLUMN {name}" for name in SUMS if name != "unknown"),
    "DROP INDEX results_state",
    "CREATE INDEX results_state ON results (batch, state)",
    "CREATE INDEX results_pending ON results (batch, row_number) WHERE state = 'pending'",
    "UPDATE reelbatch_schema SET version = 2",
)
PASSWORD = "s3cret"  # noqa: S105 - of no one


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the table would be."""
    return tmp_path / "results.db"


@pytest.fixture
def url(path: Path) -> str:
    """Of a table whose users do not wait long for each other."""
    return f"sqlite:///{path}?timeout=0.3"


def run_sql(path: Path, *statements: str) -> None:
    """What another program does to the file."""
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


@contextmanager
def locked(path: Path) -> Iterator[sqlite3.Connection]:
    """Another program is in the middle of a write."""
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield connection


def test_answers_survive_a_power_cut(url: str) -> None:
    """Writes are synced to disk before they count, and readers do not wait for them: FULL and WAL are on."""
    with Ledger(url) as ledger, ledger.connection() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2


def test_a_file_that_is_no_table_is_refused(url: str, path: Path) -> None:
    """A spreadsheet given by mistake is neither read nor harmed."""
    content = b"image_path,prompt\n" * 100
    path.write_bytes(content)
    with pytest.raises(LedgerUnusable, match="no SQLite file"):
        Ledger(url)
    assert path.read_bytes() == content


@pytest.mark.parametrize("table", ["results", "runs", "attempts", "uploads", "batches", "bookmarks"])
def test_someone_elses_tables_are_left_alone(url: str, path: Path, table: str) -> None:
    """A file in which another program keeps a table, whatever its name, is refused, and not a byte of it changes."""
    run_sql(path, f"CREATE TABLE {table} (theirs TEXT)")
    before = path.read_bytes()
    with pytest.raises(LedgerUnusable, match=f"`{table}` that is not Reelbatch's"):
        Ledger(url)
    assert path.read_bytes() == before
    assert sorted(path.parent.glob(f"{path.name}*")) == [path]


def test_a_newer_table_is_refused(url: str, path: Path) -> None:
    """An older Reelbatch does not write into what it does not understand."""
    Ledger(url).close()
    run_sql(path, "UPDATE reelbatch_schema SET version = 99")
    with pytest.raises(LedgerUnusable, match=r"newer Reelbatch \(schema 99"):
        Ledger(url)


def add_column(connection: Connection) -> None:
    """A step to the next version."""
    connection.exec_driver_sql("ALTER TABLE generations ADD COLUMN mood TEXT")


def test_an_older_table_is_migrated(url: str, path: Path) -> None:
    """Rows and ids stay, the new column is there, and the second to open it finds it done."""
    with Ledger(url) as ledger:
        load(ledger, rows_of("a"))
    engine = open_engine(parse_url(url))
    for _ in range(2):
        prepare(engine, {VERSION: add_column}, version=VERSION + 1)
    engine.dispose()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT row_key, mood FROM generations").fetchall() == [("a", None)]
        assert connection.execute("SELECT version FROM reelbatch_schema").fetchall() == [(VERSION + 1,)]


def test_a_table_of_the_first_version_is_brought_up_to_date(url: str, path: Path) -> None:
    """The rows stay, and what workers share now is there."""
    with Ledger(url) as ledger:
        load(ledger, rows_of("a"))
    run_sql(path, *AS_SECOND_VERSION, *(f"DROP TABLE {table}" for table in ("loads", "apis", "writers")))
    run_sql(path, "UPDATE reelbatch_schema SET version = 1")
    with Ledger(url) as ledger:
        assert states(ledger) == {"a": "pending"}
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT version FROM reelbatch_schema").fetchall() == [(VERSION,)]
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    assert set(metadata.tables) <= names
    assert {str(index.name) for table in metadata.tables.values() for index in table.indexes} <= names


def test_the_sums_of_an_older_table_are_added_up(url: str, path: Path) -> None:
    """Money that was spent before there were running sums is in them afterwards."""
    with Ledger(url) as ledger:
        load(ledger, rows_of("a", "b", "c"))
        worker = begin(ledger)
        under_way, answered, doubtful = worker.claim()
        worker.intend(under_way)
        worker.send(answered, credits_charged=70)
        worker.send(doubtful, Ending.IN_DOUBT)
        money = ledger.read(lambda connection: queries.credits_of(connection, SPRING))
    assert (money.reserved, money.charged, money.in_doubt) == (ESTIMATE, 70, ESTIMATE)
    run_sql(path, *AS_SECOND_VERSION)
    with Ledger(url) as ledger:
        assert ledger.read(lambda connection: queries.credits_of(connection, SPRING)) == money
        assert committed(ledger) == money.worst_case
    with closing(sqlite3.connect(path)) as connection:
        indexes = dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'index'"))
    assert "row_number" in indexes["results_state"]
    assert "results_pending" not in indexes


def test_a_migration_that_fails_changes_nothing(url: str, path: Path) -> None:
    """Half a migration is none."""

    def broken(connection: Connection) -> None:
        add_column(connection)
        connection.exec_driver_sql("SELECT * FROM nowhere")

    Ledger(url).close()
    engine = open_engine(parse_url(url))
    with pytest.raises(LedgerUnusable):
        prepare(engine, {VERSION: broken}, version=VERSION + 1)
    engine.dispose()
    with closing(sqlite3.connect(path)) as connection:
        assert "mood" not in str(connection.execute("SELECT sql FROM sqlite_master").fetchall())
    Ledger(url).close()


def test_five_processes_may_open_a_new_table_at_once(path: Path, tmp_path: Path) -> None:
    """Workers that start together make one table, and none of them fails."""
    url, go = f"sqlite:///{path}", tmp_path / "go"
    commands = [[sys.executable, "-c", OPENER, url, str(go), f"run-{number}"] for number in range(5)]
    here = Path(__file__).parent
    workers = [forked.Popen(command, cwd=here, stderr=subprocess.PIPE, text=True) for command in commands]
    go.touch()
    assert [worker.communicate()[1] for worker in workers] == [""] * 5
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM runs").fetchall() == [(5,)]


def test_a_fresh_table_is_opened_by_several_in_the_same_moment(tmp_path: Path) -> None:
    """The change to WAL, for which SQLite does not wait by itself, is waited for."""
    together = threading.Barrier(6)

    def open_at_once(url: str) -> None:
        together.wait()
        Ledger(url).close()

    with ThreadPoolExecutor(together.parties) as threads:
        for number in range(60):
            url = f"sqlite:///{tmp_path / f'{number}.db'}"
            list(threads.map(open_at_once, [url] * together.parties))


def test_a_read_only_table_is_read_and_says_so_when_written(url: str, path: Path) -> None:
    """A table that can't be written shows its rows, and refuses the first write with what to do."""
    with Ledger(url) as ledger:
        load(ledger, rows_of("a"))
    with Ledger(f"sqlite:///file:{path}?mode=ro&uri=true") as ledger:
        assert ledger.path == path
        assert states(ledger) == {"a": "pending"}
        with pytest.raises(LedgerError, match="read-only; make file and folder writable"):
            begin(ledger)


def test_a_folder_that_can_not_be_made_says_so() -> None:
    """A path that leads nowhere is named, not met with a traceback."""
    with pytest.raises(LedgerUnusable, match="the folder can't be made"):
        Ledger("sqlite:////proc/reelbatch/results.db")


def test_a_folder_that_takes_no_files_says_so() -> None:
    """Nor is a folder in which no file can be made."""
    with pytest.raises(LedgerUnusable, match="can't be opened"):
        Ledger("sqlite:////proc/results.db")


def test_a_folder_is_made(tmp_path: Path) -> None:
    """The default table lies in a folder that a new project does not have yet."""
    Ledger(f"sqlite:///{tmp_path}/new/folder/results.db").close()
    assert (tmp_path / "new/folder/results.db").exists()


def test_looking_for_a_table_does_not_make_one(url: str, path: Path) -> None:
    """`plan` and `status` leave no empty file behind."""
    assert not Ledger.exists(url)
    assert not path.exists()


async def test_a_short_lock_is_waited_for(path: Path) -> None:
    """While another program writes, ours waits and then goes on."""
    with Ledger(f"sqlite:///{path}") as ledger:
        load(ledger, rows_of("a"))
        worker = begin(ledger)
        intent = worker.intent(worker.claim()[0])
        with locked(path) as other:
            waiting = asyncio.create_task(ledger.write(record_intents, intent))
            done, _ = await asyncio.wait({waiting}, timeout=0.2)
            assert not done
            other.execute("COMMIT")
            assert (await waiting).admission is Admission.ADMITTED


async def test_a_long_lock_is_an_error_and_nothing_is_sent(url: str, path: Path) -> None:
    """A table that stays locked admits no intent, says why, and works again afterwards."""
    with Ledger(url) as ledger:
        load(ledger, rows_of("a"))
        worker = begin(ledger)
        taken = worker.claim()[0]
        with locked(path), pytest.raises(LedgerError, match="kept it locked for too long"):
            await ledger.write(record_intents, worker.intent(taken))
        assert states(ledger) == {"a": "claimed"}
        assert (await ledger.write(record_intents, worker.intent(taken))).admission is Admission.ADMITTED


def test_a_table_that_is_locked_when_opened_says_so(url: str, path: Path) -> None:
    """A table that can't be opened for another program's sake is unusable, for now."""
    Ledger(url).close()
    with locked(path), pytest.raises(LedgerUnusable, match="kept it locked for too long"):
        Ledger(url)


def fill_disk(ledger: Ledger) -> None:
    """From now on the file can't grow, as on a full disk."""

    @event.listens_for(ledger._engine, "checkout")
    def _no_more_pages(connection: sqlite3.Connection, *_: object) -> None:
        connection.execute("PRAGMA max_page_count = 1")


async def test_a_full_disk_admits_no_intent(url: str) -> None:
    """Where the intent can't be written, the request may not leave; once there is room, it may."""
    keys = [f"key-{number:04}" for number in range(500)]
    with Ledger(url) as ledger:
        load(ledger, rows_of(*keys))
        worker = begin(ledger)
        intents = [worker.intent(taken) for taken in worker.claim()]
        fill_disk(ledger)
        writes = (ledger.write(record_intents, intent) for intent in intents)
        told = await asyncio.gather(*writes, return_exceptions=True)
        refused = [error for error in told if isinstance(error, LedgerError)]
        assert refused
        assert "the disk is full; make room" in str(refused[0])
        admitted = [intent for intent, said in zip(intents, told, strict=True) if said is Admission.ADMITTED]
        assert list(states(ledger).values()).count("sending") == len(admitted)
        assert committed(ledger) == len(admitted) * ESTIMATE
    with Ledger(url) as again:
        late = next(intent for intent, said in zip(intents, told, strict=True) if isinstance(said, LedgerError))
        assert (await again.write(record_intents, late)).admission is Admission.ADMITTED


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may mount a small disk")
def test_a_disk_that_is_really_full_loses_nothing(tmp_path: Path) -> None:
    """On a disk of 400 kB what was committed stays readable and the rest is refused with a remedy."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "none", disk], check=False).returncode:
        pytest.skip("this system lets no one mount a small disk")
    try:
        sent = fill_table(f"sqlite:///{disk}/results.db?timeout=0.3")
        for file in disk.glob("*.ballast"):
            file.unlink()
        with Ledger(f"sqlite:///{disk}/results.db") as again:
            assert {attempt(again, token)["video_id"] for token in sent} == {f"vid-{token}" for token in sent}
            assert committed(again) >= len(sent) * ESTIMATE
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def fill_table(url: str) -> list[str]:
    """Send rows until the disk is full; the tokens of those whose answer was committed."""
    sent: list[str] = []
    with Ledger(url) as ledger:
        load(ledger, rows_of(*(f"key-{number:03}" for number in range(100))))
        worker = begin(ledger)
        taken = worker.claim()
        (Path(str(ledger.path)).parent / "a.ballast").write_bytes(b"x" * 20_000)
        with pytest.raises(LedgerError, match=r"disk (is full|can't be read or written)"):
            sent.extend(worker.send(row, message="m" * 500).token for row in taken)
    return sent


@pytest.mark.parametrize(
    "stated",
    [
        f"postgres//user:{PASSWORD}@host/db",
        f"postgresql:/user:{PASSWORD}@host/db",
        f"postgresql://user:{PASSWORD}@host:port/db",
        f"mysql://user:{PASSWORD}@host/db",
        f"postgresql+nosuch://user:{PASSWORD}@host/db",
        f"nonsense?password={PASSWORD}",
    ],
)
def test_no_message_shows_a_password(stated: str) -> None:
    """A URL with a mistake in it is shown without its password."""
    with pytest.raises(LedgerUnusable) as caught:
        Ledger(stated)
    assert PASSWORD not in str(caught.value)
    assert PASSWORD not in str(caught.value.__cause__)


@pytest.mark.parametrize(
    "stated", [f"postgresql://user:{PASSWORD}@host/db", f"postgresql://user@host/db?password={PASSWORD}"]
)
def test_a_url_is_shown_without_its_password(stated: str) -> None:
    """Wherever the password stands in the URL, it is not printed."""
    assert PASSWORD not in shown(parse_url(stated))
    assert "user" in shown(stated)
