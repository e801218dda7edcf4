"""The ledger's writer, without its thread: each group is a step of the loop, and its answers are another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from random import Random
from typing import Any, ClassVar

from reelbatch.ledger.transactions import Done, GroupWriter, Item, Result, Transactor, Work, _answer, _Waiting


class SteppedWriter(GroupWriter):
    """Commits what waits, a while after the first of it came; those who wait are told a while after the commit.

    Between the two a process may be killed: then the write took place, and no one knows.
    """

    chance: ClassVar[Random] = Random(0)
    slowness_s: ClassVar[float] = 0.003

    def __init__(self, transactor: Transactor, on_commit: Callable[[Iterator[Done]], None]) -> None:
        self._transactor = transactor
        self._on_commit = on_commit
        self._queue: list[_Waiting] = []
        self._is_due = False

    async def do(self, work: Work[Item, Result], item: Item) -> Result:
        """As the thread does it."""
        loop = asyncio.get_running_loop()
        waiting = _Waiting(work, item, loop, loop.create_future())
        self._queue.append(waiting)
        if not self._is_due:
            self._is_due = True
            loop.call_later(self._moment(), self._step)
        result: Result = await waiting.future
        return result

    def close(self) -> None:
        """Commit what is waiting."""
        if group := self._taken():
            self._commit_all(group)

    def _commit_all(self, group: list[Any]) -> None:
        self._commit(group)
        self._on_commit((each.work, each.item, each.result) for each in group if each.error is None)

    def _taken(self) -> list[Any]:
        queue: Any = self._queue
        group, queue[:] = list(queue), []
        return group

    def _step(self) -> None:
        self._is_due = False
        if not (group := self._taken()):
            return
        self._commit_all(group)
        asyncio.get_running_loop().call_later(self._moment(), _answer, group)

    def _moment(self) -> float:
        """Mostly milliseconds; now and then seconds, as of a disk that is busy."""
        if self.chance.random() < 0.02:
            return self.chance.uniform(0.2, 3.0)
        return self.chance.expovariate(1 / self.slowness_s)
