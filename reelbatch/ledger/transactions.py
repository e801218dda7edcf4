"""One transaction, surely committed once, and many writes in one transaction.

A COMMIT whose answer is lost may have happened or not. So each transaction on Postgres also moves a counter of its
writer; on a new connection that counter says which. SQLite has no connection to lose, and one writer at a time.

A thousand rows do not mean a thousand fsyncs: one thread drains whatever is waiting into one transaction, and nothing
waits for more than its own group. Work of the same kind is handed over as one list, so it can be one `executemany`.
"""

from __future__ import annotations

import asyncio
import queue
import random
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Connection, Engine, delete, insert, select, update
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, StatementError

from reelbatch.errors import LedgerError, StateConflict
from reelbatch.ledger.engine import is_collision, is_lost, is_postgres, now, reading, writing
from reelbatch.ledger.schema import writers

if TYPE_CHECKING:
    from reelbatch.ledger.ledger import Ledger

Answer = TypeVar("Answer")
Item = TypeVar("Item")
Result = TypeVar("Result")
Work = Callable[[Connection, Sequence[Item]], Sequence[Result]]
"""Takes all items of its kind in the group and returns one result for each, in order."""
Done = tuple[Callable[..., Any], Any, Any]
"""A write, what it was given, what it returned."""
PATIENCE_S = 30.0
"""How long a lost database is waited for; less than a lease, so that no one else takes over meanwhile."""
POLL_S = 0.25
MOST_COLLISIONS = 10
"""Within the patience there may be more: after a restart, twenty workers clear up at once."""
_FORGOTTEN_AFTER = timedelta(days=90)  # counters of killed processes
_UNKNOWN = (
    "the connection was lost during a commit, and what became of it can't be found out; run the same command again"
)


class _NoCounterError(Exception):
    """This writer's counter is not there."""


class Transactor:
    """Reads and writes of one process on one table. Safe to use from several threads.

    Args:
        engine: the results table's.
        patience_s: how long a lost database is waited for, in seconds.
    """

    def __init__(self, engine: Engine, patience_s: float = PATIENCE_S) -> None:
        self.patience_s = patience_s
        self._engine = engine
        self._writer = secrets.token_hex(8)
        self._turn = threading.Lock()  # one counter, so one transaction after the other
        self._entered = False
        self._count = 0

    def read(self, question: Callable[[Connection], Answer]) -> Answer:
        """The answer to `question`, which may be asked again.

        Raises:
            LedgerError: the database failed, or stayed away for longer than the patience.
        """
        deadline = time.monotonic() + self.patience_s
        while True:
            try:
                with reading(self._engine) as connection:
                    return question(connection)
            except LedgerError as error:
                if not self._may_try_again(error, deadline):
                    raise

    def write(self, work: Callable[[Connection], Answer]) -> Answer:
        """`work` in one transaction that is committed exactly once; it may be called again after a rollback.

        Raises:
            LedgerError: nothing of it was written, except where the message says that no one can tell.
        """
        if not is_postgres(self._engine):
            with writing(self._engine) as connection:
                return work(connection)
        with self._turn:
            return self._write(work)

    def _write(self, work: Callable[[Connection], Answer]) -> Answer:
        deadline = time.monotonic() + self.patience_s
        self._enter(deadline)
        collisions = 0
        while True:
            done: list[Answer] = []
            try:
                with writing(self._engine) as connection:
                    self._move_counter(connection)
                    done.append(work(connection))
            except _NoCounterError:
                self._entered = False
                self._enter(deadline)
            except LedgerError as error:
                in_time = collisions < MOST_COLLISIONS or time.monotonic() < deadline
                if is_collision(error.__cause__) and in_time:  # the other transaction goes on meanwhile
                    collisions += 1
                    time.sleep(random.uniform(0, min(0.02 * collisions, POLL_S)))
                    continue
                if done and is_lost(error.__cause__) and self._was_committed(deadline):
                    return done[0]
                if not self._may_try_again(error, deadline):
                    raise
            else:
                return done[0]

    def _move_counter(self, connection: Connection) -> None:
        self._count += 1
        counted = update(writers).where(writers.c.writer == self._writer).values(writes=self._count)
        if connection.execute(counted).rowcount != 1:  # someone has cleared it away
            raise _NoCounterError

    def _enter(self, deadline: float) -> None:
        """This writer's counter, before it is needed: only a row that exists can be waited for."""
        while not self._entered:
            try:
                with writing(self._engine) as connection:
                    found = connection.scalar(select(writers.c.writes).where(writers.c.writer == self._writer))
                    if found is None:
                        here = now(connection)
                        connection.execute(insert(writers).values(writer=self._writer, writes=0, started_at=here))
                        connection.execute(delete(writers).where(writers.c.started_at < here - _FORGOTTEN_AFTER))
                self._entered = True
            except LedgerError as error:
                if not self._may_try_again(error, deadline):
                    raise

    def _was_committed(self, deadline: float) -> bool:
        """Whether the last transaction took place; waits for one that the server has not ended yet."""
        while True:
            try:
                with writing(self._engine) as connection:
                    own = select(writers.c.writes).where(writers.c.writer == self._writer)
                    counted = connection.scalar(own.with_for_update())
            except LedgerError as error:
                if not self._may_try_again(error, deadline):
                    raise LedgerError(f"{error}. {_UNKNOWN}") from error
            else:
                if counted is None:
                    raise LedgerError(_UNKNOWN)
                return bool(counted == self._count)

    @staticmethod
    def _may_try_again(error: LedgerError, deadline: float) -> bool:
        cause = error.__cause__
        if not (is_lost(cause) or is_collision(cause)) or time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
        return True

    def leave(self) -> None:
        """Nothing more will be written."""
        if self._entered:
            with writing(self._engine) as connection:
                connection.execute(delete(writers).where(writers.c.writer == self._writer))


