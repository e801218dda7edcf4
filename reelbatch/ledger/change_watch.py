"""Whether the results table may have changed: asked again and again, so cheaply that a change is seen at once."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine

from reelbatch.ledger.engine import is_postgres, mapped_errors

_SQLITE_S, _POSTGRES_S = 0.01, 0.1


class ChangeWatch:
    """SQLite keeps a number that each commit moves, also one of another process; with Postgres any moment may do.

    Args:
        connection: of SQLite's driver, which nothing else uses; None: the database has no such number.
    """

    def __init__(self, connection: Any = None) -> None:
        self._connection = connection
        self._seen: int | None = None

    @property
    def pace_s(self) -> float:
        """Seconds between two questions that cost next to nothing."""
        return _POSTGRES_S if self._connection is None else _SQLITE_S

    def changed(self) -> bool:
        """Whether something may have been committed since the last question; yes where there is no answer."""
        if self._connection is None:
            return True
        before = self._seen
        try:
            (self._seen,) = self._connection.execute("PRAGMA data_version").fetchone()
        except sqlite3.Error:  # the next read of the table says what is wrong, in words
            return True
        return self._seen != before


@contextmanager
def watching(engine: Engine) -> Iterator[ChangeWatch]:
    """A watch on the table, until the end of the block.

    Raises:
        LedgerError: there is no connection to be had.
    """
    if is_postgres(engine):
        yield ChangeWatch()
        return
    with mapped_errors(engine.url):
        connection = engine.raw_connection()
    try:
        yield ChangeWatch(connection.driver_connection)
    finally:
        connection.close()
