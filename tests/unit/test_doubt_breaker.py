"""When creates are held because row after row went into doubt, and for how long."""

from __future__ import annotations

import asyncio

import pytest

from reelbatch.client.outcome import Kind
from reelbatch.submit.circuit_breaker import DoubtBreaker
from reelbatch.submit.concurrency import ConcurrencyLimiter


async def test_each_wait_is_twice_the_one_before() -> None:
    """Half a minute, one, two; the third single row in doubt ends the run."""
    limiter = ConcurrencyLimiter(4)
    breaker = DoubtBreaker(limiter, 2, 30)
    assert [breaker.learn(Kind.IN_DOUBT) for _ in range(2)] == [False, False]
    for wait_s, ends in ((30, False), (60, False), (120, True)):
        assert limiter.allowed == 0
        timer = breaker._timer
        assert timer is not None
        assert timer.when() - asyncio.get_running_loop().time() == pytest.approx(wait_s, abs=5)
        timer.cancel()
        breaker._probe()  # its time has come
        assert limiter.allowed == 1
        assert breaker.learn(Kind.IN_DOUBT) is ends


async def test_a_success_that_was_still_under_way_reopens() -> None:
    """The wait ends at once, and the count begins anew."""
    limiter = ConcurrencyLimiter(4)
    breaker = DoubtBreaker(limiter, 2, 600)
    for _ in range(3):
        breaker.learn(Kind.IN_DOUBT)
        assert limiter.allowed == 4
        breaker.learn(Kind.IN_DOUBT)
        assert limiter.allowed == 0
        breaker.learn(Kind.SUBMITTED)
        assert (limiter.allowed, breaker._timer) == (4, None)


@pytest.mark.parametrize("kind", [Kind.REJECTED, Kind.RETRY, Kind.HALT])
async def test_what_is_neither_doubt_nor_success_changes_nothing(kind: Kind) -> None:
    """Single rows go on one after the other until one of them says more."""
    limiter = ConcurrencyLimiter(4)
    breaker = DoubtBreaker(limiter, 1, 0)
    breaker.learn(Kind.IN_DOUBT)
    async with asyncio.timeout(10), limiter.ready() as place:
        await place.acquire()
        assert (breaker.learn(kind), limiter.allowed) == (False, 1)


async def test_the_wait_begins_when_all_in_flight_have_ended() -> None:
    """Until then nothing is known of the outage's end."""
    limiter = ConcurrencyLimiter(4)
    breaker = DoubtBreaker(limiter, 1, 600)
    async with limiter.ready() as place:
        await place.acquire()
        breaker.learn(Kind.IN_DOUBT)
        assert (limiter.allowed, breaker._timer) == (0, None)
    assert breaker._timer is not None
    breaker._timer.cancel()
