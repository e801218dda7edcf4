"""Asking the API about an id that came with a refusal: is it the video of this attempt?"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Protocol

from reelbatch.client import Video
from reelbatch.client.outcome import Kind, Outcome
from reelbatch.domain import RowState, Token
from reelbatch.errors import ApiError

_NOT_FOUND = 404
_REFUNDED = frozenset({RowState.ERROR, RowState.CANCELED})


class Asked(Protocol):
    """What knows videos: the client."""

    async def get_video(self, video_id: str) -> Video:
        """The state of a video.

        Raises:
            ApiError: there is none (status 404), or no usable answer.
        """


class Waiting(Protocol):
    """What knows whether the run goes on: the pace."""

    @property
    def stopped(self) -> bool:
        """Whether it stops."""

    async def sleep(self, seconds: float) -> None:
        """Wait, unless it stops first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmPlan:
    """How long the API is asked. Times in seconds.

    Args:
        attempts: questions without a usable answer.
        wait_s: first wait between two questions; doubles up to `max_wait_s`.
        min_age_s: after which a 404 is believed: a video may be known later than its id.
    """

    attempts: int
    wait_s: float
    max_wait_s: float
    min_age_s: float


class Confirmer:
    """Finds out what became of a create whose refusal named an id.

    The id alone proves nothing: it may be the refusal's own, or another video's. A name that ends in the attempt's
    token does.
    """

    def __init__(self, asked: Asked, run: Waiting, plan: ConfirmPlan) -> None:
        self._asked = asked
        self._run = run
        self._plan = plan

    async def resolve(self, doubt: Outcome, token: Token) -> Outcome:
        """What `doubt` turns out to be; `doubt` itself where nobody can tell, or the run stops before anybody can."""
        believed_at, wait_s, failures = time.monotonic() + self._plan.min_age_s, self._plan.wait_s, 0
        while True:
            left_s = believed_at - time.monotonic()
            try:
                return _found(doubt, await self._asked.get_video(doubt.claimed_id or ""), token)
            except ApiError as error:
                is_unknown = error.status == _NOT_FOUND
            failures += not is_unknown
            if is_unknown and left_s <= 0:
                return _not_created(doubt)
            if self._run.stopped or failures >= self._plan.attempts:
                return doubt
            await self._run.sleep(min(wait_s, max(left_s, 0)) if is_unknown else wait_s)
            wait_s = min(2 * wait_s, self._plan.max_wait_s)


async def ask_once(asked: Asked, doubt: Outcome, token: Token, *, believe_unknown: bool) -> Outcome:
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
        # A failed video's figure has the refund in it: what was charged at first it does not say.
        credits_charged=None if video.status in _REFUNDED else video.credits_charged,
        odd_charge=None if video.status in _REFUNDED else video.odd_charge,
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
