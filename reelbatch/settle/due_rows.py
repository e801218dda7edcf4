"""Which rows come next, a page at a time: those that are due, then those whose videos were never downloaded."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from reelbatch.domain import Batch, RowKey
from reelbatch.ledger import Ledger, due, render_times, settlements, utc_now
from reelbatch.ledger.due import Rendered, RowId, TakeDue, Taken, TakeUnrefunded
from reelbatch.ledger.settlements import Finished, FinishedPage
from reelbatch.ledger.transactions import write
from reelbatch.retry import LONGEST_WAIT_S
from reelbatch.settle.options import SettleOptions
from reelbatch.settle.render_times import LONGEST_GAP, RenderTimes, look
from reelbatch.storage import files
from reelbatch.storage.files import CloudProblem, redact_url, scheme_of

if TYPE_CHECKING:
    from sqlalchemy import Connection


_SEARCHED = 500  # complete rows that are looked through at once
_PAGES_OF = 4
_LARGEST_PAGE = 1000
_SOON, _LATE = timedelta(seconds=0.3), timedelta(seconds=1)
"""A page that is used up sooner is doubled, one that lasts for longer is halved: each is a commit that polls wait
for, and what is taken must be asked about well before it is due again."""
_BETWEEN_LOOKS = timedelta(seconds=5)
_SHORTEST_INTERVAL_S = 0.001
_SHORTEST_REST_S = 0.01

Answer = TypeVar("Answer")
Item = TypeVar("Item")


class DueRowQueue:
    """Hands out rows to look at. However many there are, no more than a page of them is in memory.

    Args:
        ledger: the results table.
        options: which videos, and how.
        times: how long renders take, as far as it is known; what others see finish is learned here.
    """

    def __init__(self, ledger: Ledger, options: SettleOptions, times: RenderTimes) -> None:
        self._ledger = ledger
        self._options = options
        self._times = times
        self._interval = timedelta(seconds=max(options.poll_interval_s, _SHORTEST_INTERVAL_S))
        self._batches: list[Batch] = []
        self._opened = utc_now()
        self._quiet_until: datetime | None = None
        self._taken: deque[Rendered] = deque()
        self._page = _PAGES_OF * options.concurrency
        self._taken_at: datetime | None = None
        self._refunds_at: datetime | None = None
        self._unfiled: deque[Finished] = deque()
        self._presence = Presence(options.downloads)
        self._to_search: deque[Batch] = deque()
        self._after: tuple[RowKey, int] | None = None

    async def open(self) -> None:
        """See which batches there are, and that each of their unsettled rows has its time."""
        await self._see_batches()
        self._opened = utc_now()
        names = tuple(self._batches)
        self._times.seed(await self._read(partial(render_times.times_by_class, names=names)))
        if self._options.downloads:
            self._to_search = deque(self._batches)

    async def due(self, limit: int) -> list[Rendered]:
        """Up to `limit` rows to ask about now."""
        while not self._taken:
            taken = await self._take()
            self._taken.extend(taken.rows)
            self._times.follow(taken.rows + taken.put_off)
            if not taken.put_off:
                break
        return _popped(self._taken, limit)

    async def _take(self) -> Taken:
        """The next page; taken well before they are asked about, since each taking is a commit."""
        now = utc_now()
        if not self._batches or self._is_quiet(now):
            return Taken([], [])
        self._fit_page(now)
        item = TakeDue(
            batches=tuple(self._batches),
            now=now if self._options.wait else self._opened,
            limit=self._page,
            again=now + self._interval,
            again_long=now + 2 * self._interval,
            latest=now + max(2 * LONGEST_GAP * self._interval, timedelta(seconds=LONGEST_WAIT_S)),
            # One pass by itself asks about all that is due: perhaps none comes after it for hours.
            look=partial(look, self._times.plans if self._options.wait else {}),
        )
        self._batches.append(self._batches.pop(0))  # each batch is first in its turn
        return await write(self._ledger, due.take_due, item)

    def _is_quiet(self, now: datetime) -> bool:
        """Whether nothing is due; a clock that was set back meanwhile does not make that last for hours."""
        return self._quiet_until is not None and now < self._quiet_until <= now + self._interval

    def _fit_page(self, now: datetime) -> None:
        smallest = _PAGES_OF * self._options.concurrency
        if self._taken_at is not None:
            lasted = now - self._taken_at
            if lasted < min(_SOON, self._interval / 4):
                self._page = min(2 * self._page, max(smallest, _LARGEST_PAGE))
            elif lasted > min(_LATE, self._interval / 2):
                self._page = max(self._page // 2, smallest)
        self._taken_at = now

    async def unrefunded(self, limit: int) -> list[Rendered]:
        """Up to `limit` failed videos to look at again; the table is asked once in each interval."""
        now = utc_now()
        if not self._batches or (self._refunds_at is not None and now < self._refunds_at):
            return []
        by = now if self._options.wait else self._opened
        item = TakeUnrefunded(tuple(self._batches), by, limit, _BETWEEN_LOOKS)
        found = await write(self._ledger, due.take_unrefunded, item)
        if len(found) < limit:
            self._refunds_at = now + self._interval
        return found

    @property
    def searching(self) -> bool:
        """Whether there may be more videos to download than were handed out."""
        return bool(self._unfiled or self._to_search)

    async def without_file(self, limit: int) -> list[Finished]:
        """Up to `limit` complete rows whose video is not where it should be, each once; looks through one page."""
        if not self._unfiled and self._to_search:
            wanted = FinishedPage(self._to_search[0], self._opened, self._after, _SEARCHED)
            page = await self._read(partial(settlements.finished, page=wanted))
            self._unfiled.extend(await asyncio.to_thread(self._presence.missing, page))
            self._after = (page[-1].row.row_key, page[-1].row.generation) if page else None
            if not page:
                self._to_search.popleft()
        return _popped(self._unfiled, limit)

    async def rest_s(self, besides: set[RowId]) -> float | None:
        """Seconds until the next row is due, not counting `besides`; None where there is nothing left to wait for."""
        if not self._options.wait:
            return None
        await self._see_batches()
        names, others = tuple(self._batches), frozenset(besides)
        now = utc_now()
        await self._learn()
        time = await self._read(lambda connection: due.next_due(connection, names, others, now))
        if time is None and not self._options.endless:
            return None
        latest = now + timedelta(seconds=self._times.soonest_s)
        self._quiet_until = latest if time is None else min(time, latest)
        return max(_SHORTEST_REST_S, (self._quiet_until - now).total_seconds())

    async def _learn(self) -> None:
        """From videos that a webhook event or another settle has ended."""
        if tokens := self._times.followed:
            self._times.ended(await self._read(partial(render_times.ends, tokens=tokens)))

    async def unsettled(self) -> int:
        """Rows that are not finished now."""
        names = tuple(self._batches)
        return await self._read(lambda connection: due.unsettled(connection, names))

    async def _see_batches(self) -> None:
        options, known = self._options, set(self._batches)
        if options.batch is not None:
            found = [options.batch]
        else:
            found = await self._read(partial(due.batches_of, payer=options.payer, archived=options.archived))
        for batch in found:
            if batch not in known:
                await write(self._ledger, due.schedule, (batch, utc_now()))
                # The one who sits there and waits is told how they stand now.
                if options.wait and not options.endless:
                    await write(self._ledger, due.recall, (batch, utc_now()))
                self._batches.append(batch)

    async def _read(self, question: Callable[[Connection], Answer]) -> Answer:
        """Off the event loop: a large table takes its time."""
        return await asyncio.to_thread(self._ledger.read, question)


def _popped(rows: deque[Item], limit: int) -> list[Item]:
    return [rows.popleft() for _ in range(min(limit, len(rows)))]


class Presence:
    """Looks for files. A folder behind a URL is listed once; where that fails, its files count as there.

    Args:
        downloads: the folder that is downloaded to, whose URL may carry what its paths in the table do not.
    """

    def __init__(self, downloads: str | None) -> None:
        self._root = (downloads or "").rstrip("/")
        self._names: dict[str, set[str] | None] = {}  # by folder; None: no one can tell

    def missing(self, rows: Iterable[Finished]) -> list[Finished]:
        """Those whose video was never downloaded, or has gone since. Blocks."""
        return [row for row in rows if row.path is None or not self._is_there(row.path)]

    def _is_there(self, path: str) -> bool:
        if scheme_of(path) is None:
            return _is_file(path)
        folder, _, name = path.rpartition("/")
        if folder == redact_url(self._root):
            folder = self._root
        if folder not in self._names:
            self._names[folder] = _listed(folder)
        names = self._names[folder]
        return names is None or name in names or _is_object(f"{folder}/{name}")


def _is_file(path: str) -> bool:
    try:
        Path(path).stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    except OSError:  # no one can tell
        return True
    return True


def _listed(folder: str) -> set[str] | None:
    try:
        return files.names(folder)
    except CloudProblem:
        return None


def _is_object(address: str) -> bool:
    """Asked about a file that the list did not have: another settle may have put it there since."""
    try:
        return files.size(address) is not None
    except CloudProblem:
        return True
