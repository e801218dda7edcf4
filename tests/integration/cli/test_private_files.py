"""Who may read what a run leaves on the disk."""

from __future__ import annotations

import os
import sqlite3
import stat
import sys
import threading
from contextlib import closing
from pathlib import Path

import forked
import pytest

from reelbatch.errors import UsageError
from reelbatch.ledger import Ledger
from reelbatch.ledger.rescue_files import RescueFile
from reelbatch.pipeline.export import export
from reelbatch.pipeline.load_manifest import load
from reelbatch.pipeline.plan import GenerateOptions
from reelbatch.pipeline.reconcile_list import write_list
from reelbatch.sandbox import start
from reelbatch.settings import load_settings

pytestmark = pytest.mark.skipif(os.name != "posix", reason="there are no such modes")
_ROWS = 200


@pytest.fixture(autouse=True)
def _everybody_may_read() -> object:
    """What most machines have: files that are made without a thought are for everybody to read."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    """Who may do what."""
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """A table in a new folder, with rows."""
    manifest = tmp_path / "spring.csv"
    rows = (f"K{n},https://img.example/{n}.jpg,Pan {n},2,ltx-2.3" for n in range(_ROWS))
    manifest.write_text("\n".join(["row_key,image_path,prompt,end_seconds,model", *rows]))
    table = Ledger(f"sqlite:///{tmp_path}/results/r.db")
    load(GenerateOptions(source=str(manifest)), load_settings(), table)
    return table


def test_a_new_table_is_its_owners(ledger: Ledger, tmp_path: Path) -> None:
    """With what SQLite keeps beside it; a link to a table that is not there yet makes no difference."""
    files = sorted((tmp_path / "results").iterdir())
    assert [path.name for path in files] == ["r.db", "r.db-shm", "r.db-wal"]
    assert {mode(path) for path in files} == {0o600}
    (tmp_path / "link.db").symlink_to(tmp_path / "there.db")
    with Ledger(f"sqlite:///{tmp_path}/link.db"), Ledger(f"sqlite:///file:{tmp_path}/uri.db?uri=true"):
        assert {mode(tmp_path / name) for name in ("there.db", "there.db-wal", "uri.db", "uri.db-shm")} == {0o600}


def test_a_table_that_is_shared_stays_so(tmp_path: Path) -> None:
    """One `chmod` is the way to ask for it, before the first run or after; what lies beside it follows."""
    path = tmp_path / "r.db"
    path.touch(0o640)
    with Ledger(f"sqlite:///{path}") as ledger:
        ledger.change(lambda connection: connection.exec_driver_sql("UPDATE runs SET secret = secret"))
        assert {mode(file) for file in tmp_path.iterdir()} == {0o640}


def test_no_file_of_a_run_is_ever_to_be_read_by_others(tmp_path: Path) -> None:
    """Each is looked at all the time while a table and an export are made: there is no first moment without care."""
    seen: set[tuple[str, int]] = set()
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            for folder, _, names in os.walk(tmp_path / "results"):
                for name in names:
                    try:
                        seen.add((name, mode(Path(folder) / name)))
                    except FileNotFoundError:
                        continue

    watching = threading.Thread(target=look)
    watching.start()
    try:
        for number in range(20):
            with Ledger(f"sqlite:///{tmp_path}/results/{number}.db") as ledger:
                export(ledger, f"{tmp_path}/results/{number}.csv")
    finally:
        stop.set()
        watching.join()
    assert seen
    assert {name for name, found in seen if found != 0o600} == set()


@pytest.mark.parametrize("name", ["out.parquet", "out.csv", "out.jsonl"])
def test_a_new_export_is_its_owners_and_a_shared_one_stays_shared(name: str, ledger: Ledger, tmp_path: Path) -> None:
    """It is replaced, and keeps its mode and its group."""
    target = tmp_path / name
    export(ledger, str(target))
    assert mode(target) == 0o600
    target.chmod(0o644)
    group = 4711 if os.getuid() == 0 else os.getgid()
    os.chown(target, -1, group)
    export(ledger, str(target))
    assert (mode(target), target.stat().st_gid) == (0o644, group)
    export(ledger, f"file://{tmp_path}/by-url-{name}")
    assert mode(tmp_path / f"by-url-{name}") == 0o600
    assert [path for path in tmp_path.iterdir() if path.suffix == ".part"] == []


def test_an_export_follows_no_link_that_someone_laid(ledger: Ledger, tmp_path: Path) -> None:
    """Under whatever name a file is being written, a link in its place is not followed."""
    victim = tmp_path / "victim"
    victim.write_text("mine")
    for name in (f".out.csv.{os.getpid()}.part", ".out.csv.part"):
        (tmp_path / name).symlink_to(victim)
    export(ledger, str(tmp_path / "out.csv"))
    assert victim.read_text() == "mine"


def test_lists_and_rescue_files_are_their_owners(ledger: Ledger, tmp_path: Path) -> None:
    """They hold keys, prompts, tokens and answers."""
    write_list(tmp_path / "doubts.csv", [])
    assert mode(tmp_path / "doubts.csv") == 0o600
    rescue = RescueFile(ledger)
    assert rescue.keep([])
    (kept,) = (tmp_path / "results").glob("*.rescue.jsonl")
    assert mode(kept) == 0o600


def test_what_a_sandbox_keeps_is_its_owners(tmp_path: Path) -> None:
    """Books and folders: no one else gets to an upload or a video."""
    data = tmp_path / "data"
    with start(data=data) as sandbox:
        assert sandbox.url
        made = [data, *data.rglob("*")]
        assert len(made) > 2
        assert {path.name for path in made if mode(path) & 0o077} == set()


def test_a_sqlite_file_that_cannot_be_made_is_told_as_ever(tmp_path: Path) -> None:
    """The care for its mode hides no error."""
    (tmp_path / "folder.db").mkdir()
    with pytest.raises(UsageError, match="is a folder"):
        Ledger(f"sqlite:///{tmp_path}/folder.db")


def test_another_program_still_opens_the_table(ledger: Ledger, tmp_path: Path) -> None:
    """It is an ordinary file of SQLite."""
    ledger.close()
    with closing(sqlite3.connect(tmp_path / "results" / "r.db")) as connection:
        assert connection.execute("SELECT count(*) FROM results").fetchone() == (_ROWS,)


def test_the_command_line_leaves_only_private_files(tmp_path: Path) -> None:
    """`export` of an empty table, as it is typed."""
    Ledger(f"sqlite:///{tmp_path}/r.db").close()
    command = [sys.executable, "-m", "reelbatch", "export", "out.csv", "--results", "sqlite:///r.db"]
    forked.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=60)
    assert mode(tmp_path / "out.csv") == 0o600
