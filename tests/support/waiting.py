"""Waiting for what happens elsewhere: in another process, another thread, a table, on a socket."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable
from typing import Any

import pytest

WAIT_S = 60.0  # for what happens soon; only a failure takes so long
POLL_S = 0.02


def wait_until(condition: Callable[[], Any], what: str, seconds: float = WAIT_S) -> None:
    """Wait until `condition` holds; fail after that many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        _check(deadline, what, seconds)
        time.sleep(POLL_S)


async def until(condition: Callable[[], Any], what: str, seconds: float = WAIT_S) -> None:
    """As `wait_until`, while the event loop goes on; what `condition` gives may have to be awaited."""
    deadline = time.monotonic() + seconds
    while not await _now(condition):
        _check(deadline, what, seconds)
        await asyncio.sleep(POLL_S)


async def _now(condition: Callable[[], Any]) -> Any:
    found = condition()
    return await found if inspect.isawaitable(found) else found


def _check(deadline: float, what: str, seconds: float) -> None:
    if time.monotonic() > deadline:
        pytest.fail(f"waited {seconds:.0f} s in vain: {what}")
