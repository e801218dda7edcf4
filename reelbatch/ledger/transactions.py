"""One transaction, surely committed once: across lost connections and collisions with other workers.

A COMMIT whose answer is lost may have happened or not. So each transaction on Postgres also moves a counter of its
writer; on a new connection that counter says which. SQLite has no connection to lose, and one writer at a time.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import Connection, Engine, delete, insert, select, update

from reelbatch.errors import LedgerError
from reelbatch.ledger.engine import is_collision, is_lost, is_postgres, now, reading, writing
from reelbatch.ledger.schema import writers

if TYPE_CHECKING:
    from reelbatch.ledger.group_commit import Work
    from reelbatch.ledger.ledger import Ledger

Answer = TypeVar("Answer")
Item = TypeVar("Item")
Result = TypeVar("Result")
PATIENCE_S = 30.0
"""How long a lost database is waited for; less than a lease, so that nobody else takes over meanwhile."""
_POLL_S = 0.25
MOST_COLLISIONS = 10
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
            LedgerError: nothing of it was written, except where the message says that nobody can tell.
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
                if is_collision(error.__cause__) and collisions < MOST_COLLISIONS:
                    collisions += 1
                    time.sleep(random.uniform(0, 0.02 * collisions))
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
        if connection.execute(counted).rowcount != 1:  # somebody has cleared it away
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
        if not is_lost(error.__cause__) or time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
        return True

    def leave(self) -> None:
        """Nothing more will be written."""
        if self._entered:
            with writing(self._engine) as connection:
                connection.execute(delete(writers).where(writers.c.writer == self._writer))


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
