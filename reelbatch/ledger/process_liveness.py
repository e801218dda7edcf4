"""Whether the process behind a run is still there."""

from __future__ import annotations

from reelbatch.machine import Process, machine


def this_machine() -> str:
    """A name that means: process ids of the table can be looked up here."""
    return machine.get().name()


def is_dead(host: str, pid: int, pid_started: float, *, expired: bool) -> bool:
    """Whether a run's process is gone; where it can't be looked up, whether its lease has `expired`."""
    if host != this_machine():
        return expired
    lives = machine.get().lives(Process(pid, pid_started))
    return expired if lives is None else not lives
