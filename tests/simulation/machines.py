"""Simulated machines: their clocks, and the processes on them, which live, are stopped, and die."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass, field
from random import Random
from typing import Any

from reelbatch import failpoints
from reelbatch import machine as real
from reelbatch.machine import machine

EPOCH = 1_790_000_000.0
"""The wall's clock at the begin of every seed: September 2026."""


class Killed(BaseException):
    """This process is no more. What catches it does nothing that anyone else sees."""


@dataclass(slots=True, eq=False)
class Host:
    """A machine. Its wall clock may be set; in suspend its monotonic clock stands still."""

    name: str
    clock: Callable[[], float]
    wall_ahead_s: float = 0.0
    suspended_s: float = 0.0
    asleep_until: float = 0.0
    processes: dict[int, Process] = field(default_factory=dict)

    def alive(self) -> list[Process]:
        """Its processes that are no more dead than stopped."""
        return [process for process in self.processes.values() if not process.is_dead]


class Process(real.Machine):
    """One process on one machine, as the code under test sees both."""

    def __init__(self, host: Host, kind: str, failures: Failures) -> None:
        self.host = host
        self.kind = kind
        self.pid = 100 + len(host.processes)
        self.began = host.clock()
        self.is_dead = False
        self.is_stopped = False
        self.waiting: list[asyncio.Handle] = []
        self.points = 0
        self.failures = failures
        self.main: asyncio.Task[Any] | None = None
        self.context = Context()
        self.ended: asyncio.Future[str] | None = None
        self.interrupt: Callable[[], None] | None = None
        self.ledgers: list[Any] = []
        self.acknowledged: list[str] = []
        """Marks of creates whose successes came to it as a whole."""
        host.processes[self.pid] = self

    @property
    def runs(self) -> bool:
        """Whether it gets to do anything."""
        return not (self.is_dead or self.is_stopped)

    def kill(self) -> None:
        """What it was about to do never happens; what it has written stays."""
        self.is_dead = True
        self.waiting.clear()
        self.end("killed")

    def end(self, how: str) -> None:
        """It is over; an ended process is as dead as a killed one."""
        self.is_dead = True
        if self.ended is not None and not self.ended.done():
            self.ended.set_result(how)

    def passed(self, name: str) -> None:
        """A point at which it may end, or its disk fail."""
        if self.is_dead:
            raise Killed
        self.points += 1
        self.failures.stops(self, name)
        if self.failures.kills(name):
            self.kill()
            raise Killed
        if (kind := self.failures.fails(name)) is not None:
            raise failpoints.failure(kind, name)

    def wall_s(self) -> float:
        """Unix seconds."""
        return EPOCH + self.host.clock() + self.host.wall_ahead_s

    def monotonic_s(self) -> float:
        """Seconds in which the machine was not suspended."""
        return self.host.clock() - self.host.suspended_s

    def awake_or_asleep_s(self) -> float | None:
        """Seconds."""
        return self.host.clock()

    def name(self) -> str:
        """The machine's."""
        return self.host.name

    def own_process(self) -> real.Process:
        """As the table keeps it."""
        return real.Process(self.pid, self.began)

    def lives(self, process: real.Process) -> bool | None:
        """Whether it is a living process of this machine."""
        found = self.host.processes.get(process.pid)
        return found is not None and not found.is_dead and found.began == process.started


@dataclass(slots=True)
class Failures:
    """Kills at points, and disks that fail, until `over`."""

    chance: Random
    kill_rate: float
    disk_rate: float
    over: bool = False
    kills_left: int = 0
    stops_left: int = 0
    stop_rate: float = 0.02
    stops_at: frozenset[str] = frozenset()  # names of points; none: any
    on_stop: Callable[[Process, float], None] = lambda _, __: None
    seen: dict[str, int] = field(default_factory=dict)

    def kills(self, name: str) -> bool:
        """Whether the process that passes this point dies here."""
        if self.over or not self.kills_left or self.chance.random() >= self.kill_rate:
            return False
        self.kills_left -= 1
        self.count(f"kill at {name}")
        return True

    def stops(self, process: Process, name: str) -> None:
        """Here `process` may stand still for a while: with an intent on the disk, say, and its request unsent."""
        if self.over or not self.stops_left or (self.stops_at and name not in self.stops_at):
            return
        if self.chance.random() >= self.stop_rate:
            return
        self.stops_left -= 1
        self.count(f"stop at {name}")
        self.on_stop(process, self.chance.choice((25.0, 70.0, 200.0, 400.0)))

    def fails(self, name: str) -> str | None:
        """How the disk fails here; None: it does not."""
        if self.over or not self.disk_rate or not failpoints.is_of_disk(name):
            return None
        if self.chance.random() >= self.disk_rate:
            return None
        self.count(f"disk at {name}")
        return self.chance.choice(("ENOSPC", "EIO"))

    def count(self, what: str) -> None:
        """For the figures."""
        self.seen[what] = self.seen.get(what, 0) + 1


class Points:
    """Takes every point to the process that passes it."""

    is_over = False
    """The seed has been judged: what is collected from now on does nothing."""

    def passed(self, name: str) -> None:
        """A point."""
        if self.is_over:
            raise Killed
        found = machine.get()
        if isinstance(found, Process):
            found.passed(name)


def process_of(context: Context) -> Process | None:
    """The simulated process that a callback belongs to; None: it belongs to none, as those of the network."""
    found = context.get(machine)
    return found if isinstance(found, Process) else None
