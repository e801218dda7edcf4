"""What a run says to type next can be typed as it stands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from commands import run_here

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, prefect_server: str) -> tuple[str, Path]:
    """A run with a row that is refused and one in doubt, with options of its own; and where it ran."""
    folder = tmp_path_factory.mktemp("hints")
    sandbox = "{render_seconds: 0.1, render_video: false, faults: {script: [lost_after, null, invalid]}}"
    config = f"poll_interval_s: 0.1\nsandbox: {sandbox}\n"
    (folder / "my settings.yaml").write_text(config, encoding="utf-8")
    options = ["--config", "my settings.yaml", "--results", "sqlite:///t/r.db", "--batch", "spring", "--sandbox"]
    run = run_here(folder, "generate", ROOT / "data" / "catalogue.csv", *options, COLUMNS="200")
    assert run.code == 1, run.err
    return run.out, folder


@pytest.mark.parametrize(
    ("command", "expected"),
    [("reconcile", "1 row in doubt"), ("rerun", "1 row to send again"), ("settle", "Videos:")],
)
def test_a_command_that_is_printed_can_be_pasted(
    command: str, expected: str, first: tuple[str, Path], prefect_server: str
) -> None:
    """It finds the same table, the same settings and the same API as the command that printed it."""
    said, folder = first
    hint = next(hint for hint in re.findall(r"`(reelbatch [^`]+)`", said) if shlex.split(hint)[1] == command)
    run = run_here(folder, *shlex.split(hint)[1:], COLUMNS="200")
    assert expected in run.out, run.err
    if command == "reconcile":
        assert "reelbatch reconcile --config 'my settings.yaml' --results sqlite:///t/r.db" in run.out


def test_after_a_trial_the_real_run_is_named(first: tuple[str, Path]) -> None:
    """The same manifest and settings, without the sandbox and its table."""
    (live,) = re.findall(r"This was a trial; nothing was paid\. .* `(reelbatch generate [^`]+)`", first[0])
    _, _, manifest, *options = shlex.split(live)
    assert Path(manifest) == ROOT / "data" / "catalogue.csv"
    assert options == ["--config", "my settings.yaml", "--batch", "spring"]
