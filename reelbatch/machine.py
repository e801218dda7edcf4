"""What a process asks of the machine that it runs on: the time, and which processes live.

A simulation states machines of its own; one holds for all that is called in its context.
"""

from __future__ import annotations

import os
import platform
import time
from contextlib import suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:  # a glance at a table's file has no need of it
    import psutil

_BOOT_CLOCK: int | None = getattr(time, "CLOCK_BOOTTIME", None)


class Process(NamedTuple):
    """A process as others can look it up: its number, and when it started, in seconds by a clock that no one sets."""

    pid: int
    started: float


class Machine:
    """This one."""

    def wall_s(self) -> float:
        """Unix seconds."""
        return time.time()

    def monotonic_s(self) -> float:
        """Seconds of a clock that no one sets."""
        return time.monotonic()

    def awake_or_asleep_s(self) -> float | None:
        """The same by a clock that goes on while the machine sleeps; None where there is no such clock."""
        return None if _BOOT_CLOCK is None else time.clock_gettime(_BOOT_CLOCK)

    def name(self) -> str:
        """What means: process ids of the table can be looked up here."""
        return _name()

    def own_process(self) -> Process:
        """The one that asks."""
        import psutil

        process = psutil.Process()
        return Process(process.pid, _started(process))

    def lives(self, process: Process) -> bool | None:
        """Whether a process of this machine is still there; None where that can't be looked up."""
        import psutil

        try:
            found = psutil.Process(process.pid)
            return found.status() != psutil.STATUS_ZOMBIE and _started(found) == process.started
        except psutil.NoSuchProcess:
            return False
        except (psutil.AccessDenied, OSError):
            return None


machine: ContextVar[Machine] = ContextVar("machine", default=Machine())  # noqa: B039 - it holds nothing
"""The one that this code runs on."""


def utc_now() -> datetime:
    """Now, in UTC, by the machine's clock."""
    return datetime.fromtimestamp(machine.get().wall_s(), UTC)


def monotonic_s() -> float:
    """Seconds of a clock that no one sets."""
    return machine.get().monotonic_s()


@cache
def _name() -> str:
    """The host's name alone does not tell machines apart.

    Two machines may be called `ubuntu`, and a container that goes by its host's name numbers its processes by itself.
    """
    parts = [platform.node()]
    with suppress(OSError):  # where there is no /proc, there are no such containers either
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().split("-")[0])
        parts.append(Path("/proc/self/ns/pid").readlink().name.strip("pid:[]"))
    return " ".join(parts)


def _started(process: psutil.Process) -> float:
    """When it started.

    On Linux psutil adds the start to the time of boot, which moves when someone sets the clock; what the kernel
    keeps does not. Elsewhere the kernel keeps the time of day.
    """
    with suppress(FileNotFoundError):
        after_name = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        return int(after_name[19]) / os.sysconf("SC_CLK_TCK")
    return process.create_time()
