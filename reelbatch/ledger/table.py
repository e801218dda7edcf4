"""The results table as the rest of the code sees it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import compress
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from reelbatch.domain import Batch, Row, RunId
from reelbatch.errors import LedgerError, LedgerUnusable
from reelbatch.ledger import claims, merging, runs, staging
from reelbatch.ledger.engine import (
    is_collision,
    is_unwritable,
    now,
    open_engine,
    parse_url,
    reading,
    session,
    shown,
    sqlite_path,
    unchanging,
    writing,
)
from reelbatch.ledger.kept import Kept
from reelbatch.ledger.migrations import prepare
from reelbatch.ledger.repeats import Repeats
from reelbatch.ledger.staging import ActionCount, Duplicate, Regenerate, Remake
from reelbatch.ledger.transacting import MOST_COLLISIONS, Transactor
from reelbatch.ledger.writer import GroupWriter, Item, Result, Work
from reelbatch.rowcolumns import RowColumns
from reelbatch.streams import memory_given_back, no_collection, one_ahead

Answer = TypeVar("Answer")


def utc_now() -> datetime:
    """Now, in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A manifest against the results table."""

    counts: list[ActionCount] = field(default_factory=list)
    gone: int = 0
    duplicates: list[Duplicate] = field(default_factory=list)
    same_requests: list[tuple[int, int]] = field(default_factory=list)


class Ledger:
    """The results table behind one URL. Reads are synchronous; writes of a run go through one grouped writer.

    Args:
        url: a SQLAlchemy URL (SQLite or Postgres).

    Raises:
        LedgerUnusable: the table can't be opened, is not ours or is newer than this version.
    """

    def __init__(self, url: str) -> None:
        self.url = parse_url(url)
        self._engine: Engine = open_engine(self.url)
        self.transactor = Transactor(self._engine)
        self._writer: GroupWriter | None = None
        try:
            prepare(self._engine)
        except BaseException:
            self._engine.dispose()
            raise

    @classmethod
    def to_read(cls, url: str) -> Self:
        """The table for somebody who only reads; a SQLite file in a folder that can't be written will do too.

        Raises:
            LedgerUnusable: as above.
        """
        try:
            return cls(url)
        except LedgerUnusable as error:
            stated = parse_url(url)
            still = unchanging(stated)
            if still is None or not is_unwritable(error):
                raise
            ledger = cls(still.render_as_string(hide_password=False))
            ledger.url = stated
            return ledger

    @staticmethod
    def exists(url: str) -> bool:
        """Whether there is a table to read; a SQLite file is not made by looking for it."""
        path = sqlite_path(parse_url(url))
        return path is None or path.exists()

    @property
    def path(self) -> Path | None:
        """The SQLite file; None for another database."""
        return sqlite_path(self.url)

    @property
    def label(self) -> str:
        """A short name for messages and files beside the table."""
        digest = hashlib.sha256(self.url.render_as_string(hide_password=True).encode()).hexdigest()[:8]
        return f"{Path(self.url.database or 'memory').stem}-{digest}"

    @property
    def shown_url(self) -> str:
        """The URL as it may be printed."""
        return shown(self.url)

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

    async def write(self, work: Work[Item, Result], item: Item) -> Result:
        """Run a write in the next group; returns when it is committed.

        Raises:
            LedgerError: it was not committed, and nothing of it was written.
        """
        if self._writer is None:
            self._writer = GroupWriter(self.transactor)
        return await self._writer.do(work, item)

    def read(self, question: Callable[[Connection], Answer]) -> Answer:
        """The answer to one question, from a consistent view of the table."""
        return self.transactor.read(question)

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """A connection for streaming reads."""
        with reading(self._engine) as connection:
            yield connection

    def change(self, work: Callable[[Connection], Answer]) -> Answer:
        """One write outside of a run, in its own transaction. `work` may be called again after a rollback."""
        return self.transactor.write(work)

    def beat(self, sign: runs.Heartbeat) -> None:
        """A sign of life, past whatever other writes wait for."""
        with writing(self._engine) as connection:
            runs.beat(connection, [sign])

    def recover(self, lease: timedelta) -> tuple[int, int]:
        """Take back what dead workers held: (rows returned to pending, rows now in doubt)."""
        return self.change(lambda connection: _recover(connection, lease))

    def left_behind(self, lease: timedelta) -> int:
        """Rows that dead workers hold. They are only counted, for which the right to read will do."""
        return self.read(lambda connection: _left_behind(connection, lease))

    @contextmanager
    def staged(self, batches: Iterable[Sequence[Row]], batch: Batch | None = None) -> Iterator[StagedManifest]:
        """The manifest's rows in a temporary table, to compare and to merge.

        With a `batch`, rows that it has already just so are counted and not staged, which takes a fraction of the
        time. Not for Regenerate.ALL.
        """
        with memory_given_back(), session(self._engine) as connection, Repeats() as keys, Repeats() as requests:
            staged = StagedManifest(connection, batch, keys, requests)
            try:
                staged.create()
                with no_collection(), closing(staged.arriving(batches)) as arriving:
                    for rows in arriving:
                        staged.add(RowColumns.of(rows))
                staged.complete()
                yield staged
            finally:
                _drop_staged(connection)


class StagedManifest:
    """A manifest in a temporary table of its own session."""

    def __init__(self, connection: Connection, batch: Batch | None, keys: Repeats, requests: Repeats) -> None:
        self._connection = connection
        self._kept = Kept(batch)
        self._keys = keys
        self._requests = requests

    def create(self) -> None:
        """Make the table."""
        with self._connection.begin():
            staging.create(self._connection)
            batch = self._kept.batch
            self._kept.new = batch is not None and not staging.rows_of(self._connection, batch)

    def arriving(self, batches: Iterable[Sequence[Row]]) -> Generator[Sequence[Row], None, None]:
        """The manifest's batches, each prepared while the database compares the one before it with what it has.

        Staging leaves another thread no room, so new rows come one batch after the other.
        """
        return (rows for rows in batches) if self._kept.new else one_ahead(batches)

    def add(self, rows: RowColumns) -> None:
        """Add the manifest's next rows."""
        self._keys.add(rows.column("row_key"))
        problems = rows.column("problem")
        fingerprints = rows.column("fingerprint")
        sound = problems.count(None) == len(rows)
        self._requests.add(fingerprints if sound else compress(fingerprints, [one is None for one in problems]))
        with self._connection.begin():
            if some := self._kept.sift(self._connection, rows):
                staging.fill(self._connection, some)

    def complete(self) -> None:
        """All rows are there."""
        with self._connection.begin():
            staging.complete(self._connection, indexed=not self._kept.new)

    def compare(self, batch: Batch, regenerate: Regenerate = Regenerate.NONE) -> Comparison:
        """What `generate` would do with every row."""
        connection, kept = self._connection, self._kept
        self._check(batch, regenerate)
        try:
            return Comparison(
                counts=kept.added_to([] if kept.new else staging.compare(connection, batch, regenerate)),
                gone=staging.gone(connection, batch, kept.rows),
                duplicates=staging.duplicate_keys(connection, kept.condition()) if self._keys.likely() else [],
                same_requests=staging.same_requests(connection, kept.condition()) if self._requests.likely() else [],
            )
        finally:
            connection.rollback()

    def merge(
        self,
        batch: Batch,
        regenerate: Regenerate = Regenerate.NONE,
        limit: int | None = None,
        check: Callable[[Connection], None] | None = None,
    ) -> None:
        """Bring the manifest into the results table, a hundred thousand rows at a time.

        With `limit`, no more finished videos are given up than a run that sends so many rows gets to. `check` begins
        each transaction, and may raise to end it all.
        """
        connection = self._connection
        self._check(batch, regenerate)
        spans = list(merging.spans(connection))
        remake = Remake(regenerate, self._last_made_again(batch, regenerate, limit))
        known = staging.rows_of(connection, batch) > 0
        staging.widen_cache(connection)
        connection.rollback()

        def merge_span(span: tuple[int, int]) -> None:
            if known:
                merging.relist(connection, batch, span)
            merging.upsert(connection, batch, span, remake, new=not known)

        for span in spans:
            self._transact(partial(merge_span, span), check)
        self._transact(partial(merging.unlist_gone, connection, batch, self._kept), check)

    def _check(self, batch: Batch, regenerate: Regenerate) -> None:
        if self._kept.batch is not None and (batch != self._kept.batch or regenerate is Regenerate.ALL):
            raise ValueError(f"staged for the batch {self._kept.batch}, of which finished videos stay")

    def _last_made_again(self, batch: Batch, regenerate: Regenerate, limit: int | None) -> int | None:
        if limit is None or regenerate is Regenerate.NONE:
            return None
        room = limit - merging.waiting(self._connection, batch) - self._kept.waiting
        return merging.last_made_again(self._connection, batch, regenerate, room)

    def _transact(self, work: Callable[[], None], check: Callable[[Connection], None] | None) -> None:
        """A transaction on the session that holds the temporary table; where others are in its way, once more."""
        self._connection.execution_options(reelbatch_writes=True)
        for left in range(MOST_COLLISIONS, -1, -1):
            try:
                with self._connection.begin():
                    if check is not None:
                        check(self._connection)
                    work()
            except DBAPIError as error:
                if not left or not is_collision(error):
                    raise
            else:
                return


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
