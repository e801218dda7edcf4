"""Results tables as they look after a long run, made without sending: loaded by Reelbatch, then marked with SQL."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from benchmarks.figures import Bench
from benchmarks.processes import run_script, table_url
from benchmarks.rows import CREDITS, write_csv

_NOW = "strftime('%Y-%m-%d %H:%M:%f000', 'now')"
_SENT = f"""
UPDATE generations SET state = 'rendering', attempts = 1, run_id = 'bench', submitted_at = {_NOW}, due_at = {_NOW},
  token = printf('rb_%020x', row_number), video_id = printf('v%024d', row_number),
  credits_charged = {CREDITS}, estimated_frame_cost = {CREDITS}
"""  # noqa: S608 - constants
_FINISHED = f"""
UPDATE generations SET state = 'complete', settled_at = {_NOW}, fps = 24.0, width = 640, height = 480,
  credits_final = {CREDITS}
"""  # noqa: S608 - constants
_FAILED = """
UPDATE generations
SET state = 'error', credits_final = 0, error_code = 'processing_timeout', error_message = 'too slow'
WHERE row_number % {each} = 0
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
    """A folder with `results.db`: every row complete but each so-manieth, which is in error."""
    return _marked(bench, rows, _SENT, _FINISHED, _FAILED.format(each=failed_each), _ATTEMPTS, _COMMITTED)


def rendering_table(bench: Bench, rows: int) -> Path:
    """The same with every video still rendering, and due to be asked about."""
    return _marked(bench, rows, _SENT, _ATTEMPTS, _COMMITTED)


def _marked(bench: Bench, rows: int, *statements: str) -> Path:
    folder = bench.place("table")
    manifest = write_csv(folder / "rows.csv", rows)
    run_script("load", manifest, base_url="http://127.0.0.1:9", results=table_url(folder))
    with closing(sqlite3.connect(folder / "results.db")) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return folder
