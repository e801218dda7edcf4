"""Every command sees the same results table, wherever one stands; the sandbox has one of its own."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from commands import run_here

import reelbatch
from reelbatch.cli import main
from reelbatch.domain import Batch
from reelbatch.ledger import Ledger, runs
from reelbatch.ledger.accounts import Payer

MANIFEST = Path(__file__).parents[3] / "data" / "catalogue.csv"
Run = Callable[..., tuple[int, str, str]]
EVERY_COMMAND = (
    ["plan", str(MANIFEST)],
    ["generate", str(MANIFEST)],
    ["rerun"],
    ["settle"],
    ["status"],
    ["export", "out.csv"],
    ["reconcile"],
    ["webhook"],
)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """A command in an empty folder, without any setting of this machine: exit code, standard output and error."""
    for name in os.environ:
        if name.startswith(("REELBATCH_", "MAGIC_HOUR")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["reelbatch", *arguments])
        with pytest.raises(SystemExit) as left:
            main()
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return int(left.value.code or 0), said.out, said.err

    return run


def _table_with(api: str, path: Path) -> str:
    """A results table whose one batch belongs to `api`."""
    url = f"sqlite:///{path}"
    with Ledger(url) as ledger:
        ledger.change(lambda connection: runs.open_batch(connection, Batch("spring"), Payer(api), "."))
    return url


def test_the_settings_file_of_a_project_counts_in_its_subfolders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    """Its table is the same from everywhere, and it is said which one; standard output stays one JSON object."""
    (tmp_path / "reelbatch.yaml").write_text("results: sqlite:///tables/r.db\n")
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    for folder in (tmp_path, below):
        monkeypatch.chdir(folder)
        code, out, _ = run("plan", str(MANIFEST), "--json")
        assert (code, json.loads(out)["results"]) == (0, str(tmp_path / "tables" / "r.db"))


def test_which_settings_file_was_found_is_said_once(tmp_path: Path, run: Run) -> None:
    """On standard error, with what it states of API and table."""
    (tmp_path / "reelbatch.yaml").write_text("results: sqlite:///r.db\nbase_url: http://127.0.0.1:9\n")
    _, _, said = run("plan", str(MANIFEST), "--json")
    stated = f"base_url: http://127.0.0.1:9, results: sqlite:///{tmp_path}/r.db"
    assert said.splitlines() == [f"Settings from {tmp_path}/reelbatch.yaml ({stated})"]


def test_a_password_in_a_settings_file_is_not_shown(tmp_path: Path, run: Run) -> None:
    """Neither where the file is named nor in what becomes of it."""
    (tmp_path / "reelbatch.yaml").write_text("results: postgresql://me:marked-4711@127.0.0.1:1/reel\n")
    code, out, said = run("status")
    assert (code, "postgresql+psycopg://me:***@127.0.0.1:1/reel" in said) == (2, True), said
    assert "marked-4711" not in out + said


def test_a_settings_file_does_not_send_the_key_to_a_stranger(tmp_path: Path, run: Run) -> None:
    """A file that was found may name the vendor or this machine; any other address needs --config."""
    (tmp_path / "reelbatch.yaml").write_text("base_url: https://api.example.com\n")
    code, _, said = run("plan", str(MANIFEST))
    assert (code, f"--config {tmp_path}/reelbatch.yaml" in said) == (2, True), said
    assert run("plan", str(MANIFEST), "--config", "reelbatch.yaml")[0] == 0


def test_the_sandbox_by_itself_finds_its_settings_too(tmp_path: Path, run: Run) -> None:
    """Those of the section `sandbox`; a file without one is none of its business."""
    (tmp_path / "reelbatch.yaml").write_text("sandbox: {port: 99999}\n")
    code, _, said = run("sandbox", "--latency-ms", "-1")  # wrong too, so that no sandbox is ever served here
    assert (code, f"{tmp_path}/reelbatch.yaml: port: " in said) == (2, True), said
    (tmp_path / "reelbatch.yaml").write_text("concurrency: 3\n")
    code, _, said = run("sandbox", "--port", "99999")
    assert (code, "concurrency" in said) == (2, False), said


@pytest.mark.parametrize("command", EVERY_COMMAND, ids=lambda words: words[0])
def test_a_misspelt_variable_is_an_error(command: list[str], run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cap with a slip in its name would be no cap."""
    monkeypatch.setenv("REELBATCH_MAX_CREDIT", "700")
    code, _, said = run(*command)
    assert code == 2
    assert "REELBATCH_MAX_CREDIT: there is no such setting; did you mean REELBATCH_MAX_CREDITS?" in said


