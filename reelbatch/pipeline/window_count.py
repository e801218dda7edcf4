"""How many videos are unfinished, told to the window at once: a place that comes free is not empty for long."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from reelbatch.client import Client
from reelbatch.domain import RunId
from reelbatch.errors import ReelbatchError
from reelbatch.ledger import Ledger, accounts
from reelbatch.ledger.accounts import Payer
from reelbatch.pipeline.settle import settle_options
from reelbatch.settings import Settings
from reelbatch.settle import Settler, Tally
from reelbatch.submit import RenderWindow

if TYPE_CHECKING:
    from sqlalchemy import Connection

_log = logging.getLogger("reelbatch")
_AT_LEAST_EVERY_S = 2.0


class Counted(NamedTuple):
    """Whose videos take places, the run that knows of its own creates under way by itself, and its batch's tally."""

    payer: Payer
    besides: RunId
    tally: Tally | None = None


async def keep_count(
    ledger: Ledger, client: Client, settings: Settings, window: RenderWindow, counted: Counted
) -> None:
    """Settle what is finished while a run sends, and tell its window of all of the account's videos that are not.

    Until the window is stopped, or this is cancelled.
    """
    beside = [
        asyncio.create_task(_follow(ledger, client, settings, counted)),
        asyncio.create_task(_recover(ledger, window, settings.lease_s)),
    ]
    every_s = min(settings.poll_interval_s, _AT_LEAST_EVERY_S)
    count = partial(accounts.occupied, payer=counted.payer, besides=counted.besides)
    try:
        while not window.stopped:
            with _tried_again():
                await _count(ledger, count, window, every_s)
            await asyncio.sleep(0 if window.stopped else every_s)
    finally:
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)


@contextmanager
def _tried_again() -> Iterator[None]:
    """Whatever fails here is tried again; the run itself notices what is wrong for good."""
    try:
        yield
    except ReelbatchError:
        pass
    except Exception:  # noqa: BLE001 - of the looks alone; the run goes on without them
        _log.warning("Videos are not followed for a moment.", exc_info=True)


async def _follow(ledger: Ledger, client: Client, settings: Settings, counted: Counted) -> None:
    """Look at the videos of this account, on and on; where that fails, begin again."""
    told = settle_options(settings, None)
    options = replace(
        told,
        payer=counted.payer,
        downloads=None,
        timeout_s=None,
        tells=False,
        endless=True,
        tally=counted.tally,
    )
    while True:
        with _tried_again():
            await Settler(ledger, client, options).run()
        await asyncio.sleep(min(settings.poll_interval_s, _AT_LEAST_EVERY_S))


async def _recover(ledger: Ledger, window: RenderWindow, lease_s: float) -> None:
    """A create whose worker died holds its place; where all others wait for it, no one else would look for that."""
    while True:
        await asyncio.sleep(lease_s)
        if window.has_waiting:
            with _tried_again():
                await asyncio.to_thread(ledger.recover, timedelta(seconds=lease_s))


async def _count(
    ledger: Ledger, count: Callable[[Connection], int], window: RenderWindow, at_least_every_s: float
) -> None:
    """Count after each change of the table while a create waits for its place, and now and then."""
    clock = asyncio.get_running_loop().time
    with ledger.watching() as table:
        while not window.stopped:
            until, known = clock() + at_least_every_s, window.videos
            window.count(await asyncio.to_thread(ledger.read, count))
            await asyncio.sleep(table.pace_s)
            while clock() < until and not window.stopped:
                await window.wanted(until - clock())
                # A video that came in while the table was read may have been counted twice.
                if window.has_waiting and (window.videos != known or table.changed()):
                    break
                await asyncio.sleep(table.pace_s)
