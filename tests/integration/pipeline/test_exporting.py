"""The results table as a file."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from databases import postgres_url
from sqlalchemy import update

import reelbatch
from reelbatch import failpoints
from reelbatch.domain import Batch, Request, Row, RowKey, RowState
from reelbatch.errors import LedgerUnusable, SettingsError, UsageError
from reelbatch.ledger import Ledger, runs
from reelbatch.ledger.accounts import Payer
from reelbatch.ledger.columns import RESULT_COLUMNS
from reelbatch.ledger.csv_stream import Wanted
from reelbatch.ledger.schema import generations
from reelbatch.pipeline import export as exporting
from reelbatch.pipeline.export import SCHEMA, export, is_behind
from reelbatch.pipeline.spreadsheets import meant

BATCH = Batch("見本")


def _row(number: int) -> Row:
    request = Request(f"https://img.example/{number}.png", '春の\n朝, "quoted"', 5.0, audio=number % 2 == 0)
    return Row(RowKey(f"鍵-{number}"), number, request, request.fingerprint(), 240)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    table = Ledger(f"sqlite:///{tmp_path}/r.db")
    table.change(lambda connection: runs.open_batch(connection, BATCH, Payer("local"), "."))
    with table.staged([[_row(number) for number in range(1, 4)]]) as staged:
        staged.merge(BATCH)
    return table


def test_the_columns_are_the_documented_ones_in_their_order() -> None:
    """Users read them by name; other programs by position."""
    assert tuple(SCHEMA.names) == RESULT_COLUMNS
    assert ", ".join(SCHEMA.names) == (
        "batch, row_key, row_number, image_path, prompt, model, resolution, end_seconds, audio, name, state, "
        "video_id, estimated_frame_cost, credits_estimated, credits_charged, credits_final, fps, width, height, "
        "error_code, error_message, attempts, token, run_id, submitted_at, settled_at, video_path, "
        "generation, verdict, verdict_note, reviewed_at, video_bytes, video_seconds, video_frames, video_check, "
        "end_image_path, request_width, request_height"
    )


def test_parquet_keeps_its_types_when_all_values_are_null(ledger: Ledger, tmp_path: Path) -> None:
    """A column of nulls is still a column of integers or times."""
    assert export(ledger, str(tmp_path / "out.parquet")) == 3
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.schema.equals(SCHEMA)
    assert table.column("credits_charged").null_count == 3


def test_an_empty_table_exports_with_all_columns(tmp_path: Path) -> None:
    """No rows is a result too."""
    with Ledger(f"sqlite:///{tmp_path}/r.db") as empty:
        for name in ("out.parquet", "out.csv", "out.jsonl"):
            assert export(empty, str(tmp_path / name)) == 0
    assert pq.read_table(tmp_path / "out.parquet").schema.equals(SCHEMA)
    assert pa_csv.read_csv(tmp_path / "out.csv").column_names == SCHEMA.names


def test_csv_and_json_lines_round_trip_unicode_quotes_and_newlines(ledger: Ledger, tmp_path: Path) -> None:
    """Nothing is lost or mangled on the way to a spreadsheet or a script."""
    export(ledger, str(tmp_path / "out.csv"), Wanted(BATCH))
    export(ledger, str(tmp_path / "out.jsonl"), Wanted(BATCH))
    frame = pd.read_csv(tmp_path / "out.csv")
    assert frame["prompt"].tolist() == ['春の\n朝, "quoted"'] * 3
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["row_key"] for line in lines] == ["鍵-1", "鍵-2", "鍵-3"]
    assert lines[0]["credits_estimated"] == 240
    assert lines[0]["video_id"] is None


_TEXTS = (
    "", "NULL", "null", "'", "''", "a'b,c", "line\nbreak", "cr\r\nx", "\r", "\n", "  edges ", '"q"', "鍵😀", "\\N",
    "%Q", "nan", "x'", "a\tb", "日本,'\n'", None,
)  # fmt: skip
_FLOATS = (None, 0.0, 0.1, 1 / 3, 5.0, 24000 / 1001, 5e-324, 1e300)
_TIMES = (None, datetime(2026, 1, 1, tzinfo=UTC), datetime(1969, 7, 20, 20, 17, 40, 1, tzinfo=UTC))


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_every_value_comes_out_as_it_stands_in_the_table(tmp_path: Path, database: str) -> None:
    """The database writes the export's text: quotes, commas, line breaks, nulls and the last digit survive it.

    Rows of one number (all but one have left the manifest) are in the order in which they came, on Postgres by key.
    """
    given = [_odd_row(number) for number in range(300)]
    random.Random(1).shuffle(given)
    url = f"sqlite:///{tmp_path}/odd.db" if database == "sqlite" else postgres_url()
    with Ledger(url) as table:
        table.change(lambda connection: connection.execute(generations.insert(), given))
        (everything,) = exporting.record_batches(table)
        (second,) = exporting.record_batches(table, Wanted(Batch("b'2")))
        export(table, str(tmp_path / "out.parquet"), Wanted(Batch("b'2")))
    expected = sorted(
        given, key=lambda row: (row["batch"], row["row_number"], database == "postgres" and row["row_key"])
    )
    found = everything.to_pylist()
    assert found == [{name: row[name] for name in SCHEMA.names} for row in expected]
    assert second.to_pylist() == [row for row in found if row["batch"] == "b'2"]
    assert pq.read_table(tmp_path / "out.parquet").to_pylist() == second.to_pylist()


def _odd_row(number: int) -> dict[str, Any]:
    """Row numbers repeat, so the key decides; each column walks through its values at its own pace."""
    row: dict[str, Any] = {}
    for step, field in enumerate(SCHEMA, start=1):
        if pa.types.is_string(field.type):
            row[field.name] = _TEXTS[(number * step) % len(_TEXTS)]
        elif pa.types.is_floating(field.type):
            row[field.name] = _FLOATS[(number * step) % len(_FLOATS)]
        elif pa.types.is_timestamp(field.type):
            row[field.name] = _TIMES[(number * step) % len(_TIMES)]
        elif pa.types.is_boolean(field.type):
            row[field.name] = (None, True, False)[number % 3]
        else:
            row[field.name] = (None, 0, number * step)[(number * step) % 3]
    key = {
        "batch": ("b1", "b'2")[number % 2],
        "row_key": f"k{number:04}'",
        "row_number": number // 4,
        "generation": 1,
    }
    sure = {"image_path": "a,b'.png", "state": RowState.ERROR.value, "attempts": 1}
    return {**row, **key, **sure, "fingerprint": "f", "in_manifest": True}


def test_a_large_table_comes_out_in_parts(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it and in order, whatever fits into one part."""
    monkeypatch.setattr(exporting, "ROWS_AT_ONCE", 2)
    parts = [part.column("row_number").to_pylist() for part in exporting.record_batches(ledger)]
    assert parts == [[1, 2], [3]]


