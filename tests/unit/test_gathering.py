"""Questions that are asked many at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from reelbatch.submit.batching import BatchLoader


class Asked:
    """Returns the doubles of numbers, and keeps what was asked together."""

    def __init__(self, error: Exception | None = None) -> None:
        self.together: list[list[int]] = []
        self._error = error

    async def __call__(self, numbers: Sequence[int]) -> list[int]:
        """The answers, in order."""
        self.together.append(list(numbers))
        await asyncio.sleep(0)
        if self._error is not None:
            raise self._error
        return [2 * number for number in numbers]


async def test_what_comes_in_the_same_moment_is_asked_together() -> None:
    """Everybody gets the answer to their own question."""
    gathered = BatchLoader(asked := Asked(), 100)
    assert await asyncio.gather(*map(gathered.get, range(30))) == [2 * number for number in range(30)]
    assert await gathered.get(7) == 14
    assert asked.together == [list(range(30)), [7]]


async def test_no_more_are_asked_together_than_may_be() -> None:
    """The rest follows in questions of its own."""
    gathered = BatchLoader(asked := Asked(), 20)
    assert await asyncio.gather(*map(gathered.get, range(50))) == [2 * number for number in range(50)]
    assert [len(numbers) for numbers in asked.together] == [20, 20, 10]


async def test_an_error_is_told_to_everybody_who_asked() -> None:
    """No one waits for ever, whatever kind of error it was."""
    gathered = BatchLoader(Asked(RuntimeError("no")), 100)
    ends = await asyncio.gather(*map(gathered.get, range(5)), return_exceptions=True)
    assert [str(end) for end in ends] == ["no"] * 5


async def test_one_who_no_longer_waits_does_not_disturb_the_others() -> None:
    """A question may be cancelled between being asked and being answered."""
    gathered = BatchLoader(Asked(), 100)
    one, other = (asyncio.create_task(gathered.get(number)) for number in (1, 2))
    await asyncio.sleep(0)
    one.cancel()
    assert await other == 4
    with pytest.raises(asyncio.CancelledError):
        await one
