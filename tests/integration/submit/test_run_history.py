"""The history that a run writes for support."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from bench import Bench


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


@pytest.mark.parametrize(("name", "why"), [("no/such/folder.jsonl", "No such file"), ("a\0b", "null byte")])
def test_a_history_that_can_not_be_written_stops_nothing(
    bench: Bench, caplog: pytest.LogCaptureFixture, name: str, why: str
) -> None:
    """It is said once, and all rows are sent, whatever kind of error it is."""
    with caplog.at_level(logging.WARNING, "reelbatch"):
        report = bench.generate(bench.rows(5), history=bench.folder / name)
    assert report.submitted == 5
    said = [record.getMessage() for record in caplog.records if "history" in record.getMessage()]
    assert len(said) == 1
    assert why in said[0]
