"""What the API said of an account, kept while one command runs: its key check, its question and its run ask once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:  # the command line begins with this module
    from datetime import datetime

    from reelbatch.client import Account
    from reelbatch.settings import Settings

FRESH_S = 60.0
"""A person may look at the question for longer; then the run asks again."""


class Said(NamedTuple):
    """What the API said, and when: a balance is that of its moment."""

    account: Account
    at: datetime


_kept: ContextVar[dict[object, tuple[float, Said]] | None] = ContextVar("kept", default=None)


@contextmanager
def asking_once() -> Iterator[None]:
    """Within it an answer serves all who ask with the same key. Elsewhere everyone asks for themselves."""
    token = _kept.set({})
    try:
        yield
    finally:
        _kept.reset(token)


def kept(settings: Settings) -> Said | None:
    """What was said a short while ago."""
    known = (_kept.get() or {}).get((settings.base_url, settings.api_key))
    return known[1] if known is not None and time.monotonic() - known[0] <= FRESH_S else None


def keep(settings: Settings, said: Said) -> Said:
    """Returns `said`, which others may have too."""
    if (known := _kept.get()) is not None:
        known[settings.base_url, settings.api_key] = (time.monotonic(), said)
    return said
