"""A look at a SQLite table by Python's own driver: importing SQLAlchemy takes longer than all that `status` asks.

It answers only where a look is all that there is to do. What else there may be, an older table to migrate, rows of
dead workers to take back, a mistake to explain, is for `Ledger`.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from reelbatch.domain import HELD, SUMS, Batch, Credits, RowState
from reelbatch.ledger.columns import VERSION
from reelbatch.ledger.past_run import PastRun

_RUN = tuple(PastRun.__dataclass_fields__)
_TIMES = ("started_at", "ended_at", "balance_at")


class Standing(NamedTuple):
    """A batch as the table has it."""

    states: dict[RowState, int]
    credits: Credits
    last_run: PastRun | None
    manifest: str | None  # that it was read from last, as it was named


_SPECIAL = (
    "SELECT 1 FROM generations WHERE generation > 1 LIMIT 1",
    "SELECT 1 FROM generations WHERE in_manifest = 0 LIMIT 1",
    "SELECT 1 FROM decisions WHERE verdict = 'dismissed' LIMIT 1",
    "SELECT 1 FROM attempts INDEXED BY attempts_odd WHERE odd_figure IS NOT NULL LIMIT 1",
)
"""What takes more than a glance: rows that were made again, left the manifest, were dismissed or charged oddly."""
_PREFIX = "sqlite:///"


def plain_path(url: str) -> Path | None:
    """The file of a SQLite URL that says nothing but its path; None for any other URL."""
    path = url.removeprefix(_PREFIX)
    return None if path == url or "?" in path or ":memory:" in path else Path(path)


def glance(path: Path, batch: str | None = None) -> dict[Batch, Standing] | None:
    """Rows by state, money and last run, of each batch or of one; None where the table has to be opened properly."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=0)) as connection:
            connection.execute("BEGIN")  # all answers are of one moment
            return _standings(connection, batch) if _is_in_order(connection) else None
    except sqlite3.Error:
        return None


def apis(path: Path) -> set[str]:
    """Whose batches the table has; empty where it can't be read."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=0)) as connection:
            return {api for (api,) in connection.execute("SELECT DISTINCT api FROM batches")}
    except sqlite3.Error:
        return set()


def _is_in_order(connection: sqlite3.Connection) -> bool:
    """Whether it is of this version, each row has one line and is in its manifest, and no worker died."""
    if connection.execute("SELECT version FROM reelbatch_schema").fetchall() != [(VERSION,)]:
        return False
    if any(connection.execute(question).fetchone() is not None for question in _SPECIAL):
        return False
    held = ", ".join(f"'{state}'" for state in sorted(HELD))
    holders = connection.execute(f"SELECT DISTINCT run_id FROM generations WHERE state IN ({held})").fetchall()  # noqa: S608 - our states
    runs = connection.execute("SELECT run_id, host, pid, pid_started FROM runs WHERE ended_at IS NULL").fetchall()
    known = {run_id for run_id, *_ in runs}
    return all(run_id in known for (run_id,) in holders) and all(_is_at_work(*process) for _, *process in runs)


def _is_at_work(host: str, pid: int, pid_started: float) -> bool:
    from reelbatch.ledger.process_liveness import is_dead

    return pid != os.getpid() and not is_dead(host, pid, pid_started, expired=True)


def _standings(connection: sqlite3.Connection, batch: str | None) -> dict[Batch, Standing]:
    meant = "(:batch IS NULL AND archived_at IS NULL) OR batch = :batch"
    found = connection.execute(
        f"SELECT batch, {', '.join(SUMS)} FROM batches WHERE {meant} ORDER BY batch",  # noqa: S608 - our columns
        {"batch": batch},
    )
    named = "SELECT batch, json_extract(plan, '$.manifest') FROM loads WHERE plan IS NOT NULL"
    read = dict(connection.execute(named).fetchall())
    return {
        Batch(name): Standing(
            _counts(connection, name), Credits.of(sums), _last_run(connection, name), read.get(name)
        )
        for name, *sums in found.fetchall()
    }


def _counts(connection: sqlite3.Connection, batch: str) -> dict[RowState, int]:
    own = "SELECT count(*) FROM generations WHERE batch = ? AND state = ?"
    found = {state: connection.execute(own, (batch, state.value)).fetchone()[0] for state in sorted(RowState)}
    return {state: rows for state, rows in found.items() if rows}


def _last_run(connection: sqlite3.Connection, batch: str) -> PastRun | None:
    newest = f"SELECT {', '.join(_RUN)} FROM runs WHERE batch = ? ORDER BY started_at DESC, run_id LIMIT 1"  # noqa: S608 - our columns
    found = connection.execute(newest, (batch,)).fetchone()
    if found is None:
        return None
    known = dict(zip(_RUN, found, strict=True))
    times = {name: datetime.fromisoformat(known[name]).replace(tzinfo=UTC) for name in _TIMES if known[name]}
    return PastRun(**{**known, **times})
