"""`reelbatch report`, and `review` where it can't begin."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import run_here
from review_tables import Shown, every_kind, shown_table

from reelbatch.ledger import Ledger


@pytest.fixture
def table(tmp_path: Path) -> Iterator[Shown]:
    """A batch with rows of every kind."""
    with Ledger(f"sqlite:///{tmp_path}/results/reelbatch.db") as ledger:
        shown = shown_table(ledger, tmp_path / "files")
        every_kind(shown)
        yield shown


def test_a_report_says_what_is_in_it(table: Shown, tmp_path: Path) -> None:
    """With --json as one object; the file is its owner's alone."""
    ran = run_here(tmp_path, "report", "out/spring.html", "--json")
    assert (ran.code, ran.err) == (0, "")
    written = json.loads(ran.out)
    path = tmp_path / "out" / "spring.html"
    assert written == {
        "path": "out/spring.html",
        "batch": "spring",
        "rows": 10,
        "pictures": 10,
        "videos": 1,
        "bytes": path.stat().st_size,
    }
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["spring.html"]
    assert "10 rows, 1 video: out/spring.html" in run_here(tmp_path, "report", "out/spring.html").out


@pytest.mark.parametrize("stated", ["dollars_per_credit: 0.5", "subscription: {price: 10, credits: 20}"])
def test_a_report_has_dollars_where_a_credit_s_price_is_stated(table: Shown, tmp_path: Path, stated: str) -> None:
    """However it is stated, as `spend` has them; a report without it has none."""
    (tmp_path / "reelbatch.yaml").write_text(f"{stated}\n", encoding="utf-8")
    spent = json.loads(run_here(tmp_path, "spend", "--json").out)["total"]
    assert run_here(tmp_path, "report", "spring.html").code == 0
    page = (tmp_path / "spring.html").read_text(encoding="utf-8")
    assert f'"dollars":{spent["dollars"]:.1f},' in page
    assert spent["dollars"] == spent["cost"] / 2


@pytest.mark.parametrize(
    "target", ["spring.pdf", "spring", "s3://bucket/spring.html", "files/picture.png/spring.html"]
)
def test_a_report_that_can_not_be_written_is_one_line(table: Shown, tmp_path: Path, target: str) -> None:
    """Another ending, another storage, a file in the way: exit 2, and nothing is written."""
    ran = run_here(tmp_path, "report", target)
    assert ran.code == 2
    assert ran.err.startswith("Error: ")
    assert len(ran.err.splitlines()) == 1


@pytest.mark.parametrize("command", [("report", "x.html"), ("review", "--no-browser")])
def test_a_batch_that_there_is_not_is_named(table: Shown, tmp_path: Path, command: tuple[str, ...]) -> None:
    """With those that there are; and a table that there is not is not made."""
    ran = run_here(tmp_path, *command, "--batch", "autumn")
    assert ran.code == 2
    assert "the results table has no such batch. It has: spring" in ran.err
    ran = run_here(tmp_path, *command, "--results", "sqlite:///none.db")
    assert ran.code == 2
    assert "there is no results table yet" in ran.err
    assert not (tmp_path / "none.db").exists()


def test_a_port_that_is_taken_is_one_line(table: Shown, tmp_path: Path) -> None:
    """Exit 2, with the option that helps."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ran = run_here(tmp_path, "review", "--no-browser", "--port", str(taken.getsockname()[1]))
    assert ran.code == 2
    assert "Choose another --port." in ran.err
