"""Anyone who may only read the table looks at it all the same, and hears what could not be cleared up."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest
from acting import answer, begin, die, load, row, rows_of, states
from databases import postgres_url
from PIL import Image
from typer.testing import CliRunner

from reelbatch.cli.app import app
from reelbatch.ledger import Ledger
from reelbatch.ledger.rescue_files import RescueFile

ONLOOKER = "onlooker"
LEFT = "as claimed or sending it shows 2 rows of dead workers"
Command = Callable[..., "Said"]


class Said(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


@pytest.fixture
def ledger_url(tmp_path: Path) -> str:
    """A table of Postgres, in a schema of its own."""
    return postgres_url()


@pytest.fixture
def onlooker(ledger: Ledger) -> Iterator[str]:
    """The table's URL for a role that has been granted SELECT and no more."""
    schema = str(ledger.url.query["options"]).rpartition("=")[2]
    as_owner(
        ledger,
        f"CREATE ROLE {ONLOOKER} LOGIN",
        f"GRANT USAGE ON SCHEMA {schema} TO {ONLOOKER}",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {ONLOOKER}",
    )
    yield ledger.url.set(username=ONLOOKER).render_as_string(hide_password=False)
    as_owner(ledger, f"DROP OWNED BY {ONLOOKER}", f"DROP ROLE {ONLOOKER}")