def test_results_gives_a_frame_with_nullable_dtypes(ledger: Ledger) -> None:
    """Integers stay integers although some are missing."""
    frame = reelbatch.results(str(ledger.url), BATCH)
    kinds = {"credits_charged": "Int64", "end_seconds": "Float64", "audio": "boolean", "row_key": "string"}
    assert {name: str(frame[name].dtype) for name in kinds} == kinds
    assert str(frame["submitted_at"].dtype) == "datetime64[us, UTC]"


@pytest.mark.parametrize("name", ["out.xls", "out", "out.parquet.bak"])
def test_an_unknown_ending_is_refused(ledger: Ledger, tmp_path: Path, name: str) -> None:
    """The ending says the format, so it must be one of the four."""
    with pytest.raises(UsageError, match=r"\.parquet, \.csv, \.jsonl or \.xlsx"):
        export(ledger, str(tmp_path / name))
    assert not (tmp_path / name).exists()


def test_a_target_that_can_t_be_written_is_named(ledger: Ledger, tmp_path: Path) -> None:
    """A path below a file is no path."""
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"file/out\.csv: can't be written"):
        export(ledger, str(tmp_path / "file" / "out.csv"))


def test_a_failed_export_leaves_the_old_file_alone(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file appears whole or not at all, and nothing temporary stays behind."""
    monkeypatch.setattr(exporting, "ROWS_AT_ONCE", 1)
    target = tmp_path / "out.parquet"
    export(ledger, str(target))
    before = target.read_bytes()
    ledger.change(lambda connection: connection.exec_driver_sql("UPDATE generations SET submitted_at = 'not a time'"))
    with pytest.raises(LedgerUnusable, match="not a time"):
        export(ledger, str(target))
    assert target.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix == ".part") == []


def test_what_a_killed_export_left_goes_with_the_next(ledger: Ledger, tmp_path: Path) -> None:
    """Half a file of a process that is gone is no use to anyone; that of one at work is left to it."""
    target = tmp_path / "results" / "out.parquet"
    script = "import sys; from reelbatch.pipeline.export import export; from reelbatch.ledger import Ledger; "
    script += "export(Ledger(sys.argv[1]), sys.argv[2])"
    command = [sys.executable, "-c", script, ledger.url.render_as_string(), str(target)]
    killed = subprocess.run(command, env={**os.environ, failpoints.VARIABLE: "kill@export.rename"}, check=False)
    (left,) = target.parent.iterdir()
    assert (killed.returncode, left.suffix) == (-signal.SIGKILL, ".part")
    mark, _, end = left.name.rsplit("-", 2)
    at_work = left.with_name(f"{mark}-{os.getppid()}-{end}")
    at_work.touch()
    export(ledger, str(target))
    assert sorted(target.parent.iterdir()) == sorted([target, at_work])


def test_an_export_that_lacks_what_was_settled_since_is_seen(ledger: Ledger, tmp_path: Path) -> None:
    """A settle that was killed before its export has nothing more to settle, and exports all the same."""
    target = str(tmp_path / "out.parquet")
    assert not is_behind(ledger, target, BATCH)  # nothing was settled yet
    ledger.change(lambda connection: connection.execute(update(generations).values(settled_at=datetime.now(UTC))))
    assert is_behind(ledger, target, BATCH)
    export(ledger, target)
    assert not is_behind(ledger, target, BATCH)
    ledger.change(lambda connection: connection.execute(update(generations).values(settled_at=datetime.now(UTC))))
    assert is_behind(ledger, target, BATCH)


def test_export_to_a_url(ledger: Ledger) -> None:
    """Any fsspec URL works."""
    import fsspec

    export(ledger, "memory://exports/out.parquet")
    with fsspec.open("memory://exports/out.parquet", "rb") as file:
        assert pq.read_table(file).num_rows == 3


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    """And not made by asking for it."""
    with pytest.raises(LedgerUnusable, match="no results table"):
        reelbatch.results(f"sqlite:///{tmp_path}/none.db")
    assert not (tmp_path / "none.db").exists()


def test_a_mistyped_batch_is_refused_with_those_that_there_are(ledger: Ledger, tmp_path: Path) -> None:
    """A frame without rows would pass for one; a table that has no batch yet has nothing to mistype."""
    with pytest.raises(SettingsError, match=f'"sprig": the results table has no such batch. It has: {BATCH}'):
        reelbatch.results(str(ledger.url), "sprig")
    url = f"sqlite:///{tmp_path}/new.db"
    Ledger(url).close()
    assert reelbatch.results(url, "sprig").empty


_LIVE = (
    "=1+1", "+1", "-1", "@SUM(1)", "\t=1", "\r=1", "\n=1", " =1", "\ufeff=1", '"=1', "'=1", "''=1", "\u00a0@x",
    "\uff1d1", "\tx", "\r", "\nx", "'\tx",
)  # fmt: skip
_DEAD = ("", "a=1", "'", "'a", "007", "1-2", '"quoted"', "春 -1", "x\n=1", " a")


def test_a_csv_for_spreadsheets_has_a_mark_and_no_formulas(tmp_path: Path) -> None:
    """An apostrophe stands before whatever could be worked out; numbers, times and harmless texts are as ever."""
    given = [_odd_row(number) | {"prompt": text} for number, text in enumerate((*_LIVE, *_DEAD), start=1)]
    with Ledger(f"sqlite:///{tmp_path}/r.db") as table:
        table.change(lambda connection: connection.execute(generations.insert(), given))
        export(table, str(tmp_path / "sheet.csv"), excel=True)
        export(table, str(tmp_path / "plain.csv"))
    content = (tmp_path / "sheet.csv").read_bytes()
    assert content.startswith(b"\xef\xbb\xbf")
    assert not content.startswith(b"\xef\xbb\xbf" * 2)
    kept = {"keep_default_na": False, "dtype": str}
    sheet, plain = (pd.read_csv(tmp_path / name, encoding="utf-8-sig", **kept) for name in ("sheet.csv", "plain.csv"))
    assert dict(zip(plain["prompt"], sheet["prompt"], strict=True)) == {
        **{text: f"'{text}" for text in _LIVE},
        **{text: text for text in _DEAD},
    }
    texts = [field.name for field in SCHEMA if pa.types.is_string(field.type)]
    for name in SCHEMA.names:
        if name in texts:
            assert [meant(cell) for cell in sheet[name]] == plain[name].tolist()
        else:
            assert sheet[name].tolist() == plain[name].tolist()


@pytest.mark.parametrize("name", ["out.parquet", "out.jsonl"])
def test_only_a_csv_is_for_spreadsheets(ledger: Ledger, tmp_path: Path, name: str) -> None:
    """Other files have no formulas, and stay what they are for programs."""
    with pytest.raises(UsageError, match=r"--excel writes a CSV"):
        export(ledger, str(tmp_path / name), excel=True)
    assert not (tmp_path / name).exists()
