"""A settle at another API than the one that made the videos says so, instead of zeros and no more."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import run_here

import reelbatch
from reelbatch.sandbox import start

MANIFEST = Path(__file__).parents[2] / "data" / "catalogue.csv"


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A results table with three videos that an API of this machine is still making; no test here changes it."""
    url = f"sqlite:///{tmp_path_factory.mktemp('elsewhere') / 'r.db'}"
    with start(render_video=False) as api:
        report = reelbatch.generate(MANIFEST, results=url, base_url=api.url, api_key=api.key, limit=3)
    assert report.submitted == 3
    return url


@pytest.mark.parametrize("stated", [[], ["--base-url", "https://api.example.com"]], ids=["live API", "another"])
def test_what_belongs_to_another_api_is_said(
    table: str, stated: list[str], tmp_path: Path, prefect_server: str
) -> None:
    """One line on standard error: how many, of which API, and the option that follows them. Nothing is asked for."""
    done = run_here(tmp_path, "settle", "--results", table, "--json", *stated, MAGIC_HOUR_API_KEY="of-no one")
    assert done.out, done.err
    stats = json.loads(done.out)
    assert (done.code, stats["polled"], stats["unsettled"]) == (0, 0, 0)
    said = done.err.splitlines()
    (line,) = [line for line in said if "another API" in line]  # a busy server may be late, which is said as well
    assert "3 of local (use --base-url with its address on this machine, or --sandbox with --results)" in line
