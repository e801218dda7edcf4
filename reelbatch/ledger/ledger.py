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

from reelbatch.domain import Batch, Row, RowKey, RunId
from reelbatch.errors import LedgerError, LedgerUnusable
from reelbatch.failpoints import point
from reelbatch.ledger import accounts, claims, merge, orders, replaced_images, runs, staging
from reelbatch.ledger.duplicate_filter import Repeats
from reelbatch.ledger.engine import (
    LEASE_S,
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
    written,
)
from reelbatch.ledger.group_commit import GroupWriter, Item, Result, Work
from reelbatch.ledger.merge import Merge
from reelbatch.ledger.migrations import prepare
from reelbatch.ledger.orders import OpenOrder, Placing
from reelbatch.ledger.paid_requests import Held, Mark, Payer, RepeatSearch, payer_of
from reelbatch.ledger.selection import Action, Choice, Regenerate, RepeatPolicy, SendOptions, further, rows_of
from reelbatch.ledger.staging import ActionCount, Duplicate
from reelbatch.ledger.transactions import MOST_COLLISIONS, PATIENCE_S, Transactor
from reelbatch.ledger.unchanged_rows import Kept
from reelbatch.memory import memory_given_back, no_collection, one_ahead
from reelbatch.row_batch import RowColumns

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
    beyond_limit: int = 0  # rows to send that this run leaves to the next
    held: list[Held] = field(default_factory=list)
    unknown_keys: list[RowKey] = field(default_factory=list)  # that were named, and that the manifest does not have
    order: OpenOrder | None = None  # that is open, whether or not it goes on


_ANYBODY = Payer("local")
_NO_RUN = RunId("")


