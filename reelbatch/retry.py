"""The one retry: how often something is tried, how long is waited between, and what is worth another try."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from tenacity import AsyncRetrying, RetryCallState, stop_after_attempt, wait_random_exponential

LONGEST_WAIT_S = 60.0
_DOUBLINGS = 12

Result = TypeVar("Result")
Decide = Callable[[Result | Exception], float | None]
"""Given what a try came to: the seconds to wait at least before the next one (0: the backoff's), or None: done."""
Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often, and how long between. The wait is drawn from 0 to a bound that doubles from `wait_s`.

    Attributes:
        attempts: tries in all.
        wait_s: bound of the first wait, in seconds.
        max_wait_s: bound of every later one.
    """

    attempts: int
    wait_s: float
    max_wait_s: float = LONGEST_WAIT_S


async def retry(
    work: Callable[[], Awaitable[Result]], policy: RetryPolicy, decide: Decide[Result], sleep: Sleep = asyncio.sleep
) -> Result:
    """Do `work` until `decide` says that it is done, or the tries are used up; the last result or error counts.

    A wait that the other side asked for is a lower bound, never an upper one: its clock may be another than ours.
    """
    first = await _outcome(work)
    if decide(first) is None:  # nearly always: no machinery for what needs none
        return _unwrapped(first)
    told = [first]

    async def attempt() -> Result | Exception:
        return told.pop() if told else await _outcome(work)

    backoff = wait_random_exponential(policy.wait_s, policy.max_wait_s)
    retrying = AsyncRetrying(
        retry=lambda state: decide(_last(state)) is not None,
        stop=stop_after_attempt(policy.attempts),
        wait=lambda state: max(backoff(state), decide(_last(state)) or 0.0),
        sleep=sleep,
        retry_error_callback=_last,
    )
    last: Result | Exception = await retrying(attempt)
    return _unwrapped(last)


def on_error(is_worth_it: Callable[[Exception], bool]) -> Callable[[object], float | None]:
    """Every result is taken; an error only if it is not worth another try."""

    def decide(outcome: object) -> float | None:
        return 0.0 if isinstance(outcome, Exception) and is_worth_it(outcome) else None

    return decide


def backoff(wait_s: float, failures: int) -> float:
    """Seconds to wait after the n-th failure in a row: doubling, up to a minute, with jitter of a quarter."""
    longest = min(LONGEST_WAIT_S, wait_s * float(2 ** min(failures, _DOUBLINGS)))
    return longest * random.uniform(0.75, 1.0)


class SharedBackoff:
    """One pause for all calls. It grows with each round of failures and ends with the first good answer."""

    def __init__(self, wait_s: float) -> None:
        self._wait_s = wait_s
        self._rounds = 0
        self._until = 0.0
        self._good_at = float("-inf")

    @property
    def good_at(self) -> float:
        """When the API last answered well (loop time)."""
        return self._good_at

    def left_s(self) -> float:
        """Seconds until the next call may start; 0 where it may start now."""
        return max(0.0, self._until - asyncio.get_running_loop().time())

    def on_success(self) -> None:
        """The API answered."""
        self._rounds = 0
        self._until = 0.0
        self._good_at = asyncio.get_running_loop().time()

    def failed(self, started: float) -> None:
        """A call that began at `started` (loop time) failed; those under way together count once."""
        if started < self._until:
            return
        pause_s = backoff(self._wait_s, self._rounds)
        self._rounds += 1
        self._until = asyncio.get_running_loop().time() + pause_s


async def _outcome(work: Callable[[], Awaitable[Result]]) -> Result | Exception:
    try:
        return await work()
    except Exception as error:  # noqa: BLE001 - raised again when the tries are over
        return error


def _last(state: RetryCallState) -> Any:
    """What the last try came to; `attempt` raises nothing."""
    assert state.outcome is not None  # noqa: S101 - tenacity asks only after a try
    return state.outcome.result()


def _unwrapped(outcome: Result | Exception) -> Result:
    if isinstance(outcome, Exception):
        raise outcome
    return outcome
