"""How many videos may be unfinished at once."""

from __future__ import annotations

import asyncio

import pytest

from reelbatch.submit.concurrency import Stopped
from reelbatch.submit.render_window import RenderWindow


async def _submit(window: RenderWindow, *, has_video: bool = True) -> None:
    async with window.place() as place:
        place.has_video = has_video


async def test_a_video_keeps_its_place_until_it_is_counted_as_finished() -> None:
    """The fourth create waits for one of three videos."""
    window = RenderWindow(3)
    await asyncio.gather(*(_submit(window) for _ in range(3)))
    fourth = asyncio.create_task(_submit(window))
    await asyncio.sleep(0.01)  # time to enter, if it could
    assert not fourth.done()
    window.count(2)
    await asyncio.wait_for(fourth, 5)
    assert window.unfinished == 3


async def test_a_create_without_a_video_gives_its_place_back() -> None:
    """A refused row does not count against the plan."""
    window = RenderWindow(1)
    for _ in range(5):
        await asyncio.wait_for(_submit(window, has_video=False), 5)
    assert window.unfinished == 0


async def test_without_a_limit_everybody_enters() -> None:
    """The business plan has none."""
    window = RenderWindow(None)
    await asyncio.wait_for(asyncio.gather(*(_submit(window) for _ in range(50))), 5)


async def test_stop_ends_every_wait() -> None:
    """Ctrl-C need not wait for a render."""
    window = RenderWindow(1)
    await _submit(window)
    waiting = asyncio.create_task(_submit(window))
    await asyncio.sleep(0)
    window.stop()
    with pytest.raises(Stopped):
        await waiting
    with pytest.raises(Stopped):
        await _submit(window)


async def test_who_counts_is_told_that_a_create_waits_and_of_each_video_that_came_in() -> None:
    """A video that comes in while the table is read may be in that count or not, so another count is due."""
    window = RenderWindow(1)
    await _submit(window)
    assert (window.videos, window.has_waiting) == (1, False)
    second = asyncio.create_task(_submit(window))
    await asyncio.sleep(0)
    assert window.has_waiting
    window.count(0)
    await asyncio.wait_for(second, 5)
    assert (window.videos, window.has_waiting) == (2, False)


async def test_who_counts_rests_until_a_create_waits() -> None:
    """No one waits for hours while the API is away, and looking at the table then would be for nothing."""
    window = RenderWindow(1)
    await _submit(window)
    resting = asyncio.create_task(window.wanted(600))
    await asyncio.sleep(0.01)  # time to end, if it could
    assert not resting.done()
    waiting = asyncio.create_task(_submit(window))
    await asyncio.wait_for(resting, 5)
    await asyncio.wait_for(window.wanted(600), 5)  # while it waits, each look is due
    window.count(0)
    await waiting
    await window.wanted(0.01)  # no longer than that
    resting = asyncio.create_task(window.wanted(600))
    await asyncio.sleep(0.01)
    assert not resting.done()
    window.stop()
    await asyncio.wait_for(resting, 5)
