"""How many creates are in flight, how fast they start, and when none may start at all. One for the process."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from reelbatch.submit.rate_limiter import RateLimiter

_SHRINK = 0.5
_SAME_WAIT_S = 0.25
"""By less than this a longer wait is no news to other workers."""
_AHEAD = 4
"""Extra rows (one for this many in flight) may record their intent early, so that a freed slot is reused at once."""
_NONE_AHEAD = 32
"""With so few in flight none does: an empty place costs little, and each is one more row in doubt after a kill."""


class Stopped(Exception):  # noqa: N818 - a signal to the one who waits, not an error
    """No further create may start."""


class _Held(Exception):  # noqa: N818 - a signal within this module
    """Nothing may start for a while: the one who is ready begins again later."""


class Slot:
    """A create that makes ready, and then is in flight."""

    def __init__(self, limiter: ConcurrencyLimiter) -> None:
        self._limiter = limiter
        self.in_flight = False

    async def acquire(self) -> float | None:
        """Wait for a place among those in flight. Return when it was granted (loop time), for `slow_down`.

        None: nothing may start for a while, and no one stays ready so long; ask for leave again.

        Raises:
            Stopped: no further create may start.
        """
        try:
            granted = await self._limiter.acquire()
        except _Held:
            return None
        self._limiter.preparing -= 1
        self.in_flight = True
        if self._limiter.stopped:
            raise Stopped
        return granted


class ConcurrencyLimiter:
    """Grants slots in order of asking: up to `limit` at once, fewer after the API said "too fast".

    The number in flight halves on such an answer (once for each round of requests) and climbs again by one for each
    round of good answers. A pause that the API asked for holds for everybody, not just for the row that heard it.

    A granted slot should be used at once: what takes a while is done before, while making ready.

    Args:
        limit: creates in flight at most.
        rate_limiter: when creates may start, shared with other workers; None: at any time.
    """

    def __init__(self, limit: int, rate_limiter: RateLimiter | None = None) -> None:
        self._ceiling = limit
        self._allowed = float(limit)
        self._held: int | None = None
        self.on_empty: Callable[[], None] = lambda: None
        """Called, perhaps more than once, when nothing is in flight while nothing may start."""
        self.on_slowed: Callable[[float], None] = lambda _: None
        """Called with the seconds to wait when the API said "too fast" to this process."""
        self._rate_limiter = rate_limiter
        if rate_limiter is not None:
            rate_limiter.on_more = self._grant
        self._paused_until = 0.0
        self._shrunk_at = -1.0
        self._waiting: deque[asyncio.Future[float]] = deque()
        self._preparing_line: deque[asyncio.Future[float]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._stop = asyncio.Event()
        self.stopped = False
        """Nothing leaves any more, not even what is ready."""
        self.in_flight = 0
        self.preparing = 0

    @property
    def allowed(self) -> int:
        """Creates that may be in flight now; 0 only where `hold` says so."""
        allowed = max(1, int(self._allowed))
        return allowed if self._held is None else min(allowed, self._held)

    @property
    def slowed(self) -> bool:
        """Whether the API has asked for less than the limit."""
        return self.allowed < self._ceiling

    @property
    def closed(self) -> bool:
        """Whether no one may make ready any more."""
        return self._stop.is_set()

    def close(self) -> None:
        """Let no one make ready any more; the one who is ready still takes off."""
        self._stop.set()
        _release_waiters(self._preparing_line)

    def stop(self) -> None:
        """Let no further create start; everybody who waits gets Stopped."""
        self.stopped = True
        self.close()
        _release_waiters(self._waiting)

    @asynccontextmanager
    async def ready(self) -> AsyncIterator[Slot]:
        """Leave to make one create ready, and then to wait for its slot; not while the API wants a pause.

        Raises:
            Stopped: no further create may start.
        """
        await self._wait_in(self._preparing_line)
        place = Slot(self)
        try:
            yield place
        finally:
            if place.in_flight:
                self.in_flight -= 1
            else:
                self.preparing -= 1
            self._grant()

    async def acquire(self) -> float:
        """A place among those in flight; returns when it was granted (loop time)."""
        return await self._wait_in(self._waiting)

    async def _wait_in(self, line: deque[asyncio.Future[float]]) -> float:
        if self.stopped or (self.closed and line is self._preparing_line):
            raise Stopped
        if self._held == 0 and line is self._waiting:
            raise _Held
        future: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        line.append(future)
        self._grant()
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                if line is self._waiting:
                    self.in_flight -= 1
                else:
                    self.preparing -= 1
                self._grant()
            raise

    async def sleep(self, seconds: float) -> None:
        """Wait, unless everything stops first."""
        try:
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        except TimeoutError:
            return

    def hold(self, most: int | None) -> None:
        """Let at most `most` be in flight from now on, whatever else allows more; None: no such limit any more."""
        self._held = most
        if most == 0:
            _release_waiters(self._waiting, _Held)
        self._grant()

    def on_success(self) -> None:
        """The API took a create: climb again."""
        self._allowed = min(self._ceiling, self._allowed + 1 / max(1.0, self._allowed))
        self._grant()

    def slow_down(self, started: float, wait_s: float | None) -> None:
        """The API said "too fast" to a request granted at `started`; all workers of the account wait for `wait_s`."""
        if self._slow(started, wait_s or 0.0):
            self.on_slowed(wait_s or 0.0)

    def join_slow_down(self, age_s: float, wait_s: float) -> None:
        """The API said "too fast" to another worker `age_s` ago, and nothing should be sent for `wait_s`."""
        self._slow(asyncio.get_running_loop().time() - age_s, wait_s)

    def _slow(self, started: float, wait_s: float) -> bool:
        """Whether that was news: requests of the same round say the same thing once."""
        now = asyncio.get_running_loop().time()
        shrinks, until = started > self._shrunk_at, now + wait_s
        if shrinks:
            self._allowed = max(1.0, self._allowed * _SHRINK)
            self._shrunk_at = now
        longer = until > self._paused_until + _SAME_WAIT_S if wait_s else False
        self._paused_until = max(self._paused_until, until)
        return shrinks or longer

    def _grant(self) -> None:
        if self._held == 0 and not self.in_flight:
            self.on_empty()
        now = asyncio.get_running_loop().time()
        if now < self._paused_until:
            if self._waiting or self._preparing_line:
                self._grant_later(self._paused_until)
            return
        while self._preparing_line and self._may_prepare():
            future = self._preparing_line.popleft()
            if not future.done():
                self.preparing += 1
                future.set_result(now)
        while self._waiting and self.in_flight < self.allowed:
            if self._waiting[0].done():
                self._waiting.popleft()
                continue
            if self._rate_limiter is not None and not self._start(now):
                return
            self.in_flight += 1
            self._waiting.popleft().set_result(now)

    def _may_prepare(self) -> bool:
        if self._rate_limiter is not None and self.preparing >= self._rate_limiter.may_prepare:
            return False
        ahead = self.allowed // _AHEAD if self.allowed > _NONE_AHEAD else 0
        return self.in_flight + self.preparing < self.allowed + ahead

    def _start(self, now: float) -> bool:
        """Take a time to start; where none has come yet, `_grant` is called again when there is one."""
        assert self._rate_limiter is not None  # noqa: S101 - asked by the caller
        opens_at = self._rate_limiter.next(now)
        if opens_at is None:
            return False
        if now < opens_at:
            self._grant_later(opens_at)
            return False
        self._rate_limiter.take()
        return True

    def _grant_later(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(when, self._grant)


def _release_waiters(line: deque[asyncio.Future[float]], signal: type[Exception] = Stopped) -> None:
    while line:
        future = line.popleft()
        if not future.done():
            future.set_exception(signal())
