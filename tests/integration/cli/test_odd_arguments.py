"""Arguments of the wrong kind: each ends with a message and exit code 2, none with a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import forked
import pandas as pd
import pytest
from commands import run_here
from typer.main import get_command

from reelbatch.cli.app import app
from reelbatch.ledger import Ledger

LARGE = "1" + "0" * 30


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a manifest and an empty results table."""
    manifest = "row_key,image_path,prompt,end_seconds\na,https://img.example/a.jpg,Pan,2\n"
    (tmp_path / "spring.csv").write_text(manifest)
    with Ledger(f"sqlite:///{tmp_path}/x.db"):
        pass
    return tmp_path


@pytest.mark.parametrize(
    "arguments",
    [
        *(("plan", "spring.csv", option, LARGE) for option in ("--limit", "--rate", "--max-credits", "--pilot")),
        *(("generate", "spring.csv", "--yes", option, LARGE) for option in ("--limit", "--rate", "--max-credits")),
        *(("rerun", "--yes", option, LARGE) for option in ("--limit", "--rate", "--max-credits")),
        *(("status", "--watch", "--interval", seconds) for seconds in ("inf", "nan", "1e300")),
        *(("init", "spring.csv", "--seconds", seconds) for seconds in ("inf", "nan", "1e300", "-1", "0")),
        ("status", "--rows", LARGE),
        ("runs", "--last", LARGE),
        ("review", "--port", "99999"),
        ("webhook", "--port", "-1"),
    ],
    ids=" ".join,
)
def test_a_number_out_of_all_bounds_is_refused(arguments: tuple[str, ...], folder: Path) -> None:
    """Before a database or a clock is asked for what it can't hold."""
    ran = run_here(folder, *arguments, REELBATCH_RESULTS="x.db")
    assert (ran.code, "Traceback" in ran.err) == (2, False), ran.err
    assert "than or equal to" in ran.err


@pytest.mark.parametrize("command", ["init", "plan spring.csv", "status", "export x.csv", "doctor", "sandbox"])
def test_a_folder_that_was_removed_is_said(command: str, tmp_path: Path) -> None:
    """Where a shell stands in one; what needs no folder still works."""
    code = (
        "import os, sys, tempfile; folder = tempfile.mkdtemp(); os.chdir(folder); os.rmdir(folder); "
        "from reelbatch.cli import main; sys.argv = ['reelbatch', *sys.argv[1:]]; main()"
    )
    asked = [sys.executable, "-c", code]
    options = {"cwd": tmp_path, "stdout": forked.PIPE, "stderr": forked.PIPE, "check": False}
    ran = forked.run([*asked, *command.split()], **options)
    assert (ran.returncode, ran.stderr) == (
        2,
        b"Error: The current folder is not there any more: change to another one.\n",
    )
    assert forked.run([*asked, "--help"], **options).returncode == 0


@pytest.mark.parametrize(
    ("results", "why"),
    [
        (".", "is a folder"),
        ("/", "is a folder"),
        ("n" * 300 + ".db", "name too long"),
    ],
    ids=["here", "root", "long"],
)
@pytest.mark.parametrize("command", ["status", "plan spring.csv", "doctor"])
def test_a_results_table_that_can_be_no_file(command: str, results: str, why: str, folder: Path) -> None:
    """A folder, a name that no file has."""
    ran = run_here(folder, *command.split(), "--results", f"sqlite:///{results}")
    assert "Traceback" not in ran.err
    assert why in f"{ran.out}{ran.err}".lower()


@pytest.mark.parametrize(
    "command", ["status", "settle", "export x.csv", "reconcile", "plan spring.csv", "rerun --yes"]
)
@pytest.mark.parametrize(
    "results", ["sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite:///file:x?mode=memory&uri=true"]
)
def test_a_results_table_in_memory_is_refused(command: str, results: str, folder: Path) -> None:
    """It would be gone with the command; what to write in its place is said."""
    ran = run_here(folder, *command.split(), "--results", results, MAGIC_HOUR_API_KEY="k")
    assert ran.code == 2
    assert "names no file" in ran.err
    assert "sqlite:///results/reelbatch.db" in ran.err


