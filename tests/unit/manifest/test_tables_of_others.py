"""What other programs write is read back as it was, in every dialect; what is damaged harms nothing beside it."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest
from damaged_tables import read as read_damaged
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reelbatch.manifest.options import ManifestOptions
from reelbatch.manifest.readers.csv import DelimitedSource

NAMES = ["row_key", "prompt", "note"]
Row = Sequence[str]
Write = Callable[[Path, Sequence[Row], str], dict[str, Any]]


def by_csv_module(path: Path, rows: Sequence[Row], delimiter: str) -> dict[str, Any]:
    """Marks doubled, around what needs them."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows([NAMES, *rows])
    return {}


def by_csv_module_with_backslashes(path: Path, rows: Sequence[Row], delimiter: str) -> dict[str, Any]:
    """Marks around everything, and backslashes before those that are text."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter, quoting=csv.QUOTE_ALL, doublequote=False, escapechar="\\")
        writer.writerows([NAMES, *rows])
    return {"escape": "backslash"}


def by_pandas(path: Path, rows: Sequence[Row], delimiter: str) -> dict[str, Any]:
    """As notebooks do, with a mark as Excel likes it, and line ends that make pandas quote a lone carriage return."""
    frame = pd.DataFrame([tuple(row) for row in rows], columns=NAMES, dtype=object)
    frame.to_csv(path, sep=delimiter, index=False, encoding="utf-8-sig", lineterminator="\r\n")
    return {}


def by_duckdb(path: Path, rows: Sequence[Row], delimiter: str) -> dict[str, Any]:
    """As databases do."""
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE t (row_key VARCHAR, prompt VARCHAR, note VARCHAR)")
        connection.executemany("INSERT INTO t VALUES (?, ?, ?)", [list(row) for row in rows])
        connection.execute(f"COPY t TO '{path}' (HEADER, DELIMITER '{delimiter}', FORCE_QUOTE *)")
    return {}


cell = st.text(
    st.one_of(st.sampled_from("\",;\t|\n\r\\ 'N"), st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    max_size=20,
)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(st.integers(0, 99).map(str), cell, cell), min_size=1, max_size=6),
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
)
@pytest.mark.parametrize("write", [by_csv_module, by_csv_module_with_backslashes, by_pandas, by_duckdb])
def test_what_others_write_is_read_back_equal(tmp_path: Path, write: Write, rows: Any, delimiter: str) -> None:
    """Marks, delimiters, line ends, backslashes and any script, every cell as it was."""
    path = tmp_path / "table.csv"
    options = write(path, rows, delimiter)
    source = DelimitedSource(str(path), ManifestOptions(multiline="allow", delimiter=delimiter, **options), NAMES)
    batches = list(source.read(NAMES))
    assert [broken for batch in batches for broken in batch.broken] == []
    assert [row for batch in batches for row in zip(*batch.columns.values(), strict=True)] == rows


def test_damaged_files_merge_no_rows_and_end(tmp_path: Path) -> None:
    """Three hundred files, each damaged in its own way: rows or an error of ours, in bounded time."""
    assert [wrong for number in range(300) for wrong in read_damaged(number, tmp_path / "c.csv")] == []