_LARGEST_GROUP = 500
_GATHER_S = 0.008
"""Between two commits: a group of ten costs a quarter of ten groups of one, and no one waits for longer than that."""


@dataclass(slots=True)
class _Waiting:
    work: Work[Any, Any]
    item: Any
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    result: Any = None
    error: BaseException | None = None


class GroupWriter:
    """All writes of one process to its results table."""

    def __init__(self, transactor: Transactor, on_commit: Callable[[Iterator[Done]], None]) -> None:
        self._transactor = transactor
        self._on_commit = on_commit  # called in the writer's thread, before those who wait are answered
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="reelbatch-ledger", daemon=True)
        self._thread.start()

    async def do(self, work: Work[Item, Result], item: Item) -> Result:
        """Run `work` for `item` in the next group; returns when that group is committed.

        Raises:
            LedgerError: the group could not be committed; nothing of it was written.
        """
        loop = asyncio.get_running_loop()
        waiting = _Waiting(work, item, loop, loop.create_future())
        self._queue.put(waiting)
        result: Result = await waiting.future  # the one who waits may be cancelled; the write goes on
        return result

    def close(self) -> None:
        """Commit what is waiting, then end the thread."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        last = 0.0
        while (first := self._queue.get()) is not None:
            # One write by itself is committed at once; where they come thick and fast, a moment gathers a group.
            if (wait_s := last + _GATHER_S - time.monotonic()) > 0:
                time.sleep(wait_s)
            group = [first]
            while len(group) < _LARGEST_GROUP:
                try:
                    waiting = self._queue.get_nowait()
                except queue.Empty:
                    break
                if waiting is None:
                    self._queue.put(None)
                    break
                group.append(waiting)
            self._commit(group)
            self._on_commit((each.work, each.item, each.result) for each in group if each.error is None)
            last = time.monotonic()
            _answer(group)

    def _commit(self, group: list[_Waiting]) -> None:
        try:
            self._transact(group)
        except Exception as error:  # noqa: BLE001 - handed to the one who waits
            if len(group) == 1 or not _lies_with_an_item(error):
                for waiting in group:
                    waiting.error = _as_ledger_error(error)
                return
            for waiting in group:  # one bad write must not take its neighbours with it
                self._commit([waiting])

    def _transact(self, group: list[_Waiting]) -> None:
        kinds: dict[Work[Any, Any], list[_Waiting]] = {}
        for waiting in group:
            kinds.setdefault(waiting.work, []).append(waiting)

        def do_all(connection: Connection) -> None:
            for work, members in kinds.items():
                answers = work(connection, [waiting.item for waiting in members])
                for waiting, answer in zip(members, answers, strict=True):
                    waiting.result = answer

        self._transactor.write(do_all)


def _lies_with_an_item(error: Exception) -> bool:
    """Whether one item caused it, and not the database, which would fail the others as well."""
    if not isinstance(error, LedgerError) or isinstance(error, StateConflict):
        return True
    cause = error.__cause__
    unfit = isinstance(cause, StatementError) and not isinstance(cause, DBAPIError)
    return cause is None or unfit or isinstance(cause, DataError | IntegrityError)


def _as_ledger_error(error: Exception) -> Exception:
    return error if isinstance(error, LedgerError) else LedgerError(f"{type(error).__name__}: {error}")


def _answer(group: list[_Waiting]) -> None:
    loops: dict[asyncio.AbstractEventLoop, list[_Waiting]] = {}
    for waiting in group:
        loops.setdefault(waiting.loop, []).append(waiting)
    for loop, members in loops.items():
        try:
            loop.call_soon_threadsafe(_resolve, members)
        except RuntimeError:  # the loop is closed: no one waits any more; what was written stays written
            continue


def _resolve(members: list[_Waiting]) -> None:
    for waiting in members:
        if waiting.future.done():
            continue
        if waiting.error is not None:
            waiting.future.set_exception(waiting.error)
        else:
            waiting.future.set_result(waiting.result)


WAITS_S = (0.1, 0.4)
"""Between tries: enough for a deadlock that the database broke up, or a connection that it closed."""


async def write(ledger: Ledger, work: Work[Item, Result], item: Item) -> Result:
    """Run `work` for `item` in the table's next group of writes.

    Raises:
        LedgerError: it failed several times.
    """
    for wait_s in WAITS_S:
        try:
            return await ledger.write(work, item)
        except LedgerError:
            await asyncio.sleep(wait_s)
    return await ledger.write(work, item)