def test_a_table_that_will_be_made_is_said_with_its_whole_path(tmp_path: Path, run: Run) -> None:
    """Anyone who stands in the wrong folder sees it before anything is paid for again."""
    code, out, _ = run("plan", str(MANIFEST))
    assert (code, f"a new one will be made: {tmp_path}/results/reelbatch.db" in out) == (0, True), out
    known = json.loads(run("plan", str(MANIFEST), "--json")[1])
    assert (known["results"], known["results_is_new"]) == (f"{tmp_path}/results/reelbatch.db", True)
    assert list(tmp_path.iterdir()) == []


def test_a_table_that_is_there_needs_no_notice(tmp_path: Path, run: Run) -> None:
    """Only what is new is said."""
    url = _table_with("local", tmp_path / "r.db")
    _, out, said = run("plan", str(MANIFEST), "--results", url)
    assert "will be made" not in out + said
    known = json.loads(run("plan", str(MANIFEST), "--results", url, "--json")[1])
    assert (known["results"], known["results_is_new"]) == (f"{tmp_path}/r.db", False)


@pytest.mark.parametrize("command", EVERY_COMMAND, ids=lambda words: words[0])
def test_the_sandbox_keeps_out_of_a_table_with_live_rows(command: list[str], tmp_path: Path, run: Run) -> None:
    """`--results` wins over the sandbox's own table, but not where something was paid for."""
    url = _table_with("api.magichour.ai", tmp_path / "r.db")
    code, _, said = run(*command, "--sandbox", "--results", url)
    assert (code, 'holds live rows (batch "spring" of api.magichour.ai)' in said) == (2, True), said


def test_a_trial_does_not_stand_in_the_way_of_the_real_run(tmp_path: Path, run: Run) -> None:
    """What the sandbox sent is in its own table, which every command sees with --sandbox and none without."""
    reelbatch.generate(MANIFEST, sandbox=True, limit=1)
    own = tmp_path / "results" / "sandbox"
    assert {"reelbatch.db", "books.db"} <= {path.name for path in own.iterdir()}
    assert not (own / "sandbox").exists()
    assert json.loads(run("plan", str(MANIFEST), "--json")[1])["send"] == 12
    assert json.loads(run("plan", str(MANIFEST), "--sandbox", "--json")[1])["skip"] == 1
    (batch,) = json.loads(run("status", "--sandbox", "--json")[1])["batches"]
    assert batch["states"]["queued"] + batch["states"]["complete"] == 1
    code, _, said = run("status")
    assert (code, "What --sandbox made is seen with --sandbox." in said) == (2, True), said
    assert run("export", "out.csv", "--sandbox", "--json")[0] == 0
    assert not (tmp_path / "results" / "reelbatch.db").exists()


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ("sqlite:///t/r.db", "t/sandbox/reelbatch.db"),
        ("postgresql://db.example.com/reel", "results/sandbox/reelbatch.db"),
    ],
    ids=["SQLite", "Postgres"],
)
def test_the_real_table_of_the_environment_is_not_the_sandboxs(
    results: str, expected: str, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the option states a table for the sandbox."""
    monkeypatch.setenv("REELBATCH_RESULTS", results)
    plan = json.loads(run("plan", str(MANIFEST), "--sandbox", "--json")[1])
    assert plan["results"] == str(tmp_path / expected)
    stated = json.loads(run("plan", str(MANIFEST), "--sandbox", "--results", "sqlite:///x.db", "--json")[1])
    assert stated["results"] == str(tmp_path / "x.db")


def test_json_at_a_terminal_does_not_spend_without_a_yes(tmp_path: Path) -> None:
    """There is someone to ask, but no place for the question."""
    _table_with("api.example.invalid", tmp_path / "r.db")
    where = ["--base-url", "https://api.example.invalid", "--results", "sqlite:///r.db"]
    terminal, other_end = os.openpty()
    with closing(os.fdopen(terminal, "rb")), closing(os.fdopen(other_end, encoding="utf-8")) as stdin:
        for command in (["generate", str(MANIFEST)], ["rerun"]):
            done = run_here(tmp_path, *command, *where, "--json", stdin=stdin, MAGIC_HOUR_API_KEY="of-no one")
            assert (done.code, done.out) == (2, ""), done.err
            assert "Add --yes" in done.err
