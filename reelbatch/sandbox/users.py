"""A sandbox that several processes use is there as long as one of them is: each holds a connection to it."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from reelbatch.sandbox.wire import gone


class Users:
    """Who uses this sandbox, beside the one who started it. `word` is what they have to know."""

    def __init__(self) -> None:
        self.word = secrets.token_hex(16)
        self._holding = 0
        self._stop: Callable[[], None] | None = None  # once the one who started it is gone

    @property
    def over(self) -> bool:
        """Whether the last one is gone: no one can join any more."""
        return self._stop is not None and not self._holding

    def starter_left(self, stop: Callable[[], None]) -> None:
        """From now on `stop` is called when the last of the others is gone; at once, if there are none."""
        self._stop = stop
        self._stop_if_over()

    def arrived(self) -> None:
        """One more holds a connection."""
        self._holding += 1

    def left(self) -> None:
        """A connection ended, however it did."""
        self._holding -= 1
        self._stop_if_over()

    def _stop_if_over(self) -> None:
        if self._stop and self.over:
            self._stop()


class Held(Response):
    """An answer without an end: its client uses the sandbox as long as it holds the connection."""

    def __init__(self, users: Users) -> None:
        super().__init__()
        self.users = users

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - all are alike
        """Say which process this is, and wait until the client is gone."""
        self.users.arrived()
        try:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"%d\n" % os.getpid(), "more_body": True})
            await gone(receive)
        finally:
            self.users.left()