@pytest.mark.parametrize(
    ("command", "why"),
    [
        *(
            (f"{command} --yes --rows=,", "--rows names no row")
            for command in ("plan spring.csv --regenerate=all", "generate spring.csv --regenerate=all", "rerun")
        ),
        ("rerun --yes --rows-from empty.txt", "--rows-from empty.txt: names no row"),
        ("rerun --yes --state=,", "--state names nothing"),
        ("rerun --yes --error-code=,", "--error-code names nothing"),
        ("spend --since 2026-02-01 --until 2026-01-31", "--since 2026-02-01 is after --until 2026-01-31"),
        ("batches --archive a --unarchive a", "name the same batch"),
        ("init spring.csv --key=,", "--key names no column"),
    ],
)
def test_what_names_nothing_or_contradicts_itself_is_refused(command: str, why: str, folder: Path) -> None:
    """A list of nothing is not the absence of one: it never means all, nor no row."""
    (folder / "empty.txt").touch()
    ran = run_here(folder, *command.split(), REELBATCH_RESULTS="x.db", MAGIC_HOUR_API_KEY="k")
    if command.startswith("init"):
        ran = run_here(folder, *command.split())
    assert (ran.code, why in ran.err) == (2, True), ran.err


@pytest.mark.parametrize("name", [command.callback.__name__ for command in app.registered_commands])
def test_an_empty_value_is_refused_by_every_command(name: str, tmp_path: Path) -> None:
    """As an unset variable leaves it: it never means all, nor the default, nor the current folder."""
    params = get_command(app).commands[name].params
    options = [each.opts[0] for each in params if not getattr(each, "is_flag", True)]
    for option in options:
        for words in ([option, ""], [option, " "], [f"{option}="]):
            said = run_here(tmp_path, name, *words)
            assert (said.code, said.err) == (2, f"Error: {option} is empty: state a value, or leave it out.\n")
    assert run_here(tmp_path, name, "").err == "Error: An argument is empty: state a value, or leave it out.\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["spring.csv", "./spring.csv"])
def test_a_manifest_is_not_replaced_by_its_own_export(path: str, folder: Path) -> None:
    """By plan and generate alike, before anything is sent; so is a name whose ending says no format."""
    before = (folder / "spring.csv").read_text()
    for command in (["plan", "spring.csv"], ["generate", "spring.csv", "--yes"]):
        for export, why in (
            (path, "is the manifest, which would be replaced"),
            ("x.txt", "the ending says the format"),
        ):
            ran = run_here(folder, *command, "--export", export, MAGIC_HOUR_API_KEY="k", REELBATCH_RESULTS="x.db")
            assert (ran.code, why in ran.err) == (2, True)
    assert (folder / "spring.csv").read_text() == before


def test_a_manifest_that_lies_where_its_results_go_is_refused(folder: Path) -> None:
    """Beside the table, under the batch's name: before anything is sent, and not where another file is stated."""
    pd.read_csv(folder / "spring.csv").to_parquet(folder / "spring.parquet")
    before = (folder / "spring.parquet").read_bytes()
    env = {"MAGIC_HOUR_API_KEY": "k", "REELBATCH_RESULTS": "x.db"}
    for command in ("plan", "generate"):
        ran = run_here(folder, command, "spring.parquet", "--yes", **env)
        assert (ran.code, "State another file with --export" in ran.err) == (2, True), ran.err
    for more in (["--export", "out.parquet"], ["--batch", "other"]):
        assert run_here(folder, "plan", "spring.parquet", *more, **env).code == 0
    assert (folder / "spring.parquet").read_bytes() == before


@pytest.mark.parametrize("place", ["spring.csv/r.db", "/proc/r.db", "/proc/none/r.db"])
def test_a_plan_says_where_no_results_table_can_be_made(place: str, folder: Path) -> None:
    """And so does doctor; neither leaves anything behind."""
    before = sorted(folder.iterdir())
    ran = run_here(folder, "plan", "spring.csv", "--results", f"sqlite:///{place}")
    assert (ran.code, f"--results {place}: can't be made" in ran.err) == (2, True)
    doctor = json.loads(run_here(folder, "doctor", "--json", "--results", f"sqlite:///{place}").out)
    (said,) = (check for check in doctor["checks"] if check["name"] == "results table")
    assert said["health"] == "problem"
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_json_is_json_whatever_letters_standard_output_has(encoding: str, tmp_path: Path) -> None:
    """And text for people ends in no error; with a process, since it is its start that reads the encoding."""
    (tmp_path / "é見😀.csv").write_text(
        "row_key,image_path,prompt,end_seconds\né見😀,https://i.example/é.jpg,Pan é,2\n"
    )
    env = {**os.environ, "PYTHONIOENCODING": encoding}
    command = [sys.executable, "-m", "reelbatch", "plan", "é見😀.csv"]
    asked, told = (
        subprocess.run([*command, *more], cwd=tmp_path, env=env, capture_output=True, check=False)
        for more in (["--json"], [])
    )
    assert (asked.returncode, told.returncode, b"Traceback" in told.stderr) == (0, 0, False)
    assert json.loads(asked.stdout)["batch"] == "é見😀"
    assert ("é" in told.stdout.decode(encoding)) is (encoding != "ascii")


