"""`status`: why rows failed, and the same again and again."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import forked
import pytest
from commands import run_here
from sqlalchemy import update
from terminal import typed

from reelbatch.cli.failures import why_nothing_was_sent
from reelbatch.cli.progress import ProgressLine
from reelbatch.ledger import Ledger
from reelbatch.ledger.schema import generations
from reelbatch.pipeline.generate import RunSteps, generate
from reelbatch.pipeline.plan import GenerateOptions
from reelbatch.pipeline.run_listener import listening
from reelbatch.sandbox import start
from reelbatch.settings import load_settings

HEADER = "row_key,image_path,prompt,end_seconds,model,resolution"
NOWHERE = "http://127.0.0.1:9"


def run(folder: Path, rows: list[str], **options: object) -> ProgressLine:
    """The core's own `generate` over a manifest of these rows, and what it told."""
    manifest = folder / "spring.csv"
    manifest.write_text("\n".join([HEADER, *rows]))
    settings = load_settings(options={"results": f"sqlite:///{folder}/r.db", "retry_attempts": 1, **options})
    token = listening.set(line := ProgressLine(None, show_plan=False))
    try:
        with Ledger(settings.results) as ledger:
            asyncio.run(generate(ledger, settings, GenerateOptions(source=str(manifest)), RunSteps()))
    finally:
        listening.reset(token)
    return line


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, ProgressLine]]:
    """Two rows that were rejected, one that is invalid, and later two that never left: folder and last run."""
    folder = tmp_path_factory.mktemp("failed")
    rows = [f"{key},https://img.example/{key}.jpg,Pan,2,ltx-2.3,480p" for key in ("A", "B")]
    rows.append("C,,Pan,2,ltx-2.3,480p")
    with pytest.MonkeyPatch.context() as patch, start(faults={"first": {"invalid": 9}}) as api:
        patch.setenv("MAGIC_HOUR_API_KEY", api.key)
        run(folder, rows, base_url=api.url)
        rows += [f"{key},https://img.example/{key}.jpg,Pan,2,ltx-2.3,480p" for key in ("D", "E")]
        yield folder, run(folder, rows, base_url=NOWHERE)


def test_each_reason_is_shown_with_how_often_and_whose(failed: tuple[Path, ProgressLine]) -> None:
    """The newest first, rows that were given back too, and at last what the manifest's checks found."""
    ran = run_here(failed[0], "status", "--results", "r.db", "--failed")
    lines = [line.strip() for line in ran.out.partition("credits")[2].partition("  last run")[0].splitlines()[1:]]
    assert [line.partition("  20")[0] for line in lines[::3]] == ["2 given back unsent", "2 rejected", "1 invalid"]
    assert lines[2::3] == ["D, E", "A, B", "C"]
    assert lines[1].startswith("not_connected: ")
    assert lines[4].startswith("http_422: ")


def test_machines_are_told_the_same(failed: tuple[Path, ProgressLine]) -> None:
    """`failures` of each batch; without --failed there is none."""
    whole, plain = (
        json.loads(run_here(failed[0], "status", "--results", "r.db", "--json", *more).out)["batches"][0]
        for more in (["--failed"], [])
    )
    found = [(each["state"], each["rows"], each["row_keys"]) for each in whole["failures"]]
    assert found == [("pending", 2, ["D", "E"]), ("rejected", 2, ["A", "B"]), ("invalid", 1, ["C"])]
    assert whole["failure_kinds"] == 3
    assert {*whole} - {*plain} == {"failures", "failure_kinds"}


def test_a_run_that_sent_nothing_says_why(failed: tuple[Path, ProgressLine]) -> None:
    """With the reason of the rows that it gave back."""
    line = failed[1]
    assert line.summary is not None
    report = line.summary.report
    assert report.sent == 0
    reasons = why_nothing_was_sent(report, line.given_back)
    assert report.message or reasons[0].startswith("2 given back unsent: not_connected: ")


