"""What a check finds, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from reelbatch.errors import ReelbatchError


class Health(StrEnum):
    """How it stands. Only a problem is one: a warning can be lived with, and what is absent may not be needed."""

    OK = "ok"
    ABSENT = "absent"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at, what was found, and the remedy where there is something to fix."""

    name: str
    health: Health
    found: str
    remedy: str | None = None


Examination = Callable[[], Iterable[Check]]


def ok(name: str, found: str) -> Check:
    """As it should be."""
    return Check(name, Health.OK, found)


def problem(name: str, found: str, remedy: str) -> Check:
    """A run would fail by it."""
    return Check(name, Health.PROBLEM, found, remedy)


def warning(name: str, found: str, remedy: str) -> Check:
    """A run may suffer by it."""
    return Check(name, Health.WARNING, found, remedy)


def carried_out(name: str, examination: Examination) -> Iterator[Check]:
    """What an examination finds; that it could not be carried out is a finding too, whatever is away."""
    try:
        yield from examination()
    except ReelbatchError as error:
        yield problem(name, str(error), "Fix that, then run `reelbatch doctor` again.")
    except Exception as error:  # noqa: BLE001 - a doctor that falls ill is no help
        what = f"could not be looked at ({type(error).__name__}: {error})"
        yield problem(name, what, "Report this; it is a mistake of Reelbatch.")
