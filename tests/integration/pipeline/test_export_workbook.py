"""The results table as an Excel workbook, and the rows of some states."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import openpyxl
import pandas as pd
import pyarrow.parquet as pq
import pytest
from commands import run_here
from databases import postgres_url

from reelbatch.domain import Batch, RowState
from reelbatch.errors import UsageError
from reelbatch.ledger import Ledger, runs
from reelbatch.ledger.accounts import Payer
from reelbatch.ledger.columns import RESULT_COLUMNS
from reelbatch.ledger.csv_stream import Wanted
from reelbatch.ledger.schema import generations
from reelbatch.pipeline import export_formats
from reelbatch.pipeline.export import export, record_batches

_TEXTS = (
    "007", "=1+1", "=", "#N/A", "+1", "-1", "@SUM(1)", "1e5", "2026-01-01", "TRUE", " edges ", "春\n朝", 'a"b', "<&>",
)  # fmt: skip
_TIME = datetime(2026, 3, 1, 12, 30, 15, tzinfo=UTC)


def _row(number: int, **more: Any) -> dict[str, Any]:
    sure = {"batch": "spring", "image_path": "a.png", "state": "pending", "attempts": 1, "generation": 1}
    row = {**sure, "row_key": f"k{number}", "row_number": number, "fingerprint": "f", "in_manifest": True, **more}
    return row if row["state"] == "pending" else {**row, "video_id": f"v{number}.{row['generation']}"}


def _table(url: str, rows: list[dict[str, Any]]) -> None:
    with Ledger(url) as table:
        table.change(lambda connection: runs.open_batch(connection, Batch("spring"), Payer("local"), "."))
        for row in rows:
            table.change(lambda connection, row=row: connection.execute(generations.insert(), row))


def _exported(folder: Path, rows: list[dict[str, Any]]) -> Path:
    _table(f"sqlite:///{folder}/r.db", rows)
    with Ledger(f"sqlite:///{folder}/r.db") as table:
        assert export(table, str(folder / "out.xlsx")) == len(rows)
    return folder / "out.xlsx"


def test_texts_of_a_workbook_are_texts(tmp_path: Path) -> None:
    """No key loses its zeros, and nothing is worked out: not by Excel, and not by those who read it after."""
    path = _exported(tmp_path, [_row(number, row_key=text, prompt=text) for number, text in enumerate(_TEXTS)])
    sheet = openpyxl.load_workbook(path)["results"]
    for column in ("row_key", "prompt"):
        cells = [row[RESULT_COLUMNS.index(column)] for row in sheet.iter_rows(min_row=2)]
        assert [cell.value for cell in cells] == list(_TEXTS)
        assert {cell.data_type for cell in cells} == {"s"}
    frame = pd.read_excel(path, dtype=str, keep_default_na=False)
    assert frame["row_key"].tolist() == list(_TEXTS)


def test_a_workbook_has_numbers_times_and_a_header_that_stays(tmp_path: Path) -> None:
    """What can be added up or sorted is no text; times are UTC without a zone, which Excel does not know."""
    values = {"credits_charged": 240, "fps": 23.976, "audio": True, "submitted_at": _TIME}
    path = _exported(tmp_path, [_row(1, **values), _row(2)])
    sheet = openpyxl.load_workbook(path)["results"]
    assert sheet.freeze_panes == "A2"
    header, first, second = sheet.iter_rows(values_only=True)
    assert header == RESULT_COLUMNS
    found = dict(zip(header, first, strict=True))
    assert {name: found[name] for name in values} == {**values, "submitted_at": _TIME.replace(tzinfo=None)}
    assert found["audio"] is True
    assert dict(zip(header, second, strict=True))["submitted_at"] is None


def test_characters_that_xml_does_not_have_are_written_as_excel_writes_them(tmp_path: Path) -> None:
    """The file opens, and what looks like such a character is not taken for one."""
    path = _exported(tmp_path, [_row(1, prompt="a\x01b\r\nc"), _row(2, prompt="a_x0041_b"), _row(3, prompt="\uffff")])
    prompts = pd.read_excel(path)["prompt"].tolist()
    assert prompts == ["a_x0001_b_x000D_\nc", "a_x005F_x0041_b", "_xFFFF_"]


def test_a_text_that_no_cell_holds_is_refused(tmp_path: Path) -> None:
    """It would be cut off without a word. The file of before stays."""
    path = _exported(tmp_path, [_row(1, prompt="春" * 32_767)])
    before = path.read_bytes()
    with Ledger(f"sqlite:///{tmp_path}/r.db") as table:
        table.change(lambda connection: connection.execute(generations.update().values(prompt="🎞" * 16_384)))
        with pytest.raises(UsageError, match=r'column "prompt" has more than the 32,767 characters .* use \.parquet'):
            export(table, str(path))
    assert path.read_bytes() == before
    assert {each.name for each in tmp_path.glob("*out*")} == {"out.xlsx"}


def test_more_rows_than_a_worksheet_holds_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before any is written, with what to do instead; those that are chosen from them may fit."""
    assert export_formats.WORKBOOK_ROWS == 2**20 - 1
    monkeypatch.setattr(export_formats, "WORKBOOK_ROWS", 2)
    _table(f"sqlite:///{tmp_path}/r.db", [_row(1), _row(2), _row(3, state="complete")])
    with Ledger(f"sqlite:///{tmp_path}/r.db") as table:
        with pytest.raises(UsageError, match=r"a worksheet holds 2 rows.*--state"):
            export(table, str(tmp_path / "out.xlsx"))
        assert not (tmp_path / "out.xlsx").exists()
        assert export(table, str(tmp_path / "out.xlsx"), Wanted(states=frozenset({RowState.PENDING}))) == 2


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_only_the_rows_of_some_states(tmp_path: Path, database: str) -> None:
    """A row's state is that of the video that stands for it; with all videos, each counts by itself."""
    url = f"sqlite:///{tmp_path}/r.db" if database == "sqlite" else postgres_url()
    again = [_row(3, state="complete"), _row(3, generation=2, state="error")]
    others = [_row(1, state="complete"), _row(2, state="error"), _row(4), _row(1, batch="b", state="complete")]
    _table(url, [*again, *others])
    with Ledger(url) as table:

        def found(*states: str, all_videos: bool = False, batch: Any = "spring") -> list[tuple[str, int]]:
            wanted = Wanted(batch, all_videos, frozenset(map(RowState, states)))
            rows = [row for part in record_batches(table, wanted) for row in part.to_pylist()]
            return [(row["row_key"], row["generation"]) for row in rows]

        assert found("complete") == [("k1", 1)]
        assert found("complete", all_videos=True) == [("k1", 1), ("k3", 1)]
        assert found("complete", "error") == [("k1", 1), ("k2", 1), ("k3", 2)]
        assert found("complete", batch=None) == [("k1", 1), ("k1", 1)]
        assert found("canceled") == []


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_one_winner_for_each_product(tmp_path: Path, database: str) -> None:
    """The variant that was approved last; all of them as long as none is. Rows without variants stay."""
    url = f"sqlite:///{tmp_path}/r.db" if database == "sqlite" else postgres_url()
    yes, soon, later = "approved", datetime(2026, 11, 26, tzinfo=UTC), datetime(2026, 11, 27, tzinfo=UTC)
    said = {
        "TEA#a": {"verdict": yes, "reviewed_at": soon},
        "TEA#b": {"verdict": yes, "reviewed_at": later},
        "TEA#c": {"verdict": "rejected", "reviewed_at": later},
        "TEA": {},
        "CUP#a": {"verdict": "rejected", "reviewed_at": soon},
        "CUP#b": {},
        "A#1#a": {},
        "A#1#b": {"verdict": yes, "reviewed_at": soon},
        "A#2": {},
    }
    rows = [
        _row(number, state="complete", **more) | {"row_key": key} for number, (key, more) in enumerate(said.items())
    ]
    _table(url, [*rows, _row(20, batch="b", state="complete") | {"row_key": "TEA#a"}])
    with Ledger(url) as table:

        def found(batch: Any) -> list[str]:
            return [
                row["row_key"]
                for part in record_batches(table, Wanted(batch, winners=True))
                for row in part.to_pylist()
            ]

        assert found("spring") == ["TEA#b", "TEA", "CUP#a", "CUP#b", "A#1#b", "A#2"]
        assert found(None) == ["TEA#a", "TEA#b", "TEA", "CUP#a", "CUP#b", "A#1#b", "A#2"]  # of another batch first
        assert export(table, str(tmp_path / "out.xlsx"), Wanted(Batch("spring"), winners=True)) == 6
    ran = run_here(tmp_path, "export", "out.csv", "--results", url, "--batch", "spring", "--winners", "--json")
    assert json.loads(ran.stdout) == {"path": "out.csv", "rows": 6}, ran.err