def test_a_video_of_which_the_api_does_not_speak_is_listed_with_why(tmp_path: Path) -> None:
    """As `settle` says it: the row stays queued, which alone would be no reason."""
    with pytest.MonkeyPatch.context() as patch, start() as api:
        patch.setenv("MAGIC_HOUR_API_KEY", api.key)
        run(tmp_path, ["A,https://img.example/A.jpg,Pan,2,ltx-2.3,480p"], base_url=api.url)
        with Ledger(f"sqlite:///{tmp_path}/r.db") as ledger:
            lost = update(generations).values(video_id="vid-lost")
            ledger.change(lambda connection: connection.execute(lost))
        stated = {"REELBATCH_POLL_INTERVAL_S": "0.05", "MAGIC_HOUR_API_KEY": api.key, "REELBATCH_BASE_URL": api.url}
        settled = run_here(tmp_path, "settle", "--results", "r.db", "--json", **stated)
    (why,) = json.loads(settled.out)["refused"].values()
    shown = run_here(tmp_path, "status", "--results", "r.db", "--failed", COLUMNS="200").out
    assert "1 not finished\n" in shown
    assert f"http_404: {why}" in shown


@pytest.mark.parametrize("command", ["status", "runs", "export a.csv", "rerun --dry-run", "settle", "reconcile"])
@pytest.mark.parametrize("held", ["", "CREATE TABLE t (a); DROP TABLE t"], ids=["empty", "dropped"])
def test_an_empty_file_is_no_table_and_stays_empty(command: str, held: str, tmp_path: Path) -> None:
    """As `touch` makes one before the first run, so that its mode is stated; only a run makes a table of it."""
    table = tmp_path / "r.db"
    with closing(sqlite3.connect(table)) as connection:
        connection.executescript(held)
    before = table.read_bytes()
    ran = run_here(tmp_path, *command.split(), "--results", "r.db", MAGIC_HOUR_API_KEY="of-no-one")
    assert (ran.code, ran.out) == (2, "")
    assert f"{table}: is empty. `reelbatch generate MANIFEST --results sqlite:///r.db` makes the table" in ran.err
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("r.db", before)]
    (tmp_path / "spring.csv").write_text(f"{HEADER}\nA,https://img.example/A.jpg,Pan,2,ltx-2.3,480p\n")
    assert run_here(tmp_path, "plan", "spring.csv", "--results", "r.db").code == 0
    assert table.read_bytes() == before
    run(tmp_path, ["A,https://img.example/A.jpg,Pan,2,ltx-2.3,480p"], base_url=NOWHERE, api_key="of-no-one")
    assert run_here(tmp_path, "status", "--results", "r.db").code == 0


@pytest.mark.parametrize("columns", [60, 80])
def test_reasons_fit_a_narrow_screen(failed: tuple[Path, ProgressLine], columns: int) -> None:
    """Long ones go on below where they began."""
    lines = run_here(failed[0], "status", "--results", "r.db", "--failed", COLUMNS=str(columns)).out.splitlines()
    *whole, step = lines
    assert step.startswith("→ reelbatch generate ")  # a command is not broken
    assert max(map(len, whole)) <= columns


def test_watch_shows_block_after_block_until_ctrl_c(failed: tuple[Path, ProgressLine]) -> None:
    """Where there is no terminal; Ctrl-C ends it with 130, and without a traceback."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("REELBATCH_")}
    process = forked.Popen(
        [sys.executable, "-m", "reelbatch", "status", "--results", "r.db", "--watch", "--interval", "0.1"],
        cwd=failed[0],
        env=kept,
        stdout=forked.PIPE,
        stderr=forked.PIPE,
        text=True,
    )
    assert process.stdout is not None
    blocks = 0
    for line in process.stdout:
        blocks += line == "spring: 5 rows\n"
        if blocks == 2:
            break
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[1] == ""
    assert (blocks, process.returncode) == (2, 130)


@pytest.mark.parametrize(("term", "clears"), [("xterm", True), ("dumb", False)])
def test_watch_clears_the_screen_where_that_can_be(
    failed: tuple[Path, ProgressLine], term: str, clears: bool
) -> None:
    """A dumb terminal would show the signs for it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("REELBATCH_")}
    stated = ("status", "--results", "r.db", "--watch", "--interval", "0.1")
    _, shown = typed(failed[0], {**kept, "TERM": term}, *stated, interrupted_at=b"spring")
    assert (b"\x1b[2J" in shown) == clears


def test_watch_and_one_json_object_do_not_go_together(failed: tuple[Path, ProgressLine]) -> None:
    """Exit code 2, and says which to leave out."""
    ran = run_here(failed[0], "status", "--results", "r.db", "--watch", "--json")
    assert (ran.code, "--watch" in ran.err) == (2, True)