def as_owner(ledger: Ledger, *statements: str) -> None:
    """What the database's administrator types."""
    address = ledger.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(address, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def in_process(*arguments: str) -> Said:
    """A command of this process."""
    done = CliRunner().invoke(app, arguments)
    return Said(done.exit_code, done.stdout, f"{done.stderr}{done.exception or ''}")


def without_rights(*arguments: str) -> Said:
    """A command that the modes of files and folders hold for, be it root's."""
    drop = ["setpriv", "--bounding-set", "-dac_override"] if os.geteuid() == 0 else []
    if drop and shutil.which("setpriv") is None:
        pytest.skip("root may write everything, and there is no setpriv to take that away")
    run = subprocess.run(
        [*drop, sys.executable, "-m", "reelbatch", *arguments], capture_output=True, text=True, check=False
    )
    return Said(run.returncode, run.stdout, run.stderr)


def leave_rows_behind(ledger: Ledger) -> None:
    """Three rows; a worker that died held two of them."""
    load(ledger, rows_of("a", "b", "c"))
    worker = begin(ledger)
    first, _ = worker.claim(2)
    worker.intend(first)
    die(worker)


def shown(command: Command, url: str) -> dict[str, int]:
    """The states that `status` counts, and what it has to say besides."""
    said = command("status", "--results", url, "--json")
    assert said.code == 0, said.err
    assert said.err.count(LEFT) == said.err.count("\n") == 1, said.err
    (batch,) = json.loads(said.out)["batches"]
    return {state: rows for state, rows in batch["states"].items() if rows}


def test_a_role_that_may_only_select_sees_how_things_stand(ledger: Ledger, onlooker: str) -> None:
    """What a dead worker held is shown as it is, with one line that says so; the owner's next look clears it up."""
    leave_rows_behind(ledger)
    assert shown(in_process, onlooker) == {"sending": 1, "claimed": 1, "pending": 1}
    assert states(ledger) == {"a": "sending", "b": "claimed", "c": "pending"}
    owners = in_process("status", "--results", ledger.url.render_as_string(hide_password=False))
    assert (owners.code, owners.err) == (0, "")
    assert states(ledger) == {"a": "in_doubt", "b": "pending", "c": "pending"}


def test_a_role_that_may_only_select_exports(ledger: Ledger, onlooker: str, tmp_path: Path) -> None:
    """All rows; and where nothing is to be cleared up, nothing is said."""
    load(ledger, rows_of("a", "b"))
    said = in_process("export", str(tmp_path / "x.csv"), "--results", onlooker)
    assert (said.code, said.out.split()[0], said.err) == (0, "2", "")
    assert len((tmp_path / "x.csv").read_text().splitlines()) == 3


def test_a_plan_counts_what_a_dead_worker_held_as_a_run_would(ledger: Ledger, onlooker: str, tmp_path: Path) -> None:
    """It is to be sent, or in doubt; where the table can't be written, it is at work as the table has it."""
    leave_rows_behind(ledger)
    rows = (f"{key},https://img.example/{key}.png,Slow pan,2,ltx-2.3" for key in "abc")
    (tmp_path / "spring.csv").write_text("\n".join(["row_key,image_path,prompt,end_seconds,model", *rows]))

    def planned(url: str) -> tuple[int, int, int]:
        said = in_process("plan", str(tmp_path / "spring.csv"), "--results", url, "--json")
        assert said.code == 0, said.err
        made = json.loads(said.out)
        return made["send"], made["in_doubt"], made["at_work"]

    assert planned(onlooker) == (1, 0, 2)
    assert planned(ledger.url.render_as_string(hide_password=False)) == (2, 1, 0)


def test_a_read_only_session_is_enough(ledger: Ledger) -> None:
    """As on a replica: whatever the role may do, the session writes nothing."""
    leave_rows_behind(ledger)
    stated = str(ledger.url.query["options"])
    read_only = ledger.url.update_query_dict({"options": f"{stated} -cdefault_transaction_read_only=on"})
    assert shown(in_process, read_only.render_as_string(hide_password=False))["sending"] == 1


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """A SQLite file with what a dead worker left, in a folder of its own, which can be removed in the end."""
    folder = tmp_path / "shared"
    folder.mkdir()
    path = folder / "spring 100% #1.db"
    with Ledger(f"sqlite:///{path}") as ledger:
        leave_rows_behind(ledger)
    yield path
    folder.chmod(0o755)


@pytest.mark.parametrize("folder_mode", [0o755, 0o555], ids=["file", "file and folder"])
def test_a_file_without_write_permission_is_looked_at(path: Path, folder_mode: int, tmp_path: Path) -> None:
    """`chmod 444`, in a folder that takes new files or not: status and export work, and say what is left."""
    path.chmod(0o444)
    path.parent.chmod(folder_mode)
    url = f"sqlite:///{path}"
    assert shown(without_rights, url) == {"sending": 1, "claimed": 1, "pending": 1}
    said = without_rights("export", str(tmp_path / "x.jsonl"), "--results", url)
    assert (said.code, said.err.count(LEFT)) == (0, 1), said.err
    assert len((tmp_path / "x.jsonl").read_text().splitlines()) == 3


def test_a_report_of_a_table_that_can_only_be_read_has_pictures(tmp_path: Path) -> None:
    """Thumbnails are kept beside the table, where that takes files."""
    folder = tmp_path / "shared"
    folder.mkdir()
    url = f"sqlite:///{folder / 'spring.db'}"
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    with Ledger(url) as ledger:
        load(ledger, [row(str(tmp_path / "a"), 1)])
    folder.chmod(0o555)
    try:
        said = without_rights("report", str(tmp_path / "spring.html"), "--results", url, "--json")
    finally:
        folder.chmod(0o755)
    assert said.code == 0, said.err
    assert json.loads(said.out)["pictures"] == 1


def test_answers_in_a_rescue_file_are_missed_and_that_is_said(path: Path) -> None:
    """A rescue file beside a table that can't be written stays there."""
    url = f"sqlite:///{path}"
    with Ledger(url) as ledger:
        worker = begin(ledger, "run-2")
        (row,) = worker.claim()
        RescueFile(ledger).keep([answer(worker.intend(row))])
    path.chmod(0o444)
    path.parent.chmod(0o555)
    said = without_rights("status", "--results", url)
    assert said.code == 0, said.err
    assert "and answers that are kept in a rescue file are missing" in said.err
    assert [file.suffix for file in path.parent.glob("*rescue*")] == [".jsonl"]
