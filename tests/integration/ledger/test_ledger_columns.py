"""The list of columns and what is made of it."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

from acting import entry, load, rows_of, states

from reelbatch.ledger import Ledger
from reelbatch.ledger.columns import CLEARED, COLUMNS, EXPORTED, ColumnKind, ResultColumn
from reelbatch.ledger.schema import generations

PAGE = Path(__file__).parents[3] / "docs" / "results-table.md"
WORDS = {
    ColumnKind.WORD: "text",
    ColumnKind.TEXT: "text",
    ColumnKind.INTEGER: "integer",
    ColumnKind.LARGE_INTEGER: "integer",
    ColumnKind.FLOAT: "float",
    ColumnKind.BOOLEAN: "boolean",
    ColumnKind.TIME: "time, UTC",
}
FIRST = 42
"""Columns of the first tables; what came later has to be found out for rows that are there already."""


def written(column: ResultColumn) -> str:
    """The column's line in the documentation."""
    kind = WORDS[column.kind] + (f", {column.unit}" if column.unit else "")
    return f"| `{column.name}` | {kind} | {column.doc} |"


def documented() -> list[str]:
    """Lines of the page's tables of columns, in their order."""
    text = PAGE.read_text(encoding="utf-8")
    section = text[text.index("\n## results:") : text.index("\n## States")]
    return [line for line in section.splitlines() if re.match(r"\| `", line)]


def test_every_column_is_documented_and_no_other() -> None:
    """Both tables of docs/results-table.md say what columns.py says: name, type, unit and meaning."""
    needed = [column for column in COLUMNS if not column.exported]
    assert documented() == [written(column) for column in (*EXPORTED, *needed)]


def test_the_page_says_how_many_columns_are_exported() -> None:
    """Anyone who counts finds as many as the page states."""
    assert f"The first {len(EXPORTED)} columns" in PAGE.read_text(encoding="utf-8")


def test_a_later_column_can_be_added_to_a_table_that_has_rows() -> None:
    """Rows of an older table know nothing of it: it may be null, or has a default."""
    for column in COLUMNS[FIRST:]:
        assert column.nullable or column.default is not None, column.name


def test_what_starts_anew_can_be_empty() -> None:
    """A row that is sent again begins without what its earlier video left."""
    assert all(generations.c[name].nullable for name in CLEARED)


def test_what_a_row_is_and_asks_for_never_starts_anew() -> None:
    """Its key, its request and the count of its attempts stay when it is sent again."""
    kept = {"batch", "row_key", "row_number", "image_path", "prompt", "fingerprint", "attempts", "generation"}
    assert not kept & set(CLEARED)


def test_a_column_that_an_older_table_lacks_is_added(tmp_path: Path) -> None:
    """A new column needs no migration of its own: rows that were there have null, or its default."""
    url = f"sqlite:///{tmp_path}/r.db"
    with Ledger(url) as ledger:
        load(ledger, rows_of("a"))
    with closing(sqlite3.connect(tmp_path / "r.db")) as connection, connection:
        connection.execute("DROP VIEW results")
        connection.execute("ALTER TABLE generations DROP COLUMN waited_until")
        connection.execute("ALTER TABLE generations DROP COLUMN rerun_wanted")
        connection.execute("UPDATE reelbatch_schema SET version = version - 1")
    with Ledger(url) as ledger:
        row = entry(ledger, "a")
        assert (row["waited_until"], row["rerun_wanted"]) == (None, False)
        assert states(ledger) == {"a": "pending"}
