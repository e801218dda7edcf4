"""Ctrl-C and SIGTERM before there is anything to close. It imports next to nothing, to be in place at once."""

from __future__ import annotations

# `signal` itself takes longer to import than Python to start; this is what it wraps.
import _signal  # type: ignore[import-not-found]  # it has no stubs
import os

INTERRUPTED = 130


def end(_number: int, _frame: object) -> None:
    """End the process at once and without a word, also in the midst of an import."""
    os._exit(INTERRUPTED)


def end_at_once() -> None:
    """From here on both do that; not where they are ignored, as under nohup. For programs, in their main thread."""
    for number in (_signal.SIGINT, _signal.SIGTERM):
        if _signal.getsignal(number) in {_signal.default_int_handler, _signal.SIG_DFL}:
            _signal.signal(number, end)
