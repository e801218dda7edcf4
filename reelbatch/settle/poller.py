"""One look at one video: what the API says about it, and what the results table is told."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import Any

from reelbatch.client import Client, Video
from reelbatch.domain import UNSETTLED, Batch, RowState, VideoId
from reelbatch.errors import ApiError, OtherVideo, ReelbatchError, UnreadableAnswer
from reelbatch.ledger import Ledger, due, settlements, utc_now
from reelbatch.ledger.due import Postponement, RefundLook, Rendered, RowId
from reelbatch.ledger.settlements import FINAL, Final
from reelbatch.ledger.transactions import write
from reelbatch.retry import SharedBackoff, backoff
from reelbatch.settle.options import SettleOptions, SettleStats, Tally
from reelbatch.settle.render_times import RenderTimes
from reelbatch.settle.silence import Silence

TRIES = 3
"""Answers such as 404, or about another video, after which a row is not waited for any longer in this run."""
_TEXT_LIMIT = 500
_CODE_LIMIT = 100
_LARGEST = 2**31 - 1
_LATER = frozenset({408, 425, 429})
_UNAUTHORIZED = 401


class KeyRefused(ReelbatchError):  # noqa: N818 - a signal within the settler
    """The API does not accept the key, for this video or any other."""


def final_of(row: Rendered, video: Video) -> Final | None:
    """The final answer in `video`; None while it is not finished. Odd figures are left out, never passed on."""
    state = next((state for state in FINAL if state == video.status), None)
    if state is None:
        return None
    failed = state is not RowState.COMPLETE
    return Final(
        row=row,
        state=state,
        at=utc_now(),
        credits_final=video.credits_charged,
        odd_figure=video.odd_charge,
        fps=video.fps,
        width=_whole(video.width),
        height=_whole(video.height),
        code=(_text(video.error_code) or state.value) if failed else None,
        message=_text(video.error_message) if failed else None,
    )


class Poller:
    """Asks about videos, writes down what the API says, and learns how long they took."""

    def __init__(
        self, ledger: Ledger, client: Client, stats: SettleStats, options: SettleOptions, times: RenderTimes
    ) -> None:
        self.backoff = SharedBackoff(options.poll_interval_s)
        self.given_up: set[RowId] = set()
        self.silence = Silence(
            stats, options.unreachable_after_s, logging.WARNING if options.tells else logging.DEBUG
        )
        self._ledger = ledger
        self._client = client
        self._stats = stats
        self._times = times
        self._interval_s = options.poll_interval_s
        self._holds = timedelta(seconds=options.unknown_state_holds_s)
        self._own = Tally(options.batch or Batch(""), stats)
        self._tally = options.tally
        self._failures: dict[RowId, tuple[int, float]] = {}  # how many in a row, and when the first of them was asked

    async def get(self, video_id: VideoId) -> Video:
        """The API's answer about a video.

        Raises:
            KeyRefused: the key is bad.
            ApiError: there was no usable answer.
        """
        try:
            return await self._client.get_video(video_id)
        except ApiError as error:
            if error.status == _UNAUTHORIZED:
                raise KeyRefused(str(error)) from error
            raise

    async def poll(self, row: Rendered) -> Video | None:
        """Look at a row's video; returns the answer where this look found it complete.

        Raises:
            KeyRefused: the key is bad.
            LedgerError: what was seen could not be written.
        """
        started = asyncio.get_running_loop().time()
        try:
            video = await self._ask(row)
        except ApiError as error:
            await self._failed(row, error, started)
            return None
        self.backoff.on_success()
        self._failures.pop(row.id, None)
        self.given_up.discard(row.id)
        self._stats.refused.pop(row.row_key, None)
        return await self._record(row, video)

    async def look_for_refund(self, row: Rendered) -> None:
        """Whether a failed video's credits have been given back by now; without an answer it is asked about again.

        Raises:
            KeyRefused: the key is bad.
            LedgerError: what was seen could not be written.
        """
        started, now, is_unknown = asyncio.get_running_loop().time(), utc_now(), False
        try:
            final = final_of(row, await self._ask(row))
        except ApiError as error:
            if refusal_code(error) is None:
                self._unanswered(error, started)
                return
            final, is_unknown = None, True
        self.backoff.on_success()
        refund = None if final is None else await write(self._ledger, settlements.record_refunds, final)
        if refund is not None:
            for tally in self._tallies(row):
                tally.stats.refunded(refund, is_settled_here=row.video_id in tally.unrefunded)
        await write(self._ledger, due.end_refund_looks, RefundLook(row.token, now, unknown=is_unknown))

    async def _ask(self, row: Rendered) -> Video:
        self._stats.polled += 1
        try:
            video = await self.get(row.video_id)
        except ApiError as error:
            self._stats.failed_polls += 1
            if refusal_code(error) is not None:
                self.silence.ends()
            raise
        self.silence.ends()
        return video

    def _unanswered(self, error: ApiError, started: float) -> None:
        self.backoff.failed(started)
        self.silence.goes_on(str(error), started)

    async def _record(self, row: Rendered, video: Video) -> Video | None:
        if (final := final_of(row, video)) is None:
            await self._unfinished(row, video)
            return None
        settlement = await write(self._ledger, settlements.record_finals, final)
        if settlement is None:  # another settle was faster, or the row has another video by now
            return None
        self._times.found(row, final.at)
        for tally in self._tallies(row):
            tally.settled(final, settlement)
        return video if final.state is RowState.COMPLETE else None

    def _tallies(self, row: Rendered) -> list[Tally]:
        """Where a row counts: here, and in the tally of its batch that others share."""
        shared = self._tally
        if shared is None or shared.batch != row.batch:
            return [self._own]
        return [shared] if shared.stats is self._stats else [self._own, shared]

    async def _unfinished(self, row: Rendered, video: Video) -> None:
        """It still renders, as far as its state is one that we know."""
        if (odd := _odd_state(video)) is not None:
            await self._postpone(row, 0, *odd)
        elif video.status == RowState.RENDERING and row.state != RowState.RENDERING:
            await write(self._ledger, settlements.record_rendering, row)
        elif row.waited_until is not None:
            await write(self._ledger, due.record_understood, row)

    async def _failed(self, row: Rendered, error: ApiError, started: float) -> None:
        """Ask again later; a row that the API refuses to talk about is asked about a limited number of times."""
        known, since = self._failures.get(row.id, (0, started))
        failures = known + 1
        self._failures[row.id] = failures, since
        code = refusal_code(error)
        if code is not None:
            self.backoff.on_success()
            self._stats.asked_in_vain(row.row_key, _text(str(error)) or code)
            if failures >= TRIES:
                self.given_up.add(row.id)
        else:
            code = _own_trouble(error, others_are_well=self.backoff.good_at >= since)
            self._unanswered(error, started)
        await self._postpone(row, failures, code, _text(str(error)))

    async def _postpone(self, row: Rendered, failures: int, code: str | None, message: str | None) -> None:
        """Later; ever more rarely where the trouble is this row's own, and has a `code`."""
        now = utc_now()
        wait = timedelta(seconds=backoff(self._interval_s, failures))
        until = row.waited_until or now + self._holds
        if code is not None:
            wait = max(wait, due.rarer(now, until - self._holds, timedelta(seconds=self._interval_s)))
        item = Postponement(row, now + wait, code, message, until)
        await write(self._ledger, due.postpone, item)


