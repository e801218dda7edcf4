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
        (["manifest=@x.csv"], "manifest: the value can't be read"),
        (
            ["manifest=x.csv", "batch=a: b: c"],
            "batch: the value can't be read: mapping values are not allowed here; put",
        ),
        (["manifest=x.csv", "limit=soon"], "limit: Input should be a valid integer"),
        (["manifest=x.csv", "batch=2026"], "batch: Input should be a valid string"),
    ],
    ids=["unknown", "missing", "no YAML", "a mapping", "no number", "a number"],
)
def test_a_parameter_that_does_not_fit_is_named(
    arguments: list[str],
    said: str,
    prefect_server: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """On the last line, not in a traceback; with the exit code of what can't be used."""
    from flows.generate import generate
    from flows.setting_up import run_from_command_line

    monkeypatch.setattr(sys, "argv", ["flows/generate.py", *arguments])
    with pytest.raises(SystemExit) as end:
        run_from_command_line(generate)
    assert end.value.code == 2
    assert said in capsys.readouterr().err.splitlines()[-1]


CORE_SPEAKS = """
import logging
from prefect import flow
import flows.setting_up
core = logging.getLogger("reelbatch")
@flow
def speaks():
    core.warning("said in a run")
if __name__ == "__main__":
    speaks()
    core.warning("said outside of it")
"""


def test_what_the_core_says_stands_once_in_a_worker_s_log(tmp_path: Path, prefect_server: str) -> None:
    """As a line of the run where there is one, and not a second time as one of the logger's own."""
    script = tmp_path / "speaks.py"
    script.write_text(CORE_SPEAKS, encoding="utf-8")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    env = {**kept, "PYTHONPATH": str(ROOT), "PREFECT_API_URL": prefect_server}
    run = subprocess.run([sys.executable, script], env=env, capture_output=True, text=True, check=True)
    (line,) = [line for line in run.stderr.splitlines() if "said in a run" in line]
    assert "Flow run" in line
    assert run.stderr.count("said outside of it") == 1
