"""Rows in doubt whose answers named an id: whoever runs next asks the API about it again.

The run that got the answer asks by itself; it may have been killed meanwhile, or the API said nothing usable.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from reelbatch.client import Client
from reelbatch.client.outcome import Exchange, Kind, Outcome, Policy, classify
from reelbatch.domain import Batch
from reelbatch.errors import ApiError
from reelbatch.ledger import Ledger, doubts, rescue_files, sending, utc_now
from reelbatch.ledger.doubts import Doubt
from reelbatch.settings import Settings
from reelbatch.submitter.confirming import ask_once, is_cleared_up
from reelbatch.submitter.recorder import ENDINGS, Attempt

_AT_ONCE = 16
_FAILURES = 3
"""Questions without a usable answer, after which no more are asked: the next run does."""


@dataclass(frozen=True, slots=True)
class _Noted:
    """A row in doubt, and what its answer came to; that has an id."""

    doubt: Doubt
    outcome: Outcome


async def ask_about_noted_ids(ledger: Ledger, client: Client, settings: Settings, batches: Iterable[Batch]) -> int:
    """Ask once about each noted id, and bring into the table what is known then; answers with how many rows.

    Raises:
        LedgerError: the table could not be read or written.
    """
    policy = Policy(settings.server_errors, settings.bad_gateway_wait_s)
    noted = [each for batch in batches for each in await asyncio.to_thread(_noted, ledger, batch, policy)]
    if not noted:
        return 0
    inquiry = _Inquiry(ledger, client, settings.doubt_min_age_s)
    return sum(await asyncio.gather(*map(inquiry.clear_up, noted)))


def _noted(ledger: Ledger, batch: Batch, policy: Policy) -> list[_Noted]:
    """The kept answer is read as it was when it came."""
    answered = ledger.read(partial(doubts.answered, batch=batch))
    outcomes = ((each, classify(Exchange(each.status, body=each.body.encode()), policy)) for each in answered)
    return [_Noted(each.doubt, outcome) for each, outcome in outcomes if outcome.claimed_id is not None]


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
            age_s = (utc_now() - noted.doubt.since).total_seconds()
            try:
                outcome = await ask_once(
                    self._client, noted.outcome, noted.doubt.token, believe_unknown=age_s >= self._min_age_s
                )
            except ApiError:
                self._failures += 1
                return False
        if not is_cleared_up(outcome) or (outcome.kind is not Kind.SUBMITTED and await self._may_not_be_said()):
            return False
        answer = _attempt(noted.doubt).answer(outcome, ENDINGS[outcome.kind])
        return await self._ledger.write(sending.record_answers, answer)

    async def _may_not_be_said(self) -> bool:
        """A rescue file that can't be read may know of the video."""
        return await asyncio.to_thread(rescue_files.objection, self._ledger) is not None


def _attempt(doubt: Doubt) -> Attempt:
    return Attempt(doubt.batch, doubt.row_key, doubt.generation, doubt.run_id, doubt.token, doubt.credits_reserved)
