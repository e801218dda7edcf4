"""Keeps connections that say nothing, or never come to an end, from taking the address away from real deliveries."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import dataclass, field
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_SPARE_FILES = 64
"""Descriptors that the results table and everything else need."""
_FEWEST = 8
_PAUSE_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a connection may take, before it has proved to be the API's. Times in seconds."""

    head_s: float = 5  # from the connection, or a request's first byte, to the end of its head
    body_s: float = 10  # from there to the end of its body: the API waits no longer for its answer
    idle_s: float = 5  # between two requests
    head_bytes: int = 64 * 1024
    connections: int = 100


def most_connections(limits: Limits) -> int:
    """How many there may be at once: fewer where this process may open few files."""
    with contextlib.suppress(ImportError):  # Windows
        import resource

        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if files != resource.RLIM_INFINITY:
            return min(limits.connections, max(_FEWEST, files - _SPARE_FILES))
    return limits.connections


class Gate:
    """All connections of one server, the one that has been of no use for longest first."""

    def __init__(self, limits: Limits, seldom: Seldom) -> None:
        self.limits = limits
        self.seldom = seldom
        self.most = most_connections(limits)
        self._open: dict[GuardedProtocol, None] = {}
        self._relieved = float("-inf")

    def enter(self, connection: GuardedProtocol) -> None:
        """Let it in, in place of an idle one if there are too many; where all are at work it has to go itself."""
        while len(self._open) >= self.most:
            self.seldom.warning("full", f"more than {self.most} connections at once: the oldest idle one is closed")
            if not self.relieve():
                connection.cut()
                return
        self._open[connection] = None

    def last(self, connection: GuardedProtocol) -> None:
        """It has just been of use."""
        if connection in self._open:
            del self._open[connection]
            self._open[connection] = None

    def leave(self, connection: GuardedProtocol) -> None:
        """It is gone."""
        self._open.pop(connection, None)

    def relieve(self) -> bool:
        """Close the connection that waits for its peer for longest; False where each is being answered."""
        idle = next((each for each in self._open if not each.at_work), None)
        if idle is None:
            return False
        self.leave(idle)
        idle.cut()
        return True

    def out_of_files(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """The event loop's exception handler: it tries to accept again in a second, and finds room then."""
        if "accept" not in context.get("message", ""):
            loop.default_exception_handler(context)
            return
        self.seldom.warning("files", "no more files can be opened: the oldest idle connections are closed")
        if loop.time() - self._relieved < _PAUSE_S:  # it says that often enough
            return
        self._relieved = loop.time()
        for _ in range(max(1, self.most // 4)):
            self.relieve()


class GuardedProtocol(HttpToolsProtocol):
    """Uvicorn's, with an end to every wait for the peer."""

    def __init__(self, gate: Gate, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._gate = gate
        self.timeout_keep_alive = gate.limits.idle_s  # type: ignore[assignment]  # the event loop takes fractions
        self._timer: asyncio.TimerHandle | None = None
        self._head_bytes: int | None = 0  # None: not within a head
        self._whole = False  # the request has come to its end

    @property
    def at_work(self) -> bool:
        """Whether a request is there as a whole and waits for our answer."""
        return self._whole and self.cycle is not None and not self.cycle.response_complete

    def cut(self) -> None:
        """End it at once."""
        self._stop_waiting()
        self.transport.abort()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Called once, before the first byte."""
        super().connection_made(transport)
        self._wait("head", self._gate.limits.head_s)
        self._gate.enter(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called once, at its end."""
        self._stop_waiting()
        self._gate.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Called with whatever has come."""
        if self._whole and not self.at_work:  # the first bytes of a further request
            self._whole, self._head_bytes = False, 0
            self._wait("head", self._gate.limits.head_s)
        super().data_received(data)
        if self._head_bytes is None:
            return
        self._head_bytes += len(data)
        if self._head_bytes > self._gate.limits.head_bytes:
            self._gate.seldom.warning("long", f"a head is longer than {self._gate.limits.head_bytes} bytes: closed")
            self.cut()

    def on_headers_complete(self) -> None:
        """Called by the parser."""
        self._whole, self._head_bytes = False, None
        self._wait("body", self._gate.limits.body_s)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Called by the parser."""
        self._whole = True
        self._stop_waiting()
        self._gate.last(self)
        super().on_message_complete()

    def _wait(self, part: str, seconds: float) -> None:
        self._stop_waiting()
        self._timer = self.loop.call_later(seconds, self._too_late, part, seconds)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_late(self, part: str, seconds: float) -> None:
        self._gate.seldom.warning(part, f"no whole {part} of a request came within {seconds:g} s: closed")
        self.cut()


@dataclass(slots=True)
class Seldom:
    """Says the first of each kind at once, and of those within a minute after it only how many there were."""

    log: logging.Logger
    every_s: float = 60
    _said: dict[str, float] = field(default_factory=dict)  # the kind: when
    _kept: dict[str, int] = field(default_factory=dict)  # the kind: how many since

    def warning(self, kind: str, message: str) -> None:
        """A line, unless there was one of this kind just now."""
        now = time.monotonic()
        if kind in self._said and now - self._said[kind] < self.every_s:
            self._kept[kind] = self._kept.get(kind, 0) + 1
            return
        self._said[kind] = now
        more = self._kept.pop(kind, 0)
        self.log.warning("%s%s", message, f" ({more} more of this kind before)" if more else "")
