"""The render window learns of a free place from the results table, also where another process wrote it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from test_settler_polling import COMPLETE, FakeApi, client_of
from test_settler_table import complete, settle, submit, video_of

from reelbatch.domain import Batch, RunId
from reelbatch.ledger import Ledger, due, utc_now
from reelbatch.ledger.accounts import Payer
from reelbatch.ledger.due import Postponement
from reelbatch.pipeline.window_count import Counted, keep_count
from reelbatch.settings import Settings
from reelbatch.submit import RenderWindow

WHOSE = Counted(Payer("local"), RunId("run-2"))


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Of a results table that two processes have open."""
    return f"sqlite:///{tmp_path / 'results.db'}"


def settings(**stated: Any) -> Settings:
    """For an API on this machine."""
    return Settings.model_validate(
        {"MAGIC_HOUR_API_KEY": SecretStr("key"), "base_url": "http://127.0.0.1:1", **stated}
    )


async def enter(window: RenderWindow) -> None:
    """A create that waits for its place."""
    async with window.place():
        pass


async def test_a_webhook_event_frees_a_place_while_the_api_is_silent(url: str) -> None:
    """The count of the table does not wait for an answer about a video, nor for the next look."""
    with Ledger(url) as ledger, Ledger(url) as receiver:
        (video,) = submit(ledger, "a")
        api, window = FakeApi(COMPLETE), RenderWindow(1)
        api.hold = asyncio.Event()
        async with client_of(api) as client:
            counting = asyncio.create_task(keep_count(ledger, client, settings(poll_interval_s=0.01), window, WHOSE))
            await api.held.acquire()  # a look is under way
            waiting = asyncio.create_task(enter(window))
            await asyncio.sleep(0)
            assert not waiting.done()
            await asyncio.to_thread(settle, receiver, complete(video))
            await asyncio.wait_for(waiting, 30)
            api.hold.set()
            window.stop()
            await asyncio.wait_for(counting, 30)


async def test_videos_that_come_after_a_pause_are_looked_at(url: str) -> None:
    """Nothing renders for a moment: the looks beside a run go on all the same, until the window is stopped.

    A video that is not waited for any more is left to `settle`.
    """
    with Ledger(url) as ledger:
        (given_up,) = submit(ledger, "odd", batch=Batch("odd"))
        later, before = utc_now() + timedelta(minutes=1), utc_now() - timedelta(minutes=1)
        ledger.change(lambda it: due.postpone(it, [Postponement(given_up, later, "odd", "odd", before)]))
        api, window = FakeApi(COMPLETE), RenderWindow(1)
        async with client_of(api) as client:
            counting = asyncio.create_task(keep_count(ledger, client, settings(poll_interval_s=0.01), window, WHOSE))
            for key in "ab":
                await asyncio.to_thread(submit, ledger, key, batch=Batch(key))
                await asyncio.wait_for(api.held.acquire(), 30)
            window.stop()
            await asyncio.wait_for(counting, 30)
    assert api.asked == [video_of(key, Batch(key)) for key in "ab"]
