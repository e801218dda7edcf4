"""What people expect of any command: -h, --version, completion, - for standard output, a path for a file, pipes."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import forked
import pyarrow.parquet as pq
import pytest
from commands import run_here
from sqlalchemy import update

from reelbatch.cli.app import app
from reelbatch.ledger import Ledger
from reelbatch.ledger.schema import generations
from reelbatch.pipeline.load_manifest import load
from reelbatch.pipeline.plan import GenerateOptions
from reelbatch.settings import load_settings

COMMANDS = [command.callback.__name__ for command in app.registered_commands if command.callback is not None]
WITHOUT_A_TABLE = {"init", "sandbox"}  # what they do has no table, and is no run


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A table of three rows in the folder `tables`; its folder's parent."""
    rows = [f"K{n},https://img.example/{n}.jpg,Pan,2,ltx-2.3,480p" for n in range(3)]
    manifest = tmp_path / "spring.csv"
    manifest.write_text("\n".join(["row_key,image_path,prompt,end_seconds,model,resolution", *rows]))
    (tmp_path / "tables").mkdir()
    settings = load_settings(options={"results": f"sqlite:///{tmp_path}/tables/x.db", "base_url": "http://127.0.0.1"})
    with Ledger(settings.results) as ledger:
        load(GenerateOptions(source=str(manifest)), settings, ledger)
        done = update(generations).values(state="complete", video_id="v")
        ledger.change(lambda connection: connection.execute(done))
    return tmp_path


def test_version(tmp_path: Path) -> None:
    """The installed one, on standard output."""
    assert run_here(tmp_path, "--version") == (0, f"reelbatch {version('reelbatch')}\n".encode(), b"")


@pytest.mark.parametrize("command", COMMANDS)
def test_h_is_help(command: str, tmp_path: Path) -> None:
    """Of each command, as --help is."""
    short, long = (run_here(tmp_path, command, option) for option in ("-h", "--help"))
    assert (short, short.code, b"Usage: reelbatch" in short.stdout) == (long, 0, True)