def test_states_on_the_command_line(tmp_path: Path) -> None:
    """For every format and for standard output; a state that there is not is named, and nothing is written."""
    url = f"sqlite:///{tmp_path}/r.db"
    _table(url, [_row(1, state="complete"), _row(2, state="error"), _row(3)])
    options = ("--results", url, "--batch", "spring", "--state", "complete, error")
    for name in ("out.xlsx", "out.csv", "out.jsonl", "out.parquet"):
        ran = run_here(tmp_path, "export", name, *options, "--json")
        assert json.loads(ran.stdout) == {"path": name, "rows": 2}, ran.err
    assert pq.read_table(tmp_path / "out.parquet")["row_key"].to_pylist() == ["k1", "k2"]
    piped = run_here(tmp_path, "export", "-", "--format", "jsonl", *options)
    assert [json.loads(line)["state"] for line in piped.out.splitlines()] == ["complete", "error"]
    for stated, said in (
        ("done", '--state "done": rows are in one of the states invalid, '),
        (",", "names no state"),
    ):
        ran = run_here(tmp_path, "export", "none.csv", "--results", url, "--state", stated)
        assert (ran.code, said in " ".join(ran.err.split())) == (2, True), ran.err
    assert not (tmp_path / "none.csv").exists()
    assert run_here(tmp_path, "export", "-", "--format", "xlsx", "--results", url).code == 2
