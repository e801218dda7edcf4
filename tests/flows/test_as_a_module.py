"""A flow as a module, with no Prefect server around: what it says at its end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, prefect: Any) -> Path:
    """A Prefect folder whose database is already made."""
    at: Path = prefect.home(tmp_path_factory.mktemp("module") / "prefect")
    return at


def _module(*arguments: str, folder: Path, home: Path) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "REELBATCH_"))}
    return subprocess.run(
        [sys.executable, "-m", "flows.generate", *arguments],
        cwd=folder,
        env={**kept, "PYTHONPATH": str(ROOT), "PREFECT_HOME": str(home), "DO_NOT_TRACK": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_last_lines_of_the_log_arrive(tmp_path: Path, home: Path) -> None:
    """The temporary server takes them before it ends; nothing complains that it is gone."""
    manifest = str(ROOT / "data" / "catalogue.csv")
    run = _module(f"manifest={manifest}", "sandbox=true", "limit=1", folder=tmp_path, home=home)
    assert run.returncode == 0, run.stderr
    assert "1 of 12 rows got their id in this run" in run.stderr
    assert "Error logging to API" not in run.stderr


def test_what_the_core_has_to_say_is_in_the_log_of_the_run(tmp_path: Path, home: Path) -> None:
    """Whoever looks at the run finds it there: of an answer that can't be brought in, for example."""
    left = tmp_path / "results" / "sandbox" / "reelbatch-left.rescue.jsonl"
    left.parent.mkdir(parents=True)
    left.write_text("what somebody else wrote")
    manifest = str(ROOT / "data" / "catalogue.csv")
    run = _module(f"manifest={manifest}", "sandbox=true", "limit=1", folder=tmp_path, home=home)
    said = [line for line in run.stderr.splitlines() if left.name in line and "Flow run" in line]
    assert len(said) == 1, run.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["manifest=x.csv", "foo=1"], "got an unexpected keyword argument 'foo'"),
        (["sandbox=true"], "missing a required argument: 'manifest'"),
    ],
    ids=["unknown", "missing"],
)
def test_a_parameter_that_does_not_fit_is_named(arguments: list[str], said: str, tmp_path: Path, home: Path) -> None:
    """In one line, not in a traceback."""
    run = _module(*arguments, folder=tmp_path, home=home)
    assert run.returncode == 1
    assert said in run.stderr.splitlines()[-1]
    assert "Traceback" not in run.stderr