@pytest.mark.parametrize("command", sorted({*COMMANDS} - WITHOUT_A_TABLE))
def test_sandbox_is_an_option_of_every_command(command: str, tmp_path: Path) -> None:
    """So that a trial never meets the table of the real run."""
    assert "--sandbox" in run_here(tmp_path, command, "--help").out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_commands_and_options(shell: str, tmp_path: Path) -> None:
    """By the script that --show-completion prints, which asks the program itself."""
    asked = {"bash": ("reelbatch sta", "1"), "zsh": ("reelbatch sta", ""), "fish": ("reelbatch sta", "")}[shell]
    words = {"COMP_WORDS": asked[0], "COMP_CWORD": asked[1], "_TYPER_COMPLETE_ARGS": asked[0]}
    fish = {"_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    ran = run_here(tmp_path, _REELBATCH_COMPLETE=f"complete_{shell}", **words, **fish)
    assert (ran.code, "status" in ran.out) == (0, True), ran.err


def test_the_path_of_a_table_is_as_good_as_its_url(table: Path) -> None:
    """As an option, in the environment, and in a config file, from whose folder it starts."""
    by_url = run_here(table, "status", "--results", "sqlite:///tables/x.db")
    (table / "tables" / "near.yaml").write_text("results: ./x.db")
    assert "complete            3" in by_url.out
    assert run_here(table, "status", "--results", "tables/x.db") == by_url
    assert run_here(table, "status", REELBATCH_RESULTS="tables/x.db") == by_url
    assert run_here(table, "status", "--config", "tables/near.yaml") == by_url
    assert run_here(table, "status", "--results", str(table / "tables" / "x.db")) == by_url


@pytest.mark.parametrize("stated", ["nonsense", "user:word@host/database", "sqlite:x.db", "tables/x.db?timeout=3"])
def test_what_is_no_path_is_no_table_either(stated: str, table: Path) -> None:
    """Nothing is made in its place, and a password is not taken for a folder."""
    ran = run_here(table, "status", "--results", stated)
    assert (ran.code, "word" in ran.err) == (2, False)
    assert sorted(path.name for path in table.iterdir()) == ["spring.csv", "tables"]


@pytest.mark.parametrize("command", ["status", "export -", "spend", "runs", "rerun --dry-run", "reconcile"])
def test_blanks_around_a_batch_s_name_do_not_matter(command: str, table: Path) -> None:
    """Neither to a run, which leaves them out of the name that it makes, nor to a command that asks for it."""
    stated = (*command.split(), "--results", "tables/x.db", "--batch")
    assert run_here(table, *stated, " spring ") == run_here(table, *stated, "spring")
    assert run_here(table, *stated, " spring ").code == 0


def test_export_to_standard_output(table: Path) -> None:
    """The same bytes as in a file, and nothing else: CSV unless --format says otherwise."""
    to = ("--results", "tables/x.db")
    for suffix, options in ((".csv", []), (".jsonl", ["--format", "jsonl"])):
        run_here(table, "export", f"out{suffix}", *to)
        ran = run_here(table, "export", "-", *options, *to)
        assert ran == (0, (table / f"out{suffix}").read_bytes(), b"")
    ran = run_here(table, "export", "-", "--format", "parquet", *to)
    assert pq.read_table(io.BytesIO(ran.stdout)).column("row_key").to_pylist() == ["K0", "K1", "K2"]


@pytest.mark.parametrize("options", [["-", "--json"], ["-", "--excel"], ["a.csv", "--format", "csv"]], ids=" ".join)
def test_options_that_standard_output_has_no_place_for(options: list[str], table: Path) -> None:
    """Exit code 2, and nothing is written."""
    ran = run_here(table, "export", *options, "--results", "tables/x.db")
    assert (ran.code, ran.stdout, ran.err.startswith("Error: ")) == (2, b"", True)


@pytest.mark.parametrize(
    "arguments",
    [
        ["status", "--rows", "3"],
        ["status", "--json"],
        ["export", "-"],
        ["plan", "spring.csv"],
        ["--help"],
        ["plan", "--help"],
        [],
    ],
    ids=" ".join,
)
def test_a_pipe_that_no_one_reads_ends_as_other_tools_do(arguments: list[str], table: Path) -> None:
    """As by SIGPIPE: 141 and not a word, whichever of rich, Typer and Python meets it first."""
    reading, writing = os.pipe()
    os.close(reading)
    env = {**os.environ, "REELBATCH_RESULTS": "tables/x.db"}
    ran = forked.run(
        [sys.executable, "-m", "reelbatch", *arguments],
        cwd=table,
        env=env,
        stdout=writing,
        stderr=forked.PIPE,
        check=False,
    )
    os.close(writing)
    assert (ran.returncode, ran.stderr) == (141, b"")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("command", ["status --json", "plan spring.csv"])
def test_a_stream_that_was_closed_changes_no_exit_code(command: str, closed: str, table: Path) -> None:
    """As some supervisors start programs: what would be written there is written nowhere."""
    run = [sys.executable, "-m", "reelbatch", *command.split(), "--results", "tables/x.db"]
    shell = ["sh", "-c", f'exec "$@" {closed}', "sh", *run]
    ran = subprocess.run(shell, cwd=table, capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_a_variable_that_is_no_setting_is_an_error(tmp_path: Path) -> None:
    """Those aside that a cluster sets for a service of the name."""
    (tmp_path / "m.csv").write_text("image_path,prompt,end_seconds\nhttps://img.example/a.png,hello,5\n")
    wrong = run_here(tmp_path, "plan", "m.csv", REELBATCH_MAX_CREDIT="5")
    assert (wrong.code, "did you mean REELBATCH_MAX_CREDITS?" in wrong.err) == (2, True)
    cluster = {"REELBATCH_SERVICE_HOST": "10.0.0.1", "REELBATCH_SERVICE_PORT_HTTP": "80", "REELBATCH_PORT": "tcp://x"}
    assert run_here(tmp_path, "plan", "m.csv", **cluster).code == 0


@pytest.mark.parametrize("sandbox", [False, True])
def test_a_table_made_anew_is_said_with_its_whole_path(sandbox: bool, tmp_path: Path) -> None:
    """The sandbox's is a table of its own."""
    (tmp_path / "m.csv").write_text("image_path,prompt,end_seconds\nhttps://img.example/a.png,hello,5\n")
    ran = run_here(tmp_path, "plan", "m.csv", *(["--sandbox"] if sandbox else []))
    where = tmp_path / "results" / ("sandbox/reelbatch.db" if sandbox else "reelbatch.db")
    assert f"There is no results table yet; a new one will be made: {where}" in ran.out
    made = json.loads(run_here(tmp_path, "plan", "m.csv", "--json", *(["--sandbox"] if sandbox else [])).out)
    assert (made["results"], made["results_is_new"]) == (str(where), True)
