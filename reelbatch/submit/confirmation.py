"""Asking the API about an id that came with a refusal: is it the video of this attempt?"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from reelbatch.client import Client, Video
from reelbatch.client.outcome import Exchange, Kind, Outcome, Policy, classify
from reelbatch.domain import REFUNDED, Batch, Token
from reelbatch.errors import ApiError
from reelbatch.ledger import Ledger, attempts, in_doubt, rescue_files, utc_now
from reelbatch.ledger.accounts import Payer, payer_of
from reelbatch.ledger.in_doubt import Doubt
from reelbatch.machine import monotonic_s
from reelbatch.retry import RetryPolicy
from reelbatch.settings import Settings
from reelbatch.submit.recorder import ENDINGS, Attempt

_NOT_FOUND = 404


class VideoReader(Protocol):
    """What knows videos: the client."""

    async def get_video(self, video_id: str) -> Video:
        """The state of a video.

        Raises:
            ApiError: there is none (status 404), or no usable answer.
        """


class Waiting(Protocol):
    """What knows whether the run goes on: the limiter."""

    @property
    def closed(self) -> bool:
        """Whether it ends: nothing new begins."""

    async def sleep(self, seconds: float) -> None:
        """Wait, unless it stops first."""


class Confirmer:
    """Finds out what became of a create whose refusal named an id.

    The id alone proves nothing: it may be the refusal's own, or another video's. A name that ends in the attempt's
    token does.

    Args:
        asked: what knows videos.
        run: what knows whether the run goes on.
        retries: questions without a usable answer, and the waits between; a wait doubles.
        min_age_s: seconds after which a 404 is believed: a video may be known later than its id.
    """

    def __init__(self, asked: VideoReader, run: Waiting, retries: RetryPolicy, min_age_s: float) -> None:
        self._asked = asked
        self._run = run
        self._retries = retries
        self._min_age_s = min_age_s

    async def resolve(self, doubt: Outcome, token: Token) -> Outcome:
        """What `doubt` turns out to be; `doubt` itself where no one can tell, or the run stops before anyone can."""
        believed_at, wait_s, failures = monotonic_s() + self._min_age_s, self._retries.wait_s, 0
        while True:
            left_s = believed_at - monotonic_s()
            try:
                return _found(doubt, await self._asked.get_video(doubt.claimed_id or ""), token)
            except ApiError as error:
                is_unknown = error.status == _NOT_FOUND
            failures += not is_unknown
            if is_unknown and left_s <= 0:
                return _not_created(doubt)
            if self._run.closed or failures >= self._retries.attempts:
                return doubt
            await self._run.sleep(min(wait_s, max(left_s, 0)) if is_unknown else wait_s)
            wait_s = min(2 * wait_s, self._retries.max_wait_s)


async def ask_once(asked: VideoReader, doubt: Outcome, token: Token, *, believe_unknown: bool) -> Outcome:
    """The same with one question; `believe_unknown`: the API has had its time to know the video.

    Raises:
        ApiError: there was no usable answer.
    """
    try:
        return _found(doubt, await asked.get_video(doubt.claimed_id or ""), token)
    except ApiError as error:
        if error.status != _NOT_FOUND:
            raise
    return _not_created(doubt) if believe_unknown else doubt


def is_cleared_up(outcome: Outcome) -> bool:
    """Whether `outcome` was in doubt in the table before: such a row is not sent again in this run."""
    return outcome.claimed_id is not None and outcome.kind is not Kind.IN_DOUBT


def _found(doubt: Outcome, video: Video, token: Token) -> Outcome:
    """Submitted, if it is this attempt's."""
    if (video.name or "").split()[-1:] != [token]:
        return doubt
    return Outcome(
        Kind.SUBMITTED,
        doubt.status,
        video_id=doubt.claimed_id,
        credits_charged=None if video.status in REFUNDED else video.credits_charged,
        odd_charge=None if video.status in REFUNDED else video.odd_charge,
        message=f"the id came with {_what(doubt)}, and the API confirmed it",
        claimed_id=doubt.claimed_id,
    )


def _not_created(doubt: Outcome) -> Outcome:
    """What the status says; where there was none, or it says nothing either, still in doubt."""
    said = doubt.said
    if said.kind is Kind.IN_DOUBT:
        return doubt
    message = f"{said.message} (there is no video {doubt.claimed_id}, which the answer named)"
    return replace(said, message=message, claimed_id=doubt.claimed_id)


def _what(doubt: Outcome) -> str:
    return f"status {doubt.status}" if doubt.status is not None else "an answer that can't be read"


_AT_ONCE = 16
_FAILURES = 3
"""Questions without a usable answer, after which no more are asked: the next run does."""


@dataclass(frozen=True, slots=True)
class _Noted:
    """A row in doubt, and what its answer came to; that has an id."""

    doubt: Doubt
    outcome: Outcome
    is_own: bool  # of the account that asks


async def ask_about_noted_ids(
    ledger: Ledger, client: Client, settings: Settings, payer: Payer, batches: Iterable[Batch]
) -> int:
    """Ask once about each noted id, and bring into the table what is known then; returns how many rows.

    That there is no such video says the API only of the payer's own.

    Raises:
        LedgerError: the table could not be read or written.
    """
    policy = Policy(settings.server_errors, settings.bad_gateway_wait_s)
    noted = [each for batch in batches for each in await asyncio.to_thread(_noted, ledger, payer, batch, policy)]
    if not noted:
        return 0
    inquiry = _Inquiry(ledger, client, settings.doubt_min_age_s)
    return sum(await asyncio.gather(*map(inquiry.clear_up, noted)))


def _noted(ledger: Ledger, payer: Payer, batch: Batch, policy: Policy) -> list[_Noted]:
    """The kept answer is read as it was when it came."""
    bound = ledger.read(partial(payer_of, batch=batch))
    is_own = bound is not None and payer.surely_paid(bound)
    answered = ledger.read(partial(in_doubt.answered, batch=batch))
    outcomes = ((each, classify(Exchange(each.status, body=each.body.encode()), policy)) for each in answered)
    return [_Noted(each.doubt, outcome, is_own) for each, outcome in outcomes if outcome.claimed_id is not None]


class _Inquiry:
    """All questions of one run."""

    def __init__(self, ledger: Ledger, client: Client, min_age_s: float) -> None:
        self._ledger = ledger
        self._client = client
        self._min_age_s = min_age_s
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._failures = 0

    async def clear_up(self, noted: _Noted) -> bool:
        """Whether the row is in doubt no longer."""
        async with self._places:
            if self._failures >= _FAILURES:
                return False
            believed = noted.is_own and (utc_now() - noted.doubt.since).total_seconds() >= self._min_age_s
            try:
                outcome = await ask_once(self._client, noted.outcome, noted.doubt.token, believe_unknown=believed)
            except ApiError:
                self._failures += 1
                return False
        if not is_cleared_up(outcome) or (outcome.kind is not Kind.SUBMITTED and await self._may_not_be_said()):
            return False
        answer = _attempt(noted.doubt).answer(outcome, ENDINGS[outcome.kind])
        return await self._ledger.write(attempts.record_answers, answer)

    async def _may_not_be_said(self) -> bool:
        """A rescue file that can't be read may know of the video."""
        return await asyncio.to_thread(rescue_files.objection, self._ledger) is not None


def _attempt(doubt: Doubt) -> Attempt:
    return Attempt(doubt.batch, doubt.row_key, doubt.generation, doubt.run_id, doubt.token, doubt.credits_reserved)
