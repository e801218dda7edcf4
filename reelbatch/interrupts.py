"""Ctrl-C and SIGTERM: the first stops gently, the second at once."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stopping_gently(stop: Callable[[], None]) -> Iterator[None]:
    """While inside, the first signal calls `stop` in the event loop; the second ends the process at once.

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
        seen += 1
        if seen > 1:
            os._exit(128 + number)
        loop.call_soon_threadsafe(stop)

    earlier = {number: signal.signal(number, on_signal) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