def test_a_csv_on_standard_output_is_not_mixed_with_json(folder: Path) -> None:
    """One of them has to go elsewhere."""
    ran = run_here(folder, "spend", "--csv", "-", "--json", "--results", "x.db")
    assert (ran.code, ran.stdout) == (2, b"")
    assert "leave one of them out" in ran.err


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("init", "n" * 300 + ".csv"), "there is no such file or folder"),
        (("reconcile", "--csv", "."), "is a folder"),
        (("reconcile", "--csv", "/"), "is a folder"),
        (("spend", "--csv", "."), "can't be written"),
        (("export", "n" * 300 + ".csv"), "can't be written"),
        (("generate", "spring.csv", "--results", "n" * 300 + ".db"), "name too long"),
        (("generate", "spring.csv", "--yes", "--export", "n" * 300 + ".csv", "--batch=."), '--batch "."'),
        *(((command, "spring.csv", "--batch", "é" * 101), "more than 200 bytes") for command in ("plan", "generate")),
        (("rerun", "--rows-from", "."), "can't be read: Is a directory"),
    ],
    ids=lambda each: " ".join(each)[:30],
)
def test_a_path_that_can_be_no_file(arguments: tuple[str, ...], why: str, folder: Path) -> None:
    """To read, or to write."""
    ran = run_here(folder, *arguments, REELBATCH_RESULTS="x.db", MAGIC_HOUR_API_KEY="k")
    assert (ran.code, why in ran.err.lower() or why in ran.err) == (2, True), ran.err


@pytest.mark.parametrize("command", ["plan", "generate --yes"])
@pytest.mark.parametrize("place", ["caf\udce9.csv", "caf\udce9/m.csv"], ids=["file", "folder"])
def test_a_path_that_is_no_utf_8(place: str, command: str, folder: Path) -> None:
    """As on a disk of another system: neither a table nor Prefect can hold it, and nothing is sent or made."""
    manifest = folder / place
    manifest.parent.mkdir(exist_ok=True)
    manifest.write_bytes((folder / "spring.csv").read_bytes())
    here = {"--batch": "x", "--results": f"sqlite:///{folder}/new.db"}
    options = [word for pair in here.items() for word in pair]
    for stated, where in ((manifest, folder), (manifest.name, manifest.parent)):
        ran = run_here(where, *command.split(), stated, *options, MAGIC_HOUR_API_KEY="k")
        assert (ran.code, "is no UTF-8" in ran.err) == (2, True), ran.err
    assert not (folder / "new.db").exists()


def test_what_is_no_file_is_never_replaced_by_one(folder: Path) -> None:
    """A device or a pipe under the name of an export stays what it is."""
    os.mkfifo(folder / "pipe.csv")
    for command in (("spend", "--csv", "pipe.csv"), ("export", "pipe.csv")):
        ran = run_here(folder, *command, REELBATCH_RESULTS="x.db")
        assert (ran.code, "not a file" in ran.err) == (2, True), ran.err
        assert (folder / "pipe.csv").is_fifo()


def test_authorities_that_can_t_be_read_are_said_before_prefect_reads_them(folder: Path) -> None:
    """Prefect told it in a traceback, and the error came after that."""
    ran = run_here(folder, "generate", "spring.csv", "--sandbox", "--yes", SSL_CERT_FILE="/nowhere.pem")
    assert (ran.code, "SSL_CERT_FILE: /nowhere.pem" in ran.err, "Traceback" in ran.err) == (2, True, False), ran.err


@pytest.mark.parametrize(
    ("sandbox", "why"),
    [
        ("{latencyms: 4}", "latencyms: there is no such setting"),
        ("{faults: {every: {servererror: 2}}}", "faults.every"),
        ("{subscription: {price: 19}}", "subscription.price"),
    ],
)
def test_a_mistake_in_the_sandbox_s_settings_is_said(sandbox: str, why: str, folder: Path) -> None:
    """Before the sandbox starts, as for every setting."""
    (folder / "reelbatch.yaml").write_text(f"sandbox: {sandbox}\n")
    for command in ("plan", "generate"):
        ran = run_here(folder, command, "spring.csv", "--sandbox", "--yes")
        assert (ran.code, why in ran.err, "Traceback" in ran.err) == (2, True, False), ran.err
