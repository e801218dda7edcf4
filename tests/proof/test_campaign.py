"""The runner itself: a handful of points for real, and what it says of a violation."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from proof.campaign import known_points, summary
from proof.runs import Found

TESTS = Path(__file__).parents[1]


@pytest.mark.slow
def test_a_handful_of_points() -> None:
    """Commands are killed and typed again, on a real table and against a real API, and nothing is wrong."""
    chosen = ["--databases", "sqlite", "--scenarios", "undo,rescued", "--strides", "sqlite=4", "--kinds", "kill,EIO"]
    done = subprocess.run(
        [sys.executable, "-m", "proof", *chosen],
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert done.stdout.splitlines()[-1].startswith("proof: ")
    assert " 2 scenarios, " in done.stdout
    assert " 0 violations, " in done.stdout


def test_a_violation_is_named_and_can_be_made_once_more(capsys: pytest.CaptureFixture[str]) -> None:
    """Scenario, database, number and name of the point, what was wrong, and what to type."""
    wrong = Found(
        "generate", "sqlite", ("kill@2",), True, ["table.open", "table.commit"], [], ["row a is left sending"]
    )
    sound = Found("settle", "sqlite", ("kill@1",), True, ["table.open"])
    assert summary([wrong, sound], [], 7) == 1
    assert capsys.readouterr().out.splitlines() == [
        "generate on sqlite, kill@2 (point 2 table.commit): row a is left sending",
        "  once more: make proof-one RUN=generate:sqlite:kill@2",
        "proof: 2 points (2 kill), 0 pairs, 2 scenarios, 2 runs, 0 names, 1 violations, 7 s",
    ]
    assert summary([sound], [], 7) == 0


def test_a_point_that_no_scenario_passes_is_a_violation(capsys: pytest.CaptureFixture[str]) -> None:
    """Otherwise the list would promise more than is tried."""
    seen = known_points()
    assert summary([Found("generate", "sqlite", ("kill@1",), seen=seen)], seen, 1) == 0
    assert summary([Found("generate", "sqlite", ("kill@1",), seen=seen[1:])], seen, 1) == 1
    assert f"no scenario passes the point {seen[0]}" in capsys.readouterr().out
