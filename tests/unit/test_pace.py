"""How many creates are in flight."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
from waiting import until

from reelbatch.submit.concurrency import ConcurrencyLimiter, Stopped
from reelbatch.submit.rate_limiter import RateLimiter


@asynccontextmanager
async def _slot(limiter: ConcurrencyLimiter) -> AsyncIterator[float]:
    """In flight; since when."""
    async with limiter.ready() as place:
        granted = await place.acquire()
        assert granted is not None
        yield granted


async def _hold(limiter: ConcurrencyLimiter, release: asyncio.Event) -> None:
    async with _slot(limiter):
        await release.wait()


async def _settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_no_more_than_the_limit_are_in_flight() -> None:
    """Ten ask, three get a place; the rest follow as places come free."""
    limiter, release = ConcurrencyLimiter(3), asyncio.Event()
    tasks = [asyncio.create_task(_hold(limiter, release)) for _ in range(10)]
    await _settle()
    assert limiter.in_flight == 3
    release.set()
    await asyncio.gather(*tasks)
    assert limiter.in_flight == 0


async def test_too_fast_halves_the_number_in_flight_once_a_round() -> None:
    """Ten requests of the same round that hear "too fast" count once."""
    limiter = ConcurrencyLimiter(16)
    async with _slot(limiter) as started:
        for _ in range(10):
            limiter.slow_down(started, None)
        assert limiter.allowed == 8
        assert limiter.slowed


async def test_good_answers_climb_back_to_the_limit_and_no_further() -> None:
    """By about one for each round of answers."""
    limiter = ConcurrencyLimiter(16)
    async with _slot(limiter) as started:
        limiter.slow_down(started, None)
    for _ in range(8):
        limiter.on_success()
    assert limiter.allowed in {8, 9}
    for _ in range(500):
        limiter.on_success()
    assert limiter.allowed == 16
    assert not limiter.slowed


async def test_a_pause_holds_for_everybody() -> None:
    """Retry-After stops the whole process, not just the row that heard it."""
    limiter = ConcurrencyLimiter(4)
    async with _slot(limiter) as started:
        limiter.slow_down(started, 0.2)
    before = asyncio.get_running_loop().time()
    async with _slot(limiter) as granted:
        assert granted - before >= 0.19


class Clock:
    """Hands out lots as the results table does: one after the other, to the one who asks."""

    def __init__(self) -> None:
        self.next_start = 0.0
        self.lots = 0

    async def take_lot(self, creates: int, spacing_s: float) -> float:
        """The next free time."""
        await asyncio.sleep(0.001)
        now = asyncio.get_running_loop().time()
        start = max(now, self.next_start)
        self.next_start = start + creates * spacing_s
        self.lots += 1
        return start - now


async def _starts(limiter: ConcurrencyLimiter, creates: int) -> list[float]:
    async def one() -> float:
        async with _slot(limiter) as granted:
            return granted

    return list(await asyncio.gather(*(one() for _ in range(creates))))


async def test_the_rate_limit_spaces_creates() -> None:
    """Five creates at 20 a second start 50 ms apart."""
    starts = await _starts(ConcurrencyLimiter(10, RateLimiter(20, Clock().take_lot)), 5)
    assert all(later - earlier >= 0.025 for earlier, later in pairwise(starts))
    assert starts[-1] - starts[0] >= 0.19


async def test_two_workers_share_one_rate() -> None:
    """Two of them at 200 a second start 200 a second together, and ask ten times a second each at most."""
    clock = Clock()
    both = await asyncio.gather(
        *(_starts(ConcurrencyLimiter(50, RateLimiter(200, clock.take_lot)), 60) for _ in range(2))
    )
    starts = sorted(time for one in both for time in one)
    assert starts[-1] - starts[0] >= 119 / 200 - 0.15
    assert clock.lots <= 20


async def test_starts_that_no_one_used_are_not_saved_up() -> None:
    """After a pause creates start at the rate again, not in a burst."""
    limiter = ConcurrencyLimiter(50, RateLimiter(50, Clock().take_lot))
    await _starts(limiter, 3)
    await asyncio.sleep(0.4)  # the pause: twenty starts at this rate
    starts = await _starts(limiter, 10)
    assert starts[-1] - starts[0] >= 9 / 50 - 0.1


async def _make_ready(limiter: ConcurrencyLimiter, release: asyncio.Event) -> None:
    async with limiter.ready() as place:
        await place.acquire()
        await release.wait()


async def test_a_quarter_makes_ready_while_all_are_in_flight() -> None:
    """Of eighty that ask for forty places, forty are in flight and ten are ready for the next that come free."""
    limiter, release = ConcurrencyLimiter(40), asyncio.Event()
    tasks = [asyncio.create_task(_make_ready(limiter, release)) for _ in range(80)]
    await _settle()
    assert (limiter.in_flight, limiter.preparing) == (40, 10)
    release.set()
    await asyncio.gather(*tasks)
    assert (limiter.in_flight, limiter.preparing) == (0, 0)


@pytest.mark.parametrize("rate", [None, 1000.0])
async def test_up_to_32_in_flight_no_one_makes_ready_ahead(rate: float | None) -> None:
    """After a kill no more rows are in doubt than may be in flight, also where a rate is set."""
    limiter, release = (
        ConcurrencyLimiter(32, None if rate is None else RateLimiter(rate, Clock().take_lot)),
        asyncio.Event(),
    )
    begun, most = 0, 0

    async def one() -> None:
        nonlocal begun, most
        async with limiter.ready() as place:
            begun += 1
            most = max(most, begun)
            await place.acquire()
            await release.wait()
            begun -= 1

    tasks = [asyncio.create_task(one()) for _ in range(80)]
    await until(lambda: limiter.in_flight == 32, "all places are taken")
    assert (limiter.preparing, most) == (0, 32)
    release.set()
    await asyncio.gather(*tasks)
    assert most == 32


async def test_no_one_makes_ready_during_a_pause() -> None:
    """Who is ready has written down that a request leaves; in a long pause none does."""
    limiter, release = ConcurrencyLimiter(20), asyncio.Event()
    async with _slot(limiter) as started:
        limiter.slow_down(started, 30)
    tasks = [asyncio.create_task(_make_ready(limiter, release)) for _ in range(50)]
    await _settle()
    assert (limiter.in_flight, limiter.preparing) == (0, 0)
    limiter.stop()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(end, Stopped) for end in ended)


async def test_no_one_stays_ready_while_creates_are_held() -> None:
    """A hold lasts for minutes: the ten that are ready begin again after it, as does the one who comes meanwhile."""
    limiter, release, turned_away = ConcurrencyLimiter(40), asyncio.Event(), 0

    async def one() -> None:
        nonlocal turned_away
        while True:
            async with limiter.ready() as place:
                if await place.acquire() is not None:
                    await release.wait()
                    return
                turned_away += 1

    tasks = [asyncio.create_task(one()) for _ in range(80)]
    await _settle()
    limiter.hold(0)
    await _settle()
    assert (limiter.in_flight, limiter.preparing, turned_away) == (40, 0, 10)
    release.set()
    await _settle()
    assert limiter.in_flight == 0
    limiter.hold(1)
    await _settle()
    limiter.hold(None)
    await asyncio.gather(*tasks)
    assert (limiter.in_flight, limiter.preparing, turned_away) == (0, 0, 10)


async def test_one_who_becomes_ready_while_creates_are_held_begins_again() -> None:
    """The hold came while the intent was being written."""
    limiter = ConcurrencyLimiter(4)
    async with limiter.ready() as place:
        limiter.hold(0)
        assert await place.acquire() is None
    assert (limiter.in_flight, limiter.preparing) == (0, 0)


async def test_few_make_ready_where_a_rate_is_set() -> None:
    """With a slow rate a hundred do not stand ready for minutes."""
    limiter, release = ConcurrencyLimiter(20, RateLimiter(0.1, Clock().take_lot)), asyncio.Event()
    tasks = [asyncio.create_task(_make_ready(limiter, release)) for _ in range(50)]
    await asyncio.sleep(0.05)  # time for all fifty, if they could
    assert limiter.in_flight + limiter.preparing <= 1 + 2
    limiter.stop()
    release.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert (limiter.in_flight, limiter.preparing) == (0, 0)


async def test_closed_it_lets_those_leave_that_are_ready() -> None:
    """At a cap the ten that are ready for a slot are within it; the others stay where they are."""
    limiter, release = ConcurrencyLimiter(40), asyncio.Event()
    tasks = [asyncio.create_task(_make_ready(limiter, release)) for _ in range(80)]
    await _settle()
    limiter.close()
    assert limiter.closed
    await asyncio.wait_for(limiter.sleep(3600), 5)
    release.set()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert [end is None for end in ended].count(True) == 50
    assert sum(isinstance(end, Stopped) for end in ended) == 30
    assert (limiter.in_flight, limiter.preparing) == (0, 0)
    with pytest.raises(Stopped):
        async with limiter.ready():
            pass


async def test_a_stop_after_closing_holds_back_what_is_ready() -> None:
    """Ctrl-C while the last of a cap are about to leave: they stay."""
    limiter, release = ConcurrencyLimiter(40), asyncio.Event()
    tasks = [asyncio.create_task(_make_ready(limiter, release)) for _ in range(80)]
    await _settle()
    limiter.close()
    limiter.stop()
    release.set()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert [end is None for end in ended].count(True) == 40
    assert (limiter.in_flight, limiter.preparing) == (0, 0)


async def test_stop_sends_everybody_home() -> None:
    """No one who waits gets a place any more, nor anyone who comes later."""
    limiter, release = ConcurrencyLimiter(1), asyncio.Event()
    holder = asyncio.create_task(_hold(limiter, release))
    waiting = [asyncio.create_task(_hold(limiter, release)) for _ in range(3)]
    await _settle()
    limiter.stop()
    ended = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(end, Stopped) for end in ended)
    with pytest.raises(Stopped):
        async with _slot(limiter):
            pass
    release.set()
    await holder


async def test_stop_ends_a_wait() -> None:
    """Ctrl-C need not wait for a backoff of an hour."""
    limiter = ConcurrencyLimiter(1)
    sleeper = asyncio.create_task(limiter.sleep(3600))
    await _settle()
    limiter.stop()
    await asyncio.wait_for(sleeper, 5)


async def test_a_place_is_not_lost_with_a_cancelled_waiter() -> None:
    """Anyone who is cancelled while waiting, or just as the place comes, takes nothing along."""
    limiter, release = ConcurrencyLimiter(1), asyncio.Event()
    holder = asyncio.create_task(_hold(limiter, release))
    await _settle()
    waiter = asyncio.create_task(_hold(limiter, release))
    await _settle()
    release.set()
    waiter.cancel()
    await asyncio.gather(holder, waiter, return_exceptions=True)
    async with asyncio.timeout(5), _slot(limiter):
        assert limiter.in_flight == 1
