"""The only concurrency of creates: rows are claimed, and each is sent by a task of its own."""

from __future__ import annotations

import asyncio

from reelbatch.client import Client
from reelbatch.domain import ClaimedRow
from reelbatch.errors import ReelbatchError
from reelbatch.ledger import Ledger, claims
from reelbatch.ledger.claims import Claim
from reelbatch.ledger.selection import Scope
from reelbatch.submit.concurrency import ConcurrencyLimiter
from reelbatch.submit.run_stats import ExitReason, RunStats
from reelbatch.submit.sender import RowSender, SubmitOptions
from reelbatch.submit.uploads import Uploader

_GATHER_S = 0.01
_UPLOADING = 48
_LOOK_S = 2.0
"""Between two looks at whether all that goes on are questions: other chunks of rows do not tell this one."""


class Submitter:
    """Sends rows; all tasks of a run share one, so the number in flight is global to the process."""

    def __init__(
        self, ledger: Ledger, client: Client, uploader: Uploader, options: SubmitOptions, limiter: ConcurrencyLimiter
    ) -> None:
        self.sender = RowSender(ledger, client, uploader, options, limiter)
        self.allowance: int | None = None  # rows that may still be claimed; None: any number
        self._ledger = ledger
        self._concurrency = options.concurrency
        self._at_work = 0
        self._places = asyncio.Semaphore(self.rows_at_once(with_files=True))

    @property
    def stats(self) -> RunStats:
        """What this run has done."""
        return self.sender.stats

    @property
    def limiter(self) -> ConcurrencyLimiter:
        """How many are in flight, and whether the API asked to slow down."""
        return self.sender.limiter

    def rows_at_once(self, *, with_files: bool) -> int:
        """Rows claimed at once: those in flight and the next; `with_files` more, whose images are being uploaded.

        No more than it takes to keep all places busy: the others are left to other workers.
        """
        return 2 * self._concurrency + (_UPLOADING if with_files else 0)

    def stop(self, reason: ExitReason, message: str | None = None) -> None:
        """Let no further create leave; those in flight are waited for and recorded."""
        self.sender.stop(reason, message)

    async def submit(self, scope: Scope, span: tuple[int, int]) -> int:
        """Send the pending rows of `scope` within `span`; returns how many of them this worker took.

        Rows that it can't send are left and do not count: cap or budget refuses them, or only another machine sees
        their images. Others may go in their place.
        Cancelling it stops the run gently: creates in flight are waited for and recorded first.
        """
        handling: set[asyncio.Task[None]] = set()
        taken, left = 0, list[ClaimedRow]()
        try:
            while self._has_more(span, taken) and (rows := await self._take_rows(scope, span)):
                taken += len(rows)
                for row in rows:
                    task = asyncio.create_task(self._handle(row, left))
                    handling.add(task)
                    task.add_done_callback(handling.discard)
                if self.allowance == 0:  # until it is known which of them go
                    await self._ended(handling)
        except asyncio.CancelledError:
            self.stop(ExitReason.INTERRUPTED)
            raise
        finally:
            await self._finish(handling)
        return taken - len(left)

    def _has_more(self, span: tuple[int, int], taken: int) -> bool:
        return taken <= span[1] - span[0] and self.allowance != 0 and not self.limiter.closed

    async def _finish(self, handling: set[asyncio.Task[None]]) -> None:
        try:
            await self._ended(handling)
        except asyncio.CancelledError:
            self.stop(ExitReason.INTERRUPTED)
            if handling:
                await asyncio.wait(set(handling))
            raise

    async def _ended(self, handling: set[asyncio.Task[None]]) -> None:
        """Until all are handled. Where nothing more fits, ids that came with a refusal are left to the next run."""
        refusals = self.sender.refusals
        while handling:
            if refusals.is_full and 0 < self.sender.confirming == self._at_work:
                self.limiter.close()
            await asyncio.wait(set(handling), timeout=_LOOK_S, return_when=asyncio.FIRST_COMPLETED)

    async def _take_rows(self, scope: Scope, span: tuple[int, int]) -> list[ClaimedRow]:
        """Claim as many rows as there are free places, at least one; none where the span has no more."""
        places = await self._take_places(span[1] - span[0] + 1)
        wanted = places if self.allowance is None else min(places, self.allowance)
        if self.allowance is not None:
            self.allowance -= wanted  # before anything is awaited, so that no other chunk counts on the same rows
        rows = await self._claim(scope, span, wanted) if wanted else []
        if self.allowance is not None:
            self.allowance += wanted - len(rows)
        for _ in range(places - len(rows)):
            self._places.release()
        return rows

    async def _take_places(self, wanted: int) -> int:
        """Wait for one place, then for a moment, so that many rows are claimed in one go."""
        await self._places.acquire()
        taken = 1
        if wanted > 1:
            await asyncio.sleep(_GATHER_S)
        while taken < min(wanted, self._concurrency) and not self._places.locked():
            await self._places.acquire()
            taken += 1
        return taken

    async def _claim(self, scope: Scope, span: tuple[int, int], rows: int) -> list[ClaimedRow]:
        fitting = scope._replace(most=self.sender.most)
        try:
            return await self._ledger.write(claims.claim, Claim(fitting, span, rows))
        except ReelbatchError as error:
            self.stop(ExitReason.LEDGER_FAILED, str(error))
            return []

    async def _handle(self, row: ClaimedRow, left: list[ClaimedRow]) -> None:
        self._at_work += 1
        try:
            if not await self.sender.handle(row):
                left.append(row)
                if self.allowance is not None:
                    self.allowance += 1
        finally:
            self._at_work -= 1
            self._places.release()
