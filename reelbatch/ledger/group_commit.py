"""Grouped commits: one thread drains whatever is waiting into one transaction.

A thousand rows do not mean a thousand fsyncs, and nothing waits for more than its own group. Work of the same
kind is handed over as one list, so that it can be one `executemany`.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, StatementError

from reelbatch.errors import LedgerError, StateConflict
from reelbatch.ledger.transactions import Transactor

Item = TypeVar("Item")
Result = TypeVar("Result")
Work = Callable[[Connection, Sequence[Item]], Sequence[Result]]
"""Takes all items of its kind in the group and answers with one result for each, in order."""

_LARGEST_GROUP = 500
_GATHER_S = 0.008
"""Between two commits: a group of ten costs a quarter of ten groups of one, and nobody waits for longer than that."""


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

    def __init__(self, transactor: Transactor) -> None:
        self._transactor = transactor
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
        result: Result = await waiting.future  # whoever waits may be cancelled; the write goes on
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
            last = time.monotonic()
            _answer(group)

    def _commit(self, group: list[_Waiting]) -> None:
        try:
            self._transact(group)
        except Exception as error:  # noqa: BLE001 - handed to whoever waits
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
        except RuntimeError:  # the loop is closed: nobody waits any more; what was written stays written
            continue


def _resolve(members: list[_Waiting]) -> None:
    for waiting in members:
        if waiting.future.done():
            continue
        if waiting.error is not None:
            waiting.future.set_exception(waiting.error)
        else:
            waiting.future.set_result(waiting.result)
