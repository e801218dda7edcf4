"""Numbered places at which a test ends or disturbs this process. Off, which is always but in tests, they do nothing.

TESTS_FAILPOINTS holds rules, separated by blanks:

kill@17            this process kills itself at the 17th point that it passes
kill@table.commit  … at the first point of this name; kill@table.commit#3: at the third;
                   kill@create.answered>table.commit: at the first after one of another name
EIO@5              the 5th point at which something is about to be written fails so; ENOSPC@5: so
EIO@5+             that one and all that come after it
record@FILE        the name of each point goes to FILE as it is passed
postgres           what fails in the results table fails as it would in Postgres, and not as in SQLite

A name's last word says what is about to happen or has happened; see docs/proof.md.
"""

from __future__ import annotations

import errno
import os
import signal
import threading
from dataclasses import dataclass
from typing import Protocol, Self

VARIABLE = "TESTS_FAILPOINTS"
_DISK = frozenset({"open", "write", "fsync", "rename", "link", "commit"})
"""Last words of the points at which a disk can fail: something is about to be written."""
_TABLE = frozenset({"table", "merge"})
"""First words of the points of the results table."""


def is_of_disk(name: str) -> bool:
    """Whether a disk can fail at the point `name`."""
    return name.rpartition(".")[2] in _DISK


def point(name: str) -> None:
    """Pass the point `name`."""
    if _armed is not None:
        _armed.passed(name)


@dataclass(slots=True)
class _Rule:
    """What happens at the `number`th point: of all, of those of the disk, or of those called `name`."""

    action: str
    number: int
    name: str | None
    after: str | None  # the count begins with the first point of this name
    onwards: bool
    count: int = 0

    @classmethod
    def of(cls, stated: str) -> Self:
        action, _, where = stated.partition("@")
        onwards, where = where.endswith("+"), where.removesuffix("+")
        after, _, where = where.rpartition(">")
        if where.isdecimal():
            return cls(action, int(where), None, after or None, onwards)
        name, _, number = where.partition("#")
        return cls(action, int(number or 1), name, after or None, onwards)

    def is_met(self, name: str) -> bool:
        """Whether the point `name` is the one; it is counted."""
        if self.after is not None:
            if name == self.after:
                self.after = None
            return False
        if not self._counts(name):
            return False
        self.count += 1
        return self.count == self.number or (self.onwards and self.count > self.number)

    def _counts(self, name: str) -> bool:
        return name == self.name if self.name else self.action == "kill" or is_of_disk(name)


class _Armed:
    """The rules of this process. Threads pass one after the other."""

    def __init__(self, stated: str) -> None:
        words = stated.split()
        self._postgres = "postgres" in words
        actions = [word for word in words if "@" in word]
        files = [word.removeprefix("record@") for word in actions if word.startswith("record@")]
        self._record = os.open(files[0], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600) if files else None
        self._rules = [_Rule.of(word) for word in actions if not word.startswith("record@")]
        self._lock = threading.Lock()

    def passed(self, name: str) -> None:
        """Count it, and do what a rule says."""
        with self._lock:
            if self._record is not None:
                os.write(self._record, f"{name}\n".encode())
            met = [rule.action for rule in self._rules if rule.is_met(name)]
        if "kill" in met:
            os.kill(os.getpid(), signal.SIGKILL)
        if met:
            raise self._failure(met[0], name)

    def _failure(self, kind: str, name: str) -> Exception:
        """The error that the disk's failure would be at this place."""
        if self._postgres and name.partition(".")[0] in _TABLE:
            return _of_postgres(int(getattr(errno, kind)))
        return failure(kind, name)


def _of_sqlite(number: int) -> Exception:
    import sqlite3

    from sqlalchemy.exc import OperationalError

    full = number == errno.ENOSPC
    error = sqlite3.OperationalError("database or disk is full" if full else "disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL if full else sqlite3.SQLITE_IOERR
    return OperationalError("COMMIT", None, error)


def _of_postgres(number: int) -> Exception:
    from psycopg import errors
    from sqlalchemy.exc import OperationalError

    if number == errno.ENOSPC:
        return OperationalError("COMMIT", None, errors.DiskFull("could not extend file: No space left on device"))
    return OperationalError("COMMIT", None, errors.IoError("could not write block: Input/output error"))


class Observer(Protocol):
    """What passes points in place of rules: a simulation, which ends or disturbs what it simulates."""

    def passed(self, name: str) -> None:
        """May raise what is to happen at the point `name`."""


def watch(observer: Observer | None) -> None:
    """Tell `observer` of every point; None: nothing happens at any."""
    global _armed  # noqa: PLW0603 - as below
    _armed = observer


def failure(kind: str, name: str) -> Exception:
    """The error that a disk's failure (ENOSPC, EIO) would be at the point `name`, in the table as SQLite has it."""
    number = int(getattr(errno, kind))
    return _of_sqlite(number) if name.partition(".")[0] in _TABLE else OSError(number, os.strerror(number))


def arm(stated: str | None) -> None:
    """Put rules in force in place of those that were; none disarms every point."""
    global _armed  # noqa: PLW0603 - one for the process, looked at by every point
    _armed = _Armed(stated) if stated else None


_armed: Observer | None = None
arm(os.environ.get(VARIABLE))
