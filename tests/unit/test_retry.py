"""The one retry: what is tried again, how often, and how long is waited."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from reelbatch.retry import RetryPolicy, on_error, retry

THREE = RetryPolicy(attempts=3, wait_s=0.0, max_wait_s=0.0)


class Work:
    """Comes to each of `outcomes` in turn; `waits` are the sleeps between."""

    def __init__(self, *outcomes: object) -> None:
        self.outcomes = list(outcomes)
        self.waits: list[float] = []

    async def __call__(self) -> object:
        """One try."""
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    @property
    def sleep(self) -> Callable[[float], Awaitable[None]]:
        """Notes the wait."""

        async def sleep(seconds: float) -> None:
            self.waits.append(seconds)

        return sleep


def odd(outcome: object) -> float | None:
    """Numbers that are odd are worth another try, after as many seconds."""
    return float(outcome) if isinstance(outcome, int) and outcome % 2 else None


async def test_a_result_that_is_done_is_not_tried_again() -> None:
    """Nothing is waited for either."""
    work = Work(2)
    assert await retry(work, THREE, odd, work.sleep) == 2
    assert work.waits == []


async def test_the_wait_is_at_least_what_was_asked_for() -> None:
    """However short the backoff is."""
    work = Work(1, 3, 4)
    assert await retry(work, THREE, odd, work.sleep) == 4
    assert work.waits == [1.0, 3.0]


async def test_the_backoff_holds_where_less_was_asked_for() -> None:
    """It is drawn from 0 to a bound that doubles."""
    work = Work(*[1] * 40)
    policy = RetryPolicy(attempts=40, wait_s=100.0, max_wait_s=400.0)
    await retry(work, policy, odd, work.sleep)
    assert max(work.waits[:1]) <= 100
    assert 100 < max(work.waits) <= 400


async def test_the_last_result_counts_when_the_tries_are_used_up() -> None:
    """The tries are counted from the first."""
    work = Work(1, 3, 5, 8)
    assert await retry(work, THREE, odd, work.sleep) == 5
    assert work.outcomes == [8]


async def test_a_result_that_is_false_is_a_result() -> None:
    """Nothing, zero and an empty list are not tried a second time for that."""
    work = Work(None, 8)
    assert await retry(work, THREE, lambda outcome: 0.0 if outcome is None else None, work.sleep) == 8
    assert work.outcomes == []


async def test_an_error_that_may_pass_is_tried_again_and_the_last_one_is_raised() -> None:
    """Every other error at once."""
    work = Work(OSError(1), OSError(2), OSError(3), 8)
    with pytest.raises(OSError, match="3"):
        await retry(work, THREE, on_error(lambda error: isinstance(error, OSError)), work.sleep)
    work = Work(OSError(1), ValueError(2), 8)
    with pytest.raises(ValueError, match="2"):
        await retry(work, THREE, on_error(lambda error: isinstance(error, OSError)), work.sleep)
    assert work.outcomes == [8]
