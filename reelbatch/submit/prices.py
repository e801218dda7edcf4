"""What a run learns about prices: kinds of video that it sends no more, and whose turn it is near a cap."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta

from reelbatch.domain import ClaimedRow
from reelbatch.domain.money import MISSING
from reelbatch.errors import LedgerError
from reelbatch.ledger import Ledger
from reelbatch.ledger.accounts import PriceClass, class_of
from reelbatch.ledger.attempts import Answer
from reelbatch.machine import monotonic_s

_LONGEST_WAIT_S = 0.25
_RECOVER_EVERY_S = 2.0


class NoPrice(Exception):  # noqa: N818 - a signal of the submitter
    """What a row costs is not known well enough to send it. `code`: why, as the table keeps it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class SeenPrices:
    """The kinds of video of one run whose prices are not what they should be."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self._halted: dict[PriceClass, tuple[str, str]] = {}
        self._dearer: set[PriceClass] = set()

    def check(self, row: ClaimedRow) -> None:
        """Before anything is done for a row.

        Raises:
            NoPrice: no more of its kind is sent in this run.
        """
        if (why := self._halted.get(_kind(row))) is not None:
            raise NoPrice(*why)

    def answered(self, row: ClaimedRow, answer: Answer) -> None:
        """A figure that can't be believed halts its kind; none at all does not."""
        if answer.odd_figure not in {None, MISSING}:
            words = (
                f"such videos are not sent in this run: of one of them the API said that it charged {_said(answer)}"
            )
            self._halted[_kind(row)] = ("odd_charge", words)

    def drifted(self, row: ClaimedRow, paid: int) -> NoPrice:
        """Finished videos of this kind cost more than estimated, and that is to halt it."""
        words = f"such videos cost {paid:,} credits, not {row.credits_estimated or 0:,}"
        words += ": correct the table of models, or set price_drift: warn"
        self._halted[_kind(row)] = ("price_drift", words)
        return NoPrice("price_drift", words)

    def reserved(self, row: ClaimedRow, credits_: int) -> None:
        """More is reserved than was estimated, since more was seen; said once for each kind."""
        kind, estimated = _kind(row), row.credits_estimated
        if estimated is None or credits_ <= estimated or kind in self._dearer:
            return
        self._dearer.add(kind)
        what = f"{kind.model} {kind.resolution}{' with audio' if kind.audio else ''}, {kind.seconds:g} s"
        self.warnings.append(
            f"{what}: {credits_:,} credits by what was charged, {estimated:,} by the table of models"
        )


def _kind(row: ClaimedRow) -> PriceClass:
    return class_of("", "", row.request)


def _said(answer: Answer) -> str:
    return answer.odd_figure or ""


class Turn:
    """Waiting for an answer that someone else is waiting for, in this process or in another."""

    def __init__(self, ledger: Ledger, lease_s: float) -> None:
        self._ledger = ledger
        self._lease = timedelta(seconds=lease_s)
        self._answered = asyncio.Event()
        self._recovered_at = monotonic_s()

    def come(self) -> None:
        """An answer is in the table: the one who waits tries again."""
        self._answered.set()
        self._answered = asyncio.Event()

    async def wait(self) -> None:
        """Until an answer comes here, or long enough to look for one of another worker; dead ones are told."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_LONGEST_WAIT_S):
                await self._answered.wait()
        if monotonic_s() - self._recovered_at > _RECOVER_EVERY_S:
            self._recovered_at = monotonic_s()
            with suppress(LedgerError):
                await asyncio.to_thread(self._ledger.recover, self._lease)
