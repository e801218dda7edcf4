"""Packages that only some parts need are named, with how to install them, where they are missing."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest

from reelbatch.extras import EXTRAS
from reelbatch.ledger import Ledger

ROOT = Path(__file__).parents[3]
LEFT_OUT = ("av", "jinja2", "openpyxl", "psycopg", "pillow_heif")  # Starlette and uvicorn come with Prefect


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every package that is installed here, but not those of extras."""
    folder = tmp_path_factory.mktemp("site")
    for package in Path(sysconfig.get_path("purelib")).iterdir():
        if package.name.partition(".")[0] not in LEFT_OUT:
            (folder / package.name).symlink_to(package)
    return folder


@pytest.mark.parametrize(
    ("arguments", "extra", "packages"),
    [
        (("sandbox",), "sandbox", "av, pillow_heif"),
        (("plan", "rows.csv", "--sandbox", "--account"), "sandbox", "av, pillow_heif"),
        (("status", "--results", "postgresql://user@127.0.0.1:1/x"), "postgres", "psycopg"),
        (("plan", "rows.xlsx"), "excel", "openpyxl"),
        (("export", "out.xlsx", "--results", "sqlite:///r.db"), "excel", "openpyxl"),
        (("report", "spring.html"), "review", "jinja2"),
    ],
)
def test_a_missing_extra_is_named(
    site: Path, tmp_path: Path, arguments: tuple[str, ...], extra: str, packages: str
) -> None:
    """In one line, with the command that installs it, and as an error of the command line."""
    (tmp_path / "rows.csv").write_text("image_path,prompt\nhttps://x.test/a.png,Pan\n")
    (tmp_path / "rows.xlsx").write_bytes(b"PK\x03\x04")
    Ledger(f"sqlite:///{tmp_path}/r.db").close()
    environment = {**os.environ, "PYTHONPATH": f"{site}{os.pathsep}{ROOT}"}
    command = [sys.executable, "-S", "-m", "reelbatch", *arguments]
    ended = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 2, ended.stderr
    said = " ".join(ended.stderr.split())
    assert packages in said
    assert f'pip install "reelbatch[{extra}]"' in said
    assert "Traceback" not in ended.stderr


def test_the_extras_named_are_those_that_can_be_installed() -> None:
    """The remedy of every one of them works, and what nothing can do without is no extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    stated = project["optional-dependencies"]
    for extra, packages in EXTRAS.items():
        named = {name.partition(">")[0].partition("[")[0].replace("-", "_") for name in stated[extra]}
        assert named == set(packages)
        needed = {name.partition(">")[0].partition("[")[0].replace("-", "_") for name in project["dependencies"]}
        assert not needed & set(packages)
