"""Key and account are checked before the question and before Prefect starts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import run_here
from sqlalchemy import update

from reelbatch.domain import Batch
from reelbatch.ledger import Ledger, runs
from reelbatch.ledger.accounts import Payer
from reelbatch.ledger.schema import generations
from reelbatch.pipeline.load_manifest import load
from reelbatch.pipeline.plan import GenerateOptions
from reelbatch.sandbox import RunningSandbox, start
from reelbatch.settings import load_settings

ROWS = "image_path,prompt,end_seconds\nhttps://img.example/a.png,hello,5\n"
COMMANDS = (["generate", "m.csv"], ["rerun"], ["settle"])


@pytest.fixture(scope="module")
def api() -> Iterator[RunningSandbox]:
    """An API with one key and one account."""
    with start() as running:
        yield running


def made(folder: Path, account: str | None = None) -> Path:
    """A folder with a manifest, and with a table in which its row is queued."""
    (folder / "m.csv").write_text(ROWS)
    settings = load_settings(options={"results": f"sqlite:///{folder}/r.db", "base_url": "http://127.0.0.1"})
    with Ledger(settings.results) as ledger:
        ledger.change(lambda connection: runs.open_batch(connection, Batch("m"), Payer("local", account), "."))
        load(GenerateOptions(source=str(folder / "m.csv")), settings, ledger)
        queued = update(generations).values(state="queued", video_id="v")
        ledger.change(lambda connection: connection.execute(queued))
    return folder


def asked(api: RunningSandbox) -> dict[str, int]:
    """What the API was asked so far, by kind."""
    return dict(api.books()["requests"])


@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: words[0])
def test_a_bad_key_is_refused_before_anything_begins(command: list[str], api: RunningSandbox, tmp_path: Path) -> None:
    """Exit code 3 at once: nothing of Prefect, no table, no question that a key is needed for."""
    made(tmp_path)
    before = asked(api)
    where = ("--base-url", api.url, "--results", "r.db")
    ran = run_here(tmp_path, *command, *where, MAGIC_HOUR_API_KEY="wrong")
    assert (ran.code, ran.stdout, "Check MAGIC_HOUR_API_KEY" in ran.err) == (3, b"", True), ran.err
    assert asked(api) == before  # which counts no question without the right key
    assert not (tmp_path / "prefect").exists()
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith("r.db")) == ["m.csv"]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: words[0])
def test_machines_are_told_of_a_bad_key(command: list[str], api: RunningSandbox, tmp_path: Path) -> None:
    """One JSON object, with the keys that it has after a run or settle that found nothing to do."""
    made(tmp_path)
    where = ("--base-url", api.url, "--results", "r.db", "--json")
    ran = run_here(tmp_path, *command, *where, MAGIC_HOUR_API_KEY="wrong")
    said = json.loads(ran.out)
    reason = said["reason"] if command == ["settle"] else said["exit_reason"]
    assert (ran.code, reason) == (3, "bad_key")
    with Ledger(f"sqlite:///{tmp_path}/r.db") as ledger:
        complete = update(generations).values(state="complete")
        ledger.change(lambda connection: connection.execute(complete))
    usual = json.loads(run_here(tmp_path, *command, *where, MAGIC_HOUR_API_KEY=api.key).out)
    assert [*said] == [*usual]


def test_machines_are_told_of_a_bad_key_before_there_is_a_table(api: RunningSandbox, tmp_path: Path) -> None:
    """No table is made for it."""
    (tmp_path / "m.csv").write_text(ROWS)
    where = ("--base-url", api.url, "--results", "r.db", "--json")
    said = json.loads(run_here(tmp_path, "generate", "m.csv", *where, MAGIC_HOUR_API_KEY="wrong").out)
    assert (said["exit_reason"], said["rows"], said["run_id"]) == ("bad_key", 0, None)
    assert not (tmp_path / "r.db").exists()


def test_a_plan_that_asks_about_the_account_says_what_to_do_about_a_bad_key(
    api: RunningSandbox, tmp_path: Path
) -> None:
    """Exit code 2: this plan can't be made, one without the question can."""
    made(tmp_path)
    where = ("--base-url", api.url, "--results", "r.db")
    ran = run_here(tmp_path, "plan", "m.csv", "--account", *where, MAGIC_HOUR_API_KEY="wrong")
    assert (ran.code, "Check MAGIC_HOUR_API_KEY, or leave --account out" in ran.err) == (2, True), ran.err


@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: words[0])
def test_no_key_is_said_before_anything_begins(command: list[str], api: RunningSandbox, tmp_path: Path) -> None:
    """Exit code 2, and the API is not asked."""
    made(tmp_path)
    before = asked(api)
    ran = run_here(tmp_path, *command, "--base-url", api.url, "--results", "r.db")
    assert (ran.code, "There is no API key" in ran.err) == (2, True), ran.err
    assert (asked(api), (tmp_path / "prefect").exists()) == (before, False)


@pytest.mark.parametrize("command", COMMANDS[:2], ids=lambda words: words[0])
def test_the_batch_of_another_account_is_left_alone(command: list[str], api: RunningSandbox, tmp_path: Path) -> None:
    """Exit code 2 before the question, with both accounts named."""
    made(tmp_path, account="acc_of_someone_else")
    where = ("--base-url", api.url, "--results", "r.db")
    ran = run_here(tmp_path, *command, *where, MAGIC_HOUR_API_KEY=api.key)
    assert (ran.code, "belongs to account acc_of_someone_else" in ran.err) == (2, True), ran.err
    assert not (tmp_path / "prefect").exists()
