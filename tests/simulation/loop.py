"""An event loop whose time is stated, not waited for, and whose threads are steps that a seed places."""

from __future__ import annotations

import asyncio
import heapq
import selectors
from collections.abc import Callable, Mapping
from contextvars import Context
from random import Random
from typing import Any

from simulation.machines import Process, process_of

_SOON = 1e-6
_MOST_STEPS = 400_000


class Stuck(Exception):  # noqa: N818 - what became of a seed
    """Nothing is left to do, or there is no end to it."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """Runs what is due, and then the clock is at what is due next.

    Each callback belongs to the process in whose context it was asked for. Those of a dead process are dropped, as a
    SIGKILL drops them: no `finally` of it runs. Those of a process that is stopped wait until it goes on.

    Args:
        chance: how long work of threads takes.
        connect: opens a connection, in place of the network.
    """

    def __init__(self, chance: Random) -> None:
        super().__init__(_NoFiles())
        self.steps = 0
        self.made: list[asyncio.Task[Any]] = []
        """All tasks: one of a killed process must not be collected, since that would run its `finally` clauses."""
        self.connect: Callable[[Any, int], Any] = _refuse
        self._now = 0.0
        self._chance = chance
        self.set_task_factory(self._make_task)

    def time(self) -> float:
        """Seconds since the seed began."""
        return self._now

    def shift(self, seconds: float) -> None:
        """That many seconds go by in which nothing runs; what was due in them is due now."""
        self._now += seconds

    def resume(self, process: Process) -> None:
        """What waited while `process` was stopped is done now."""
        waited, process.waiting = process.waiting, []
        self._ready.extend(waited)

    # --- in place of asyncio's own

    def _run_once(self) -> None:
        ready, scheduled = self._ready, self._scheduled
        if not ready:
            self._until_next()
        while scheduled and scheduled[0]._when <= self._now:
            timer = heapq.heappop(scheduled)
            timer._scheduled = False
            ready.append(timer)
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle._cancelled:
                self._step(handle)

    def _until_next(self) -> None:
        scheduled = self._scheduled
        while scheduled and scheduled[0]._cancelled:
            heapq.heappop(scheduled)._scheduled = False
        if not scheduled:
            raise Stuck("nothing is left to do, and the run has not ended")
        self._now = max(self._now, scheduled[0]._when)

    def _step(self, handle: Any) -> None:
        self.steps += 1
        if self.steps > _MOST_STEPS:
            raise Stuck(f"no end after {self.steps:,} steps, {self._now:,.0f} s")
        process = process_of(handle._context)
        if process is None or process.runs:
            handle._run()
        elif not process.is_dead:
            process.waiting.append(handle)

    def call_soon_threadsafe(self, callback: Any, *args: Any, context: Context | None = None) -> asyncio.Handle:
        """There is one thread."""
        return self.call_soon(callback, *args, context=context)

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        """Run `func` in one go, after a while; what it comes to is known a while later."""
        future = self.create_future()
        self.call_later(self._moment(), self._run_as_thread, future, func, args)
        return future

    def _run_as_thread(self, future: asyncio.Future[Any], func: Callable[..., Any], args: tuple[Any, ...]) -> None:
        try:
            result = func(*args)
        except Exception as error:  # noqa: BLE001 - it is for the one who waits
            self.call_later(self._moment(), _fail, future, error)
        else:
            self.call_later(self._moment(), _succeed, future, result)

    def _moment(self) -> float:
        return self._chance.expovariate(1 / 0.002)

    async def create_connection(self, protocol_factory: Any, host: Any = None, port: Any = None, **_: Any) -> Any:
        """A simulated one."""
        return await self.connect(protocol_factory, port)

    def _make_task(self, _: asyncio.AbstractEventLoop, coroutine: Any, **more: Any) -> asyncio.Task[Any]:
        task = asyncio.Task(coroutine, loop=self, **more)
        self.made.append(task)
        return task

    def _make_self_pipe(self) -> None:
        self._internal_fds = 0

    def _close_self_pipe(self) -> None:
        """There is none."""

    def _write_to_self(self) -> None:
        """There is one thread."""


class _NoFiles(selectors.BaseSelector):
    """Nothing real is waited for."""

    def register(self, fileobj: Any, events: int, data: Any = None) -> Any:
        raise AssertionError("a simulated process opened a real socket")

    def unregister(self, fileobj: Any) -> Any:
        raise KeyError(fileobj)

    def select(self, timeout: float | None = None) -> list[Any]:
        return []

    def get_map(self) -> Mapping[Any, Any]:
        return {}

    def close(self) -> None:
        """Nothing is open."""


async def _refuse(_: Any, __: int) -> Any:
    raise ConnectionRefusedError("there is no network")


def _succeed(future: asyncio.Future[Any], result: Any) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
