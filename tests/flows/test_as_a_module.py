"""A flow as a module, from any folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).parents[2]


def _module(*arguments: str, folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "REELBATCH_"))}
    return subprocess.run(
        [sys.executable, "-m", "flows.generate", *arguments],
        cwd=folder,
        env={**kept, "PYTHONPATH": str(ROOT), "DO_NOT_TRACK": "1", **env},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_flow_runs_as_a_module(tmp_path: Path, prefect: Any) -> None:
    """`python -m flows.generate name=value …`, from any folder; the last lines of its log arrive.

    The temporary server takes them before it ends; nothing complains that it is gone.
    """
    manifest, home = str(ROOT / "data" / "catalogue.csv"), str(prefect.home(tmp_path / "prefect"))
    stated = (f"manifest={manifest}", f"results=sqlite:///{tmp_path}/r.db", "sandbox=true", "limit=2")
    run = _module(*stated, folder=tmp_path, PREFECT_HOME=home)
    assert run.returncode == 0, run.stderr
    assert "2 of 12 rows got their id in this run" in run.stderr
    assert "Error logging to API" not in run.stderr
    states = pq.read_table(tmp_path / "catalogue.parquet").column("state").to_pylist()
    assert sorted(states) == ["pending"] * 10 + ["queued"] * 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["manifest=x.csv", "foo=1"], "got an unexpected keyword argument 'foo'"),
        (["sandbox=true"], "missing a required argument: 'manifest'"),
    ],
    ids=["unknown", "missing"],
)
def test_a_parameter_that_does_not_fit_is_named(
    arguments: list[str], said: str, prefect_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one line, not in a traceback."""
    from flows.generate import generate
    from flows.setting_up import run_from_command_line

    monkeypatch.setattr(sys, "argv", ["flows/generate.py", *arguments])
    with pytest.raises(SystemExit) as end:  # with a text: Python prints it and ends with exit code 1
        run_from_command_line(generate)
    (line,) = str(end.value).splitlines()
    assert said in line
