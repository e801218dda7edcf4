"""The history that a run writes for support."""

from __future__ import annotations

import json
import logging
import resource
from pathlib import Path
from typing import Any

import pytest
from bench import Bench

import reelbatch
from reelbatch.domain import Batch, ClaimedRow, Request, RowKey, RunId, Token
from reelbatch.errors import SettingsError
from reelbatch.ledger.run_history import RunHistory


def lines_of(path: Path) -> list[dict[str, Any]]:
    """Its lines."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_each_step_of_a_create_is_a_line(bench: Bench, tmp_path: Path) -> None:
    """Intent, sent, answered, recorded, in this order for each row; a second run appends; only its owner reads it."""
    history = tmp_path / "history.jsonl"
    bench.generate(bench.rows(2), history=history)
    bench.generate(bench.rows(3), history=history)
    lines = lines_of(history)
    assert [line["event"] for line in lines if line["event"] in {"run", "ended"}] == ["run", "ended"] * 2
    steps: dict[str, list[str]] = {}
    for line in lines:
        if "token" in line:
            steps.setdefault(line["row_key"], []).append(line["event"])
    assert steps == {key: ["intent", "sent", "answered", "recorded"] for key in bench.rows(3)["row_key"]}
    assert history.stat().st_mode & 0o777 == 0o600


def test_a_history_has_no_prompt_address_or_key(bench: Bench, tmp_path: Path) -> None:
    """It is made to be sent to others."""
    bench.generate(bench.rows(2, prompt=["A secret launch"] * 2), history=tmp_path / "history.jsonl")
    text = (tmp_path / "history.jsonl").read_text("utf-8")
    assert not [said for said in ("secret launch", "images.example.com", bench.url, "Bearer") if said in text]


def test_a_history_that_can_no_longer_be_written_stops_nothing(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """A disk that is full is said once, and all rows are sent."""
    with caplog.at_level(logging.WARNING, "reelbatch"):
        report = bench.generate(bench.rows(5), history="/dev/full")
    assert report.submitted == 5
    said = [record.getMessage() for record in caplog.records if "history" in record.getMessage()]
    assert len(said) == 1
    assert "No space left" in said[0]


def test_a_line_that_found_room_for_a_part_leaves_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A disk that is nearly full takes the beginning of a line: the next run's line does not join it."""
    path = tmp_path / "history.jsonl"
    _append(path, 1)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20, before[1]))
    try:
        _append(path, 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "No space left" in caplog.text
    _append(path, 3)
    assert [line["generation"] for line in lines_of(path)] == [1, 3]


def _append(path: Path, number: int) -> None:
    history, request = RunHistory(path), Request("a.png", "Pan", 5.0)
    row = ClaimedRow(Batch("b"), RowKey("k"), 1, request, None, 0, generation=number)
    history.sent(row, RunId("run"), Token("rb_1"))
    history.close()


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("no/such/folder.jsonl", "No such file"),
        ("a\0b", "null byte"),
        ("", "Is a directory"),
        ("rows.csv", "is a file of another kind"),
    ],
)
def test_a_history_that_can_not_be_written_is_refused_before_anything_is_sent(
    bench: Bench, name: str, why: str
) -> None:
    """By the plan too, which makes no file; what stands in a file of another kind stays as it is."""
    (bench.folder / "rows.csv").write_text("row_key,prompt\n", encoding="utf-8")
    before = sorted(bench.folder.iterdir())
    for call in (reelbatch.plan, reelbatch.generate):
        with pytest.raises(SettingsError, match=why):
            call(bench.rows(2), **bench.settings(history=bench.folder / name))
    assert (bench.folder / "rows.csv").read_text("utf-8") == "row_key,prompt\n"
    assert sorted(bench.folder.iterdir()) == before
    reelbatch.plan(bench.rows(2), **bench.settings(history=bench.folder / "new.jsonl"))
    assert sorted(bench.folder.iterdir()) == before
