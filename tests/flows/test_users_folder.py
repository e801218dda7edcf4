"""A user's own folder and packages: what is called like ours there neither breaks nor is broken."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
CATALOGUE = ROOT / "data" / "catalogue.csv"
NAMES = ("flows/__init__.py", "flows/generate.py", "tasks.py", "tests/__init__.py", "prefect.py", "starlette.py")
OWN = "raise SystemExit('the user has one of that name, which was imported')\n"
VARYING = {"run_id", "submit_seconds", "rows_per_second", "export"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built as a release would be, without the network."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a fresh environment with the wheel; what it needs comes from the environment of the tests."""
    venv = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    (packages,) = venv.glob("lib/python*/site-packages")
    own = next(path for path in map(Path, sys.path) if path.name == "site-packages")
    (packages / "needed.pth").write_text(f"{own}\n")  # its own .pth, with the clone, does not count from here
    python = venv / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python)]
    subprocess.run([*pip, "install", "--quiet", "--no-deps", "--no-index", str(wheel)], check=True)
    return venv / "bin"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the user works. Beside it are packages that come before ours, `flows` and `tasks` among them."""
    own = [Path("own", name) for name in NAMES]
    for file in map(tmp_path.joinpath, [*own, *(Path("packages", name) for name in NAMES[:3])]):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(OWN)
    return tmp_path / "own"


def run(command: list[str], folder: Path, home: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Type a command in the user's folder, without any setting of this machine."""
    ours = ("PREFECT_", "REELBATCH_", "MAGIC_HOUR", "PYTHON")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    path = {"PYTHONPATH": str(folder.parent / "packages")}
    return subprocess.run(
        command,
        cwd=folder,
        env={**kept, "PREFECT_HOME": str(home), "DO_NOT_TRACK": "1", **path, **more},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def reported(command: list[str], folder: Path, home: Path, **more: str) -> dict[str, Any]:
    """What a command that succeeds says as JSON."""
    done = run([*command, "--sandbox", "--json"], folder, home, **more)
    assert done.returncode == 0, done.stderr + done.stdout
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def generate(program: list[str], folder: Path, home: Path, **more: str) -> dict[str, Any]:
    """Two rows of the sample catalogue."""
    said = reported([*program, "generate", str(CATALOGUE), "--limit", "2"], folder, home, **more)
    return {name: value for name, value in said.items() if name not in VARYING}


def test_the_wheel_holds_reelbatch_alone(wheel: Path) -> None:
    """A package called `flows`, `tasks` or `configs` in site-packages would be everybody's."""
    with zipfile.ZipFile(wheel) as files:
        tops = {name.partition("/")[0] for name in files.namelist()}
        assert {"reelbatch/py.typed", "reelbatch/configs/models.yaml"} <= set(files.namelist())
    assert {top for top in tops if not top.endswith(".dist-info")} == {"reelbatch"}


@pytest.mark.slow
@pytest.mark.parametrize("entry", ["reelbatch", "-m"])
def test_a_users_modules_of_the_same_names_break_nothing(
    entry: str, folder: Path, installed: Path, tmp_path: Path, prefect: Any
) -> None:
    """The program of a wheel and that of a clone say the same; the wheel's does without Prefect.

    One of the clone's commands starts a Prefect server in that folder, the other has the one that runs.
    """
    (tmp_path / "clone").mkdir()
    programs = Path(sys.executable).parent
    own, cloned = (
        [str(bin_ / "reelbatch")] if entry == "reelbatch" else [str(bin_ / "python"), "-m", "reelbatch"]
        for bin_ in (installed, programs)
    )
    from_wheel = generate(own, folder, tmp_path / "no-prefect")
    assert (from_wheel["submitted"], from_wheel["exit_reason"]) == (2, "done")
    assert not (tmp_path / "no-prefect").exists()
    (folder / "results").rename(tmp_path / "results-of-wheel")
    server = {} if entry == "reelbatch" else {"PREFECT_API_URL": prefect.url}
    assert generate(cloned, folder, prefect.home(tmp_path / "prefect"), **server) == from_wheel
    assert [(folder / name).read_text() for name in NAMES] == [OWN] * len(NAMES)


@pytest.mark.slow
def test_a_wheel_reruns_settles_and_ends_as_a_clone_does(folder: Path, installed: Path, tmp_path: Path) -> None:
    """The same commands, JSON and exit codes, and the table exported beside itself."""
    program, home = [str(installed / "reelbatch")], tmp_path / "no-prefect"
    generate(program, folder, home)
    assert reported([*program, "rerun"], folder, home)["sent"] == 0
    looked = run([*program, "settle", "--no-wait", "--sandbox", "--json"], folder, home)
    left = json.loads(looked.stdout)["unsettled"]  # both, where the machine is not so slow that one is finished
    assert looked.returncode == int(left > 0), looked.stderr
    assert (folder / "results" / "sandbox" / "catalogue.parquet").exists()
    missing = run([*program, "generate", "none.csv", "--sandbox"], folder, home)
    assert (missing.returncode, missing.stderr.startswith("Error: none.csv")) == (2, True), missing.stderr
    assert not home.exists()
