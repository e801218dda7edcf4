"""Whether the process behind a run is still there."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from functools import cache
from pathlib import Path

import psutil


@cache
def this_machine() -> str:
    """A name that means: process ids of the table can be looked up here.

    The host's name alone does not: two machines may be called `ubuntu`, and a container that goes by its host's name
    numbers its processes by itself.
    """
    parts = [platform.node()]
    with suppress(OSError):  # where there is no /proc, there are no such containers either
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().split("-")[0])
        parts.append(Path("/proc/self/ns/pid").readlink().name.strip("pid:[]"))
    return " ".join(parts)


def started(process: psutil.Process) -> float:
    """When it started, in seconds, by a clock that no one sets.

    On Linux psutil adds the start to the time of boot, which moves when someone sets the clock; what the kernel
    keeps does not. Elsewhere the kernel keeps the time of day.
    """
    with suppress(FileNotFoundError):
        after_name = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        return int(after_name[19]) / os.sysconf("SC_CLK_TCK")
    return process.create_time()


def is_dead(host: str, pid: int, pid_started: float, *, expired: bool) -> bool:
    """Whether a run's process is gone; where it can't be looked up, whether its lease has `expired`."""
    if host != this_machine():
        return expired
    try:
        process = psutil.Process(pid)
        return process.status() == psutil.STATUS_ZOMBIE or started(process) != pid_started
    except psutil.NoSuchProcess:
        return True
    except (psutil.AccessDenied, OSError):
        return expired
