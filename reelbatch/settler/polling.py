"""One look at one video: what the API says about it, and what the results table is told."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from reelbatch.client import Client, Video
from reelbatch.domain import RowState, VideoId
from reelbatch.errors import ApiError, OtherVideo, ReelbatchError
from reelbatch.ledger import Ledger, settling, utc_now
from reelbatch.ledger.settling import FINAL, Final, Postponement, Rendered, RowId
from reelbatch.settler.patience import Patience, backoff
from reelbatch.settler.plan import SettleTally
from reelbatch.settler.writing import write

TRIES = 3
"""Answers such as 404, or about another video, after which a row is not waited for any longer in this run."""
_TEXT_LIMIT = 500
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
    """Asks about videos and writes down what it hears."""

    def __init__(self, ledger: Ledger, client: Client, tally: SettleTally, interval_s: float) -> None:
        self.patience = Patience(interval_s)
        self.given_up: set[RowId] = set()
        self._ledger = ledger
        self._client = client
        self._tally = tally
        self._interval_s = interval_s
        self._failures: dict[RowId, int] = {}

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
        self._tally.polled += 1
        try:
            video = await self.get(row.video_id)
        except ApiError as error:
            self._tally.failed_polls += 1
            await self._failed(row, error, started)
            return None
        self.patience.good()
        self._failures.pop(row.id, None)
        self.given_up.discard(row.id)
        return await self._record(row, video)

    async def _record(self, row: Rendered, video: Video) -> Video | None:
        if (final := final_of(row, video)) is None:
            if video.status == RowState.RENDERING and row.state != RowState.RENDERING:
                await write(self._ledger, settling.record_rendering, row)
            return None
        settlement = await write(self._ledger, settling.record_finals, final)
        if settlement is None:  # another settle was faster, or the row has another video by now
            return None
        self._tally.settled(final.state, settlement)
        return video if final.state is RowState.COMPLETE else None

    async def _failed(self, row: Rendered, error: ApiError, started: float) -> None:
        """Ask again later; a row that the API refuses to talk about is waited for only so many times."""
        failures = self._failures[row.id] = self._failures.get(row.id, 0) + 1
        due_at = utc_now() + timedelta(seconds=backoff(self._interval_s, failures))
        code = _refusal(error)
        if code is None:
            self.patience.failed(started)
            await write(self._ledger, settling.postpone, Postponement(row, due_at))
            return
        self.patience.good()
        if failures >= TRIES:
            self.given_up.add(row.id)
        await write(self._ledger, settling.postpone, Postponement(row, due_at, code, _text(str(error))))


def _refusal(error: ApiError) -> str | None:
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