def _no_mark(stated: str) -> str | None:
    del stated
    return None


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a manifest comes from, and who would pay for it."""

    base: str = "."  # where its relative image paths start
    mark: Mark = _no_mark
    payer: Payer = _ANYBODY


class Ledger:
    """The results table behind one URL. Reads are synchronous; writes of a run go through one grouped writer.

    Args:
        url: a SQLAlchemy URL (SQLite or Postgres).
        lease_s: after so many seconds without a sign of life a worker counts as dead; all waits are well below.

    Raises:
        LedgerUnusable: the table can't be opened, is not ours or is newer than this version.
    """

    def __init__(self, url: str, lease_s: float = LEASE_S) -> None:
        self.url = parse_url(url)
        self._engine: Engine = open_engine(self.url, lease_s)
        self.transactor = Transactor(self._engine, min(PATIENCE_S, lease_s / 2))  # before others take over
        self._writer: GroupWriter | None = None
        try:
            prepare(self._engine)
            self.identity = self.read(accounts.identity)
        except BaseException:
            self._engine.dispose()
            raise

    @classmethod
    def to_read(cls, url: str, lease_s: float = LEASE_S) -> Self:
        """The table for somebody who only reads; a SQLite file in a folder that can't be written will do too.

        Raises:
            LedgerUnusable: as above.
        """
        try:
            return cls(url, lease_s)
        except LedgerUnusable as error:
            stated = parse_url(url)
            still = unchanging(stated)
            if still is None or not is_unwritable(error):
                raise
            ledger = cls(written(still, hide_password=False))
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
    def staged(
        self,
        batches: Iterable[Sequence[Row]],
        batch: Batch | None = None,
        options: SendOptions = SendOptions(),  # noqa: B008 - frozen
        origin: Origin = Origin(),
    ) -> Iterator[StagedManifest]:
        """The manifest's rows in a temporary table, to compare and to merge.

        With a `batch`, rows that it has already just so are counted and not staged, which takes a fraction of the
        time.
        """
        with memory_given_back(), session(self._engine) as connection, Repeats() as keys, Repeats() as requests:
            staged = StagedManifest(connection, Kept(batch), (keys, requests), (options, origin))
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

    def __init__(
        self,
        connection: Connection,
        kept: Kept,
        repeats: tuple[Repeats, Repeats],
        wanted: tuple[SendOptions, Origin],
    ) -> None:
        self._connection = connection
        self._kept = kept
        self._keys, self._requests = repeats
        self._options, self._origin = wanted
        self._choice = Choice(options=self._options)

    def create(self) -> None:
        """Make the table."""
        with self._connection.begin():
            staging.create(self._connection)
            batch = self._kept.batch
            if batch is not None:
                self._kept.new = not rows_of(self._connection, batch)
                self._kept.further = further(self._connection, batch)
                if not self._may_pass_over(batch):
                    self._kept.batch = None

    def _may_pass_over(self, batch: Batch) -> bool:
        """Whether rows that the table has just so need no second look."""
        if self._kept.new:
            return True
        options, base = self._options, runs.base_of(self._connection, batch)
        everything = options.regenerate is Regenerate.ALL or (options.makes_again and self._kept.further)
        return not everything and base == self._origin.base

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

    def compare(self, batch: Batch) -> Comparison:
        """What `generate` would do with every row.

        Raises:
            OrderOpen: videos are to be made anew, and another order is open.
        """
        with self._connection.begin():
            return self._compare(batch)

    def _compare(self, batch: Batch) -> Comparison:
        connection, kept, options = self._connection, self._kept, self._options
        open_ = orders.open_order(connection, batch)
        going_on = orders.going_on(connection, batch, options)
        choice = self._choice = Choice(
            options=options,
            order=None if going_on is None else going_on.order_id,
            open_order=None if open_ is None else open_.order_id,
            further=further(connection, batch),
        )
        unknown = staging.choose(connection, options.row_keys or ())
        if not kept.new:
            replaced_images.mark(connection, batch, choice, self._origin.mark)
        held = self._search(batch, choice)
        # A new batch was counted on the way, but for what was found out since.
        counted = kept.new and not held and not choice.only_order
        counts = kept.added_to([] if counted else staging.compare(connection, batch, choice), staged=counted)
        first = None
        if options.limit is not None:
            first = staging.first_to_send(connection, batch, choice, kept.condition())
        return Comparison(
            counts=counts if first is None else _limited(counts, first),
            beyond_limit=0 if first is None else _to_send(counts) - _to_send(first),
            held=held,
            unknown_keys=unknown,
            order=open_,
            gone=staging.gone(connection, batch, kept.rows),
            duplicates=staging.duplicate_keys(connection, kept.condition()) if self._keys.likely() else [],
            same_requests=staging.same_requests(connection, kept.condition()) if self._requests.likely() else [],
        )

    def _search(self, batch: Batch, choice: Choice) -> list[Held]:
        if choice.options.repeats is RepeatPolicy.SEND:
            return []
        kept = self._kept
        payer = payer_of(self._connection, batch) or self._origin.payer
        search = RepeatSearch(batch, payer, self._origin.mark, kept.condition())
        search.run(self._connection, choice)
        kept.hold([(model, credits_) for _, model, credits_ in search.of_kept])
        self._held_of_kept = [held for held, *_ in search.of_kept]
        return search.found

    _held_of_kept: list[Held] = []  # noqa: RUF012 - until they are searched for

    def merge(self, batch: Batch, run_id: RunId = _NO_RUN, check: Callable[[Connection], None] | None = None) -> None:
        """Bring the manifest, as it was compared, into the results table, a hundred thousand rows at a time.

        `check` begins each transaction, and may raise to end it all. Where videos are to be made anew, the last one
        places the order.
        """
        connection = self._connection
        with connection.begin():
            spans = list(merge.spans(connection))
            known = rows_of(connection, batch) > 0
            staging.widen_cache(connection)
        merged = Merge(batch, self._origin.base, self._choice, new=not known)

        def merge_span(span: tuple[int, int]) -> None:
            if known:
                merge.relist(connection, batch, span, merged.base)
            merge.upsert(connection, merged, span)

        def finish() -> None:
            merge.unlist_gone(connection, batch, self._kept)
            merge.hold(connection, batch, self._held_of_kept)
            runs.set_base(connection, batch, merged.base)
            if self._options.makes_again:
                _place_order(connection, merged, run_id)

        for span in spans:
            self._transact(partial(merge_span, span), check)
        self._transact(finish, check)

    def _transact(self, work: Callable[[], None], check: Callable[[Connection], None] | None) -> None:
        """A transaction on the session that holds the temporary table; where others are in its way, once more."""
        self._connection.execution_options(reelbatch_writes=True)
        for left in range(MOST_COLLISIONS, -1, -1):
            try:
                with self._connection.begin():
                    if check is not None:
                        check(self._connection)
                    work()
                    point("merge.commit")
            except DBAPIError as error:
                if not left or not is_collision(error):
                    raise
            else:
                point("merge.committed")
                return


def _place_order(connection: Connection, merged: Merge, run_id: RunId) -> None:
    """A new order with all its rows, unless one is open already."""
    runs.lock_batch(connection, merged.batch)
    if orders.going_on(connection, merged.batch, merged.choice.options) is not None:
        return
    order = orders.place(connection, Placing(merged.batch, merged.choice.options, run_id, now(connection)))
    merge.place_order(connection, merged, order)
    orders.fix(connection, order)


def _to_send(counts: Iterable[ActionCount]) -> int:
    return sum(count.rows for count in counts if count.action is Action.SEND)


def _limited(counts: Iterable[ActionCount], first: Iterable[ActionCount]) -> list[ActionCount]:
    """`counts` with only the rows that a limit lets this run send."""
    return [*(count for count in counts if count.action is not Action.SEND), *first]


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