def _odd_state(video: Video) -> tuple[str, str] | None:
    """Code and message of a state that no video should be in; None for the usual ones."""
    if video.status not in UNSETTLED:
        word = _text(video.status) or "?"
        return word[:_CODE_LIMIT], f'the API says "{word}", which is no state that Reelbatch knows'
    if not video.enabled:
        return "deleted", f"the API says that the video is deleted (enabled: false) and {video.status}"
    return None


def _own_trouble(error: ApiError, *, others_are_well: bool) -> str | None:
    """The code of a failure that others do not have; None for trouble that may be everybody's."""
    if isinstance(error, UnreadableAnswer):
        return "unreadable"
    if not others_are_well or error.status in _LATER:
        return None
    return "no_answer" if error.status is None else f"http_{error.status}"


def refusal_code(error: ApiError) -> str | None:
    """The code of an answer that concerns this row alone; None for trouble that the API has with all of them."""
    if isinstance(error, OtherVideo):
        return "other_video"
    status = error.status
    if status is None or not 400 <= status < 500 or status in _LATER:  # noqa: PLR2004 - HTTP
        return None
    return f"http_{status}"


def _text(value: Any) -> str | None:
    """A text that every database takes; the API's words may hold anything."""
    if value is None:
        return None
    clean = str(value).replace("\x00", " ").encode("utf-8", "replace").decode()
    return " ".join(clean.split())[:_TEXT_LIMIT] or None


def _whole(value: int | None) -> int | None:
    """A figure that the table's columns can hold."""
    return value if value is not None and 0 <= value <= _LARGEST else None
