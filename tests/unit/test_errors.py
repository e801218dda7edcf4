"""Errors as other processes get them: a pool of processes hands them over, as it does what a call returns."""

from __future__ import annotations

import pickle
from collections.abc import Iterator

import reelbatch
from reelbatch.errors import CreateError, ReelbatchError


def kinds_of(kind: type[ReelbatchError]) -> Iterator[type[ReelbatchError]]:
    """It and all that are made of it."""
    yield kind
    for each in kind.__subclasses__():
        yield from kinds_of(each)


def through_a_pool(error: ReelbatchError) -> ReelbatchError:
    """What comes out of one."""
    came: ReelbatchError = pickle.loads(pickle.dumps(error))  # noqa: S301 - made a moment ago
    return came


def test_a_refusal_says_there_what_it_said_here() -> None:
    """Else the pool is broken, and with it every answer that is still to come, paid ones too."""
    came = through_a_pool(CreateError("in doubt: no answer", status=504, outcome="in_doubt"))
    assert isinstance(came, CreateError)
    assert (str(came), came.status, came.outcome) == ("in doubt: no answer", 504, "in_doubt")


def test_every_error_comes_whole() -> None:
    """Its lines, and whatever else it knows."""
    assert callable(reelbatch.generate)  # with all that it needs
    for kind in kinds_of(ReelbatchError):
        if kind.__module__.startswith("reelbatch"):
            error = kind.__new__(kind, "what is wrong", "a remedy")
            vars(error)["known"] = ["TEA-001"]
            came = through_a_pool(error)
            assert (type(came), came.args, vars(came)) == (kind, error.args, vars(error))
