"""Ctrl-C before there is anything to close. It imports next to nothing, so that it is in place as soon as can be."""

from __future__ import annotations

# `signal` itself takes longer to import than Python to start; this is what it wraps.
import _signal  # type: ignore[import-not-found]  # it has no stubs
import os

INTERRUPTED = 130


def end(_number: int, _frame: object) -> None:
    """End the process at once and without a word, also in the midst of an import."""
    os._exit(INTERRUPTED)


def end_at_once() -> None:
    """From here on Ctrl-C does that; not where it is ignored, as under nohup. For programs, in their main thread."""
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, end)
