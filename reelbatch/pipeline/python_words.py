"""What the calls from Python take and say: where the command line has options, these have parameters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from reelbatch.errors import ReelbatchError, UnusableKey
from reelbatch.manifest.parsing import plain
from reelbatch.typed_options import PARAMETERS, as_parameters


@contextmanager
def in_errors(**renamed: str) -> Iterator[None]:
    """Within it, or in a function that it decorates, errors name parameters; `renamed`: of that function alone."""
    try:
        yield
    except UnusableKey as error:
        error.args = (f"{error.what}. Pass api_key, or set the environment variable MAGIC_HOUR_API_KEY.",)
        raise
    except ReelbatchError as error:
        error.args = tuple(as_parameters(str(line), {**PARAMETERS, **renamed}) for line in error.args)
        raise


def listed(stated: object) -> tuple[str, ...]:
    """One word, or several; a number is the text that it is in a manifest's cell."""
    if isinstance(stated, Iterable) and not isinstance(stated, str):
        return tuple(map(plain, stated))
    return (plain(stated),)
