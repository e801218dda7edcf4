"""Ctrl-C, SIGTERM, a closed terminal: the first stops gently, a second Ctrl-C or SIGTERM at once.

Three answers to the first two follow each other in a command: while nothing is open that would have to be closed,
they end the process at once (`ctrl_c`); then they unwind it, so that files and processes of the command go
(`unwinding`); while rows are sent or videos followed, they stop it gently (`stopping_gently`).
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from reelbatch.ctrl_c import INTERRUPTED, end

SAID_AT_FIRST = "Stopping: what is under way is waited for and recorded. Ctrl-C again stops at once."
_AT_ONCE = frozenset({signal.SIGINT, signal.SIGTERM})
_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # the last comes, often twice, when a terminal or a connection is closed
_SIGNALS = tuple(getattr(signal, name) for name in _NAMES if hasattr(signal, name))


@contextmanager
def unwinding() -> Iterator[None]:
    """While inside, both raise KeyboardInterrupt, so that what is open is closed. Elsewhere nothing changes.

    `asyncio` cancels its main task on Ctrl-C only where this is how it is answered.
    """
    is_main = threading.current_thread() is threading.main_thread()
    answered = [number for number in _AT_ONCE if is_main and signal.getsignal(number) is end]
    for number in answered:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in answered:
            signal.signal(number, end)


@contextmanager
def stopping_gently(stop: Callable[[], None]) -> Iterator[None]:
    """While inside, the first signal calls `stop` in the event loop; a second one ends the process at once.

    What was under way then is treated as after a crash by the next run. Outside of the main thread, where signals
    can't be handled, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    import asyncio  # here, since `status` has no need of it

    loop = asyncio.get_running_loop()
    seen = 0

    def on_first() -> None:
        logging.getLogger("reelbatch").warning(SAID_AT_FIRST)
        stop()

    def on_signal(number: int, _: Any) -> None:
        nonlocal seen
        seen += number in _AT_ONCE
        if seen > 1:
            _show_cursor()
            os._exit(INTERRUPTED)
        loop.call_soon_threadsafe(on_first if seen else stop)

    heard = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]  # nohup stays nohup
    earlier = {number: signal.signal(number, on_signal) for number in heard}
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


def _show_cursor() -> None:
    """The progress line has hidden it, and will not come to show it again."""
    if os.isatty(2):
        os.write(2, b"\x1b[?25h\n")
