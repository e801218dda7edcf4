"""The results table as the rest of the code sees it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from reelbatch.domain import Batch, Row, RunId
from reelbatch.errors import LedgerError, LedgerUnusable
from reelbatch.ledger import accounts, claims, runs, staging
from reelbatch.ledger.change_watch import ChangeWatch, watching
from reelbatch.ledger.engine import (
    LEASE_S,
    is_away,
    is_restarting,
    is_unwritable,
    now,
    open_engine,
    reading,
    session,
    writing,
)
from reelbatch.ledger.migrations import prepare
from reelbatch.ledger.run_history import RunHistory
from reelbatch.ledger.selection import SendOptions
from reelbatch.ledger.sqlite_file import is_empty
from reelbatch.ledger.staged_manifest import ANYWHERE, Origin, StagedManifest
from reelbatch.ledger.transactions import PATIENCE_S, POLL_S, GroupWriter, Item, Result, Transactor, Work
from reelbatch.ledger.unchanged_rows import Kept
from reelbatch.ledger.urls import parse_url, refuse_memory, shown, sqlite_path, unchanging, written
from reelbatch.memory import memory_given_back, no_collection
from reelbatch.row_batch import RowColumns

Answer = TypeVar("Answer")


class Ledger:
    """The results table behind one URL. Reads are synchronous; writes of a run go through one grouped writer.

    Args:
        url: a SQLAlchemy URL (SQLite or Postgres).
        lease_s: after this many seconds without a sign of life a worker counts as dead; all waits are well below.
        history: a file for the history of what is written; None: there is none.

    Raises:
        LedgerUnusable: the table can't be opened, is not ours or is newer than this version.
    """

    writes_by: type[GroupWriter] = GroupWriter
    """What commits the writes of runs: a thread of its own, but where a simulation steps it."""

    def __init__(self, url: str, lease_s: float = LEASE_S, history: Path | None = None) -> None:
        self.url = parse_url(url)
        self.history = RunHistory(history)
        self._engine: Engine = open_engine(self.url, lease_s)
        self.transactor = Transactor(self._engine, min(PATIENCE_S, lease_s / 2))  # before others take over
        self._writer: GroupWriter | None = None
        try:
            self._prepare()
            self.identity = self.read(accounts.identity)
        except BaseException:
            self._engine.dispose()
            raise

    def _prepare(self) -> None:
        """Make or migrate the tables. A database that restarts is waited for, also while nothing answers there."""
        deadline, restarts = time.monotonic() + self.transactor.patience_s, False
        while True:
            try:
                return prepare(self._engine)
            except LedgerUnusable as error:
                restarts = restarts or is_restarting(error)
                if not restarts or not is_away(error) or time.monotonic() > deadline:
                    raise
                time.sleep(POLL_S)

    @classmethod
    def to_read(cls, url: str, lease_s: float = LEASE_S) -> Self:
        """The table for someone who only reads; a SQLite file in a folder that can't be written is enough.

        Raises:
            LedgerUnusable: as above.
        """
        try:
            return cls(url, lease_s)
        except LedgerUnusable as error:
            stated = parse_url(url)
            still = unchanging(stated) if is_unwritable(error) else None
            if still is None:
                raise
            ledger = cls(written(still, hide_password=False))
            ledger.url = stated
            return ledger

    @staticmethod
    def exists(url: str) -> bool:
        """Whether there is a table to read; a SQLite file without any is none, and is not made one by looking for it.

        Raises:
            LedgerUnusable: it can't be looked for, or would be in memory.
        """
        parsed = parse_url(url)
        refuse_memory(parsed)
        path = sqlite_path(parsed)
        try:
            return path is None or (path.exists() and not is_empty(path))
        except OSError as error:
            raise LedgerUnusable(f"{path}: the results table can't be looked for: {error.strerror}") from error

    @property
    def path(self) -> Path | None:
        """The SQLite file; None for another database."""
        return sqlite_path(self.url)

    @property
    def label(self) -> str:
        """A short name for messages and files beside the table."""
        digest = hashlib.sha256(written(self.url).encode()).hexdigest()[:8]
        return f"{Path(self.url.database or 'memory').stem}-{digest}"

    @property
    def shown_url(self) -> str:
        """The URL as it may be printed."""
        return shown(self.url)

    def secret_of(self, run_id: RunId) -> str | None:
        """What signs the answers of a run that began here; None for any other."""
        return runs.secret_of(self._engine, run_id)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Commit what is waiting and let go of the database."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        runs.leave(self._engine)
        with suppress(LedgerError):  # only its counter stays behind
            self.transactor.leave()
        self._engine.dispose()
        self.history.close()

    async def write(self, work: Work[Item, Result], item: Item) -> Result:
        """Run a write in the next group; returns when it is committed.

        Raises:
            LedgerError: it was not committed, and nothing of it was written.
        """
        if self._writer is None:
            self._writer = self.writes_by(self.transactor, self.history.committed)
        return await self._writer.do(work, item)

    def read(self, question: Callable[[Connection], Answer]) -> Answer:
        """The answer to one question, from a consistent view of the table."""
        return self.transactor.read(question)

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """A connection for streaming reads."""
        with reading(self._engine) as connection:
            yield connection

    def watching(self) -> AbstractContextManager[ChangeWatch]:
        """A watch that sees at once when this process or another one may have changed something."""
        return watching(self._engine)

    def change(self, work: Callable[[Connection], Answer]) -> Answer:
        """One write outside of a run, in its own transaction. `work` may be called again after a rollback."""
        result = self.transactor.write(work)
        if isinstance(work, partial):
            self.history.changed(work.func, work.keywords, result)
        return result

    def beat(self, sign: runs.Heartbeat) -> None:
        """A sign of life, past whatever other writes wait for."""
        with writing(self._engine) as connection:
            runs.beat(connection, [sign])

    def recover(self, lease: timedelta) -> tuple[int, int]:
        """Take back what dead workers held: (rows returned to pending, rows now in doubt)."""
        return self.change(lambda connection: _recover(connection, lease))

    def left_behind(self, lease: timedelta) -> int:
        """Rows that dead workers hold. They are only counted, for which the right to read is enough."""
        return self.read(lambda connection: _left_behind(connection, lease))

    @contextmanager
    def staged(
        self,
        batches: Iterable[Sequence[Row]],
        batch: Batch | None = None,
        options: SendOptions = SendOptions(),  # noqa: B008 - frozen
        origin: Origin = ANYWHERE,
    ) -> Iterator[StagedManifest]:
        """The manifest's rows in a temporary table, to compare and to merge.

        With a `batch`, rows that it has already, unchanged, are counted and not staged, which takes a fraction of the
        time.
        """
        with memory_given_back(), session(self._engine) as connection:
            staged = StagedManifest(connection, Kept(batch), (options, origin))
            try:
                staged.create()
                with no_collection():
                    for rows in batches:
                        staged.add(RowColumns.of(rows))
                staged.complete()
                yield staged
            finally:
                _drop_staged(connection)


def _drop_staged(connection: Connection) -> None:
    """A session that went away took the table along."""
    with suppress(SQLAlchemyError):
        connection.rollback()
        staging.drop(connection)
        connection.commit()


def _recover(connection: Connection, lease: timedelta) -> tuple[int, int]:
    at = now(connection)
    lost: list[RunId] = runs.lost(connection, at, lease)
    counts = claims.recover(connection, lost)
    runs.mark_dead(connection, lost, at)
    return counts


def _left_behind(connection: Connection, lease: timedelta) -> int:
    return claims.held(connection, runs.lost(connection, now(connection), lease, locked=False))


def in_memory() -> Ledger:
    """An empty table that is never written to disk, for looking at a manifest before there is a table."""
    return Ledger("sqlite://")
