"""Ctrl-C, SIGTERM, a closed terminal: the first stops gently, a second Ctrl-C or SIGTERM at once."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_AT_ONCE = frozenset({signal.SIGINT, signal.SIGTERM})
_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # the last comes, often twice, when a terminal or a connection is closed
_SIGNALS = tuple(getattr(signal, name) for name in _NAMES if hasattr(signal, name))


@contextmanager
def stopping_gently(stop: Callable[[], None]) -> Iterator[None]:
    """While inside, the first signal calls `stop` in the event loop; a second one ends the process at once.

    What was under way then is treated as after a crash by the next run. Outside of the main thread, where signals
    can't be handled, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    seen = 0

    def on_signal(number: int, _: Any) -> None:
        nonlocal seen
        seen += number in _AT_ONCE
        if seen > 1:
            os._exit(128 + number)
        loop.call_soon_threadsafe(stop)

    heard = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]  # nohup stays nohup
    earlier = {number: signal.signal(number, on_signal) for number in heard}
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
