"""Follows every submitted video to its end: poll, settle, download."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress

from reelbatch.client import Client, Video
from reelbatch.domain import Batch, VideoId
from reelbatch.errors import ApiError, LedgerError
from reelbatch.ledger import Ledger
from reelbatch.ledger.due import Rendered, RowId
from reelbatch.memory import old_objects_spared
from reelbatch.settle.downloads import Access, Downloads
from reelbatch.settle.due_rows import DueRowQueue
from reelbatch.settle.options import SettleOptions, SettleReason, SettleStats
from reelbatch.settle.poller import KeyRefused, Poller
from reelbatch.settle.render_times import RenderTimes
from reelbatch.storage.target import DownloadTarget, TargetProblem, open_target


class Settler:
    """Follows the videos of one batch, or of all; several at the same time do each other no harm.

    Args:
        ledger: the results table.
        client: the API.
        options: which videos, and how.
    """

    def __init__(self, ledger: Ledger, client: Client, options: SettleOptions) -> None:
        tally = options.tally
        self.stats = tally.stats if tally is not None and tally.batch == options.batch else SettleStats()
        self._ledger = ledger
        self._client = client
        self._options = options
        times = RenderTimes(options.poll_interval_s)
        self._due_rows = DueRowQueue(ledger, options, times)
        self._poller = Poller(ledger, client, self.stats, options, times)
        self._downloads: Downloads | None = None
        self._at_work: dict[RowId | VideoId, asyncio.Task[None]] = {}
        self._ending = asyncio.Event()
        self._deadline: float | None = None
        self._crash: BaseException | None = None

    @property
    def batch(self) -> Batch | None:
        """The batch whose videos it follows; None: all of this account."""
        return self._options.batch

    def stop(self) -> None:
        """Start nothing more; what is under way is finished and written down."""
        self.end(SettleReason.INTERRUPTED)

    async def run(self) -> SettleStats:
        """Follow until everything is settled (or, without `wait`, once over what is due); gives `stats`.

        Cancelling it stops gently, like `stop`.

        Raises:
            SettingsError: the folder for the videos can't be used; nothing was asked yet.
        """
        folder = await self._open_folder()
        try:
            with old_objects_spared():
                await self._run()
        finally:
            if self._downloads is not None:
                self._downloads.close()
            if folder is not None:
                await asyncio.to_thread(folder.close)
        if self._crash is not None:
            raise self._crash
        return self.stats

    async def _run(self) -> None:
        if self._options.timeout_s is not None:
            self._deadline = asyncio.get_running_loop().time() + self._options.timeout_s
        try:
            await self._due_rows.open()
            self.stats.outstanding = self.stats.ended + await self._due_rows.unsettled()
            await self._follow()
            await self._finish()
            if self.stats.is_unanswered:
                self.end(SettleReason.UNREACHABLE, self._poller.silence.words)
        except LedgerError as error:
            self.end(SettleReason.LEDGER_FAILED, str(error))
        except asyncio.CancelledError:
            self.stop()
            raise
        finally:
            await self._finish()
            with suppress(LedgerError):
                self.stats.unsettled = await self._due_rows.unsettled()

    async def _open_folder(self) -> DownloadTarget | None:
        if not self._options.downloads:
            return None
        folder = await asyncio.to_thread(open_target, self._options.downloads)
        await asyncio.to_thread(folder.prepare)
        access = Access(
            get=self._poller.get,
            sleep=self._sleep,
            wait_s=self._options.poll_interval_s,
            largest=self._options.largest_video,
        )
        self._downloads = Downloads(self._ledger, self._client, folder, access)
        return folder

    async def _follow(self) -> None:
        """Fill the free places with rows; where there are none to start, wait for the next one."""
        while not self._ended():
            if await self._start_rows():
                continue
            rest_s = self._poller.backoff.left_s() or await self._rest_s()
            if rest_s is None and not self._at_work:
                return
            await self._wait(rest_s)

    async def _rest_s(self) -> float | None:
        """Seconds until there may be something to start; None where only what is under way can bring it."""
        if len(self._at_work) >= self._options.concurrency:
            return None
        return await self._due_rows.rest_s(self._poller.given_up)

    async def _start_rows(self) -> bool:
        """Start as many rows as there are free places; whether there may be more to start at once."""
        free = self._options.concurrency - len(self._at_work)
        if free < 1 or self._poller.backoff.left_s():
            return False
        rows = [row for row in await self._due_rows.due(free) if row.id not in self._at_work]
        for row in rows:
            self._start(row.id, self._look(row))
        if len(rows) < free:
            again = await self._due_rows.unrefunded(free - len(rows))
            # By its video: another one of the same row may be at work, and this look be the last.
            looks = [row for row in again if row.video_id not in self._at_work]
            for row in looks:
                self._start(row.video_id, self._poller.look_for_refund(row))
            rows += looks
        if len(rows) == free:
            return True
        for row, path in await self._due_rows.without_file(free - len(rows)):
            if row.id not in self._at_work:
                self._start(row.id, self._download(row, None, path))
                rows.append(row)
        return bool(rows) or self._due_rows.searching

    def _start(self, what: RowId | VideoId, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(self._guarded(work))
        self._at_work[what] = task
        task.add_done_callback(lambda _: self._at_work.pop(what, None))

    async def _guarded(self, work: Awaitable[None]) -> None:
        """Whatever one row meets, the others go on; what concerns all of them ends the run."""
        try:
            await work
        except KeyRefused as error:
            self.end(SettleReason.BAD_KEY, str(error))
        except LedgerError as error:
            self.end(SettleReason.LEDGER_FAILED, str(error))
        except Exception as error:  # noqa: BLE001 - raised when what is under way has been written down
            self._crash = self._crash or error
            self.end(SettleReason.CRASHED, f"{type(error).__name__}: {error}")

    async def _look(self, row: Rendered) -> None:
        video = await self._poller.poll(row)
        if video is not None and self._downloads is not None and not self._ending.is_set():
            await self._download(row, video)

    async def _download(self, row: Rendered, video: Video | None, instead_of: str | None = None) -> None:
        assert self._downloads is not None  # noqa: S101 - only rows to download come here
        try:
            written = await self._downloads.fetch(row, video, instead_of)
            self.stats.downloaded += written
            self.stats.marked_videos = dict(self._downloads.marks)
        except (ApiError, TargetProblem) as error:
            self.stats.download_failed(row.row_key, str(error))

    def end(self, reason: SettleReason, message: str | None = None) -> None:
        """Start nothing more, for this reason; it may be known before anything was asked."""
        self.stats.end(reason, message)
        self._ending.set()

    def _ended(self) -> bool:
        if self._deadline is not None and asyncio.get_running_loop().time() >= self._deadline:
            self.end(SettleReason.TIMED_OUT, f"stopped following after {self._options.timeout_s:g} s")
        if self._poller.silence.left_s() == 0:
            self.end(SettleReason.UNREACHABLE, self._poller.silence.words)
        return self._ending.is_set()

    async def _wait(self, seconds: float | None) -> None:
        """Until something under way is finished, `seconds` have passed or everything ends."""
        ends = [self._poller.silence.left_s(), seconds]
        if self._deadline is not None:
            ends.append(max(0.0, self._deadline - asyncio.get_running_loop().time()))
        seconds = min((end for end in ends if end is not None), default=None)
        ending = asyncio.ensure_future(self._ending.wait())
        try:
            await asyncio.wait(
                {ending, *self._at_work.values()}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            ending.cancel()

    async def _finish(self) -> None:
        """Wait for what is under way; a cancellation in the meantime ends everything gently."""
        while self._at_work:
            await asyncio.wait(set(self._at_work.values()))

    async def _sleep(self, seconds: float) -> None:
        """Wait, unless everything ends first."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ending.wait()
