"""Tables in memory that are no pandas frames: what hands out an Arrow stream is a manifest."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pytest

from reelbatch.errors import ManifestError
from reelbatch.manifest.readers.base import BATCH_ROWS

ROWS = {
    "row_key": ["007", "TEA-2", "ö"],
    "image_path": [f"https://x.test/{n}.png" for n in range(3)],
    "prompt": ["Pan", "Orbit, slowly", "カメラ"],
    "end_seconds": [5.0, 2.5, None],
    "audio": [True, False, None],
    "since": [date(2026, 1, 2)] * 3,
}


def _by_duckdb(table: pa.Table) -> Any:
    connection = duckdb.connect()
    connection.register("rows", table)
    return connection.sql("SELECT * FROM rows")


TABLES: dict[str, Callable[[pa.Table], Any]] = {
    "arrow": lambda table: table,
    "record batch": lambda table: table.combine_chunks().to_batches()[0],
    "polars": pl.from_arrow,
    "polars, categorical": lambda table: pl.from_arrow(table).with_columns(pl.col("prompt").cast(pl.Categorical)),
    "duckdb": _by_duckdb,
    "pandas": lambda table: table.to_pandas(),
}


@pytest.mark.parametrize("kind", TABLES)
def test_a_table_in_memory_is_read_as_a_frame_is(kind: str, read: Any) -> None:
    """Texts keep their zeros, nothing is nothing, and a second reading finds the same rows."""
    source = TABLES[kind](pa.table(ROWS))
    options = {"prompt_template": "{since}", "defaults": {"end_seconds": 4}}
    outcome = read(source, **options)
    assert outcome.problems == []
    assert [row.row_key for row in outcome.rows] == ROWS["row_key"]
    assert [row.request.prompt for row in outcome.rows] == ROWS["prompt"]
    assert [row.request.end_seconds for row in outcome.rows] == [5.0, 2.5, 4.0]
    assert [row.request.audio for row in outcome.rows] == ROWS["audio"]
    assert [row.fingerprint for row in read(source, **options).rows] == [row.fingerprint for row in outcome.rows]


def test_a_large_table_comes_in_batches(read: Any) -> None:
    """Row numbers go on where one batch ends, however the table is cut; no row is lost or doubled."""
    count = 2 * BATCH_ROWS + 7
    table = pa.table(
        {"row_key": [f"K{n}" for n in range(count)], "image_path": ["https://x.test/a.png"] * count, "prompt": "x"}
        | {"prompt": ["x"] * count}
    )
    outcome = read(pa.concat_tables([table.slice(0, 3), table.slice(3)]))
    assert [row.row_number for row in outcome.rows] == list(range(1, count + 1))
    assert outcome.rows[-1].row_key == f"K{count - 1}"


def test_a_stream_that_can_be_read_once_is_refused(read: Any) -> None:
    """It would be empty when the rows are sent; the message says what to pass."""
    with pytest.raises(ManifestError, match=r"only once.*read_all"):
        read(pa.table(ROWS).to_reader())


def test_lists_in_a_column_in_use_are_refused(read: Any) -> None:
    """By the column's name; in a column that is not used they are nothing to us."""
    table = pl.DataFrame({**ROWS, "tags": [["a"], ["b"], []]})
    assert read(table).problems == []
    with pytest.raises(ManifestError, match='the column "tags" holds'):
        read(table, prompt_template="{tags}", columns={"prompt": None})


def test_what_is_no_table_is_refused(read: Any) -> None:
    """Rather than read as something that it is not."""
    with pytest.raises(ManifestError, match="A list is neither a path nor a DataFrame nor an Arrow table"):
        read([{"row_key": "a"}])
