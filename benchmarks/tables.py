"""Results tables as they look after a long run, made without sending: loaded by Reelbatch, then marked with SQL."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from benchmarks.figures import Bench
from benchmarks.product import run_script, table_url
from benchmarks.rows import CREDITS, write_csv

_NOW = "strftime('%Y-%m-%d %H:%M:%f000', 'now')"
_SENT = f"""
UPDATE generations SET state = :state, attempts = 1, run_id = 'bench', submitted_at = {_NOW}, due_at = {_NOW},
  token = printf('rb_%020x', row_number), video_id = printf('v%024d', row_number),
  credits_charged = {CREDITS}, estimated_frame_cost = {CREDITS}
"""  # noqa: S608 - constants
_FINISHED = f"""
UPDATE generations SET settled_at = {_NOW}, fps = 24.0, width = 640, height = 480, credits_final = {CREDITS}
"""  # noqa: S608 - constants
_FAILED = """
UPDATE generations
SET state = 'error', credits_final = 0, error_code = 'processing_timeout', error_message = 'too slow'
WHERE row_number % :each = 0
"""
_ATTEMPTS = f"""
INSERT INTO attempts (token, batch, row_key, run_id, started_at, ended_at, outcome, http_status, video_id,
  credits_reserved, credits_charged, credits_final)
SELECT token, batch, row_key, 'bench', submitted_at, submitted_at, 'submitted', 200, video_id,
  {CREDITS}, {CREDITS}, credits_final FROM results
"""  # noqa: S608 - constants
_COMMITTED = """
UPDATE batches SET (worst_case, estimated, charged, final, refunded) = (
  SELECT sum(coalesce(credits_final, credits_charged)), sum(credits_reserved), sum(credits_charged),
    coalesce(sum(credits_final), 0), sum(credits_charged - coalesce(credits_final, credits_charged)) FROM attempts)
"""


def finished_table(bench: Bench, rows: int, *, failed_each: int) -> Path:
    """A folder with `rows.csv` and `results.db`: every row complete but each so-manieth, which is in error."""
    folder = _loaded(bench, rows)
    _execute(folder, (_SENT, {"state": "complete"}), (_FINISHED, {}), (_FAILED, {"each": failed_each}))
    _execute(folder, (_ATTEMPTS, {}), (_COMMITTED, {}))
    return folder


def rendering_table(bench: Bench, rows: int) -> Path:
    """The same with every video still rendering, and due to be asked about."""
    folder = _loaded(bench, rows)
    _execute(folder, (_SENT, {"state": "rendering"}), (_ATTEMPTS, {}), (_COMMITTED, {}))
    return folder


def query(path: Path, question: str, *values: Any) -> list[sqlite3.Row]:
    """Ask a table, past the program."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=60)) as connection:
        connection.row_factory = sqlite3.Row
        return connection.execute(question, values).fetchall()


def _loaded(bench: Bench, rows: int) -> Path:
    folder = bench.place(f"table-{rows}")
    manifest = write_csv(folder / "rows.csv", rows)
    run_script("load", manifest, base_url="http://127.0.0.1:9", results=table_url(folder))
    return folder


def _execute(folder: Path, *statements: tuple[str, dict[str, Any]]) -> None:
    with closing(sqlite3.connect(folder / "results.db", timeout=60)) as connection:
        for statement, values in statements:
            connection.execute(statement, values)
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
