"""What is seen while a run goes on: the plan once, the progress line on a line of its own, videos out of how many."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from proof.wheel import as_from_a_wheel
from terminal import environment, typed

from reelbatch.cli.confirm import Question
from reelbatch.cli.progress import ProgressLine
from reelbatch.cli.render import print_settled
from reelbatch.client import Client
from reelbatch.domain import RowKey
from reelbatch.ledger import Ledger
from reelbatch.pipeline.load_manifest import load
from reelbatch.pipeline.plan import GenerateOptions, Plan, plan
from reelbatch.settings import load_settings
from reelbatch.settle import SettleOptions, Settler, SettleStats

ROWS = """row_key,image_path,prompt,end_seconds,model,resolution
K1,https://img.example/1.jpg,Pan,2,ltx-2.3,480p
K2,,Pan,2,ltx-2.3,480p
"""


@pytest.fixture
def plans(tmp_path: Path) -> tuple[Plan, Plan]:
    """What is planned for a manifest with a problem, and what the run then finds."""
    (tmp_path / "spring.csv").write_text(ROWS)
    options = GenerateOptions(source=str(tmp_path / "spring.csv"))
    settings = load_settings(options={"results": f"sqlite:///{tmp_path}/r.db", "base_url": "http://127.0.0.1"})
    before = plan(options, settings)
    with Ledger(settings.results) as ledger:
        return before, load(options, settings, ledger)


def test_plan_and_problems_are_printed_once(plans: tuple[Plan, Plan], capsys: pytest.CaptureFixture[str]) -> None:
    """Not again after the question that has shown them; where nothing was asked, before anything is sent."""
    before, found = plans
    ProgressLine(Question("Send?", before), show_plan=True).planned(found)
    assert capsys.readouterr() == ("", "")
    ProgressLine(None, show_plan=True).planned(found)
    said = capsys.readouterr()
    assert ("as batch spring: 2 rows" in said.out, "1 problem in the manifest" in said.err) == (True, True)


def test_what_has_changed_since_the_question_is_printed(
    plans: tuple[Plan, Plan], capsys: pytest.CaptureFixture[str]
) -> None:
    """Fewer rows are sent than were agreed to without another question, but not without a word."""
    before, found = plans
    ProgressLine(Question("Send?", replace(before, send=7)), show_plan=True).planned(found)
    assert "as batch spring: 2 rows" in capsys.readouterr().out


def screen(shown: bytes) -> list[str]:
    """The lines that a terminal has shown in the end: what was erased is gone, colours too."""
    lines = [part.rpartition("\x1b[2K")[2].rpartition("\r")[2] for part in shown.decode().split("\r\n")]
    return [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line) for line in lines]


def test_the_progress_line_is_on_a_line_of_its_own(tmp_path: Path) -> None:
    """The plan that is printed while it is shown does not begin in the midst of it."""
    broken = "".join(f"N{number},,Pan,2,ltx-2.3,480p\n" for number in range(50_000))  # read while the line is drawn
    (tmp_path / "spring.csv").write_text(ROWS + broken)
    wheel = as_from_a_wheel(tmp_path / "lib")  # no Prefect has to start
    env = environment(tmp_path, TERM="xterm", COLUMNS="60", PYTHONPATH=str(wheel))
    table = f"sqlite:///{tmp_path}/r.db"
    code, shown = typed(
        tmp_path, env, "generate", "spring.csv", "--sandbox", "--results", table, begun=subprocess.Popen
    )
    assert code == 1
    assert b"reading the manifest" in shown
    lines = screen(shown)
    assert "spring.csv as batch spring: 50,002 rows" in lines
    assert "50,001 problems in the manifest:" in lines


@pytest.mark.parametrize(
    ("stats", "says"),
    [
        (SettleStats(outstanding=12), "0/12 videos · 0 complete"),
        (
            SettleStats(outstanding=1200, complete=7, error=1, downloaded=6),
            "8/1,200 videos · 7 complete · 1 failed · 6 downloaded",
        ),
        (SettleStats(outstanding=2, complete=3), "3/3 videos · 3 complete"),
    ],
    ids=str,
)
def test_videos_have_a_total(stats: SettleStats, says: str, tmp_path: Path) -> None:
    """As rows have; one that was sent meanwhile by another run counts as well."""
    line = ProgressLine(None, show_plan=False)
    with Ledger(f"sqlite:///{tmp_path}/r.db") as ledger:
        line.settling(settler := Settler(ledger, Client("key"), SettleOptions(batch=None)))
        settler.stats = stats
        assert line.text() == says


def test_nothing_to_wait_for_is_said_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    """Rather than with nine zeros."""
    print_settled(SettleStats())
    assert capsys.readouterr().out == "No videos are outstanding.\n"
    print_settled(SettleStats(outstanding=1, unsettled=1))
    assert "1 not finished" in capsys.readouterr().out


def test_what_did_not_work_is_counted_with_the_rest_and_said_why(capsys: pytest.CaptureFixture[str]) -> None:
    """A video that the API does not know, and one that could not be downloaded: not `0 downloaded` and no more."""
    stats = SettleStats(outstanding=2, complete=1, unsettled=1)
    stats.asked_in_vain(RowKey("TEA-001"), "status 404: Not Found")
    stats.download_failed(RowKey("MUG-002"), "the disk is full")
    print_settled(stats)
    said = capsys.readouterr()
    assert "1 not finished, 0 downloaded, 1 not downloaded\n" in said.out
    assert said.err == "TEA-001: not finished: status 404: Not Found\nMUG-002: not downloaded: the disk is full\n"
