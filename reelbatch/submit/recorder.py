"""Writing answers, whatever happens to the results table: an id that was received is never lost."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from typing import NamedTuple

from reelbatch.client.outcome import Kind, Outcome
from reelbatch.domain import Batch, RowKey, RunId, Token
from reelbatch.failpoints import point
from reelbatch.ledger import Ledger, attempts, claims, utc_now
from reelbatch.ledger.attempts import Answer, Ending
from reelbatch.ledger.claims import Release
from reelbatch.ledger.rescue_files import RescueFile
from reelbatch.machine import machine
from reelbatch.submit.run_stats import ExitReason

ENDINGS = {
    Kind.SUBMITTED: Ending.SUBMITTED,
    Kind.RETRY: Ending.RETRY,
    Kind.REJECTED: Ending.REJECTED,
    Kind.IN_DOUBT: Ending.IN_DOUBT,
    Kind.HALT: Ending.HALTED,
}
"""How the table keeps what an attempt ended in."""
WAITS_S = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 14.0)
"""Between tries to write an answer: half a minute in all, while no new create leaves."""
_RANDOM_BYTES = 7
RESCUE_AFTER_S = 0.75
"""So that an answer is on disk within a second, whether or not the table takes it."""


def new_token() -> Token:
    """A unique mark for one attempt: `rb_`, six hexadecimal digits of the time in seconds, and fourteen at random.

    Marks of one time are neighbours, and so are their places in the table's indexes: all at random, each would cost a
    page of its own to write.
    """
    return Token(f"rb_{int(machine.get().wall_s() * 1e9) >> 30 & 0xFFFFFF:06x}{secrets.token_hex(_RANDOM_BYTES)}")


class Attempt(NamedTuple):
    """Which attempt an answer belongs to, and the credits that are held back for it."""

    batch: Batch
    row_key: RowKey
    generation: int
    run_id: RunId
    token: Token
    reserved: int

    def answer(self, outcome: Outcome, ending: Ending) -> Answer:
        """What the table is told of it now."""
        return Answer(
            **self._asdict(),
            at=utc_now(),
            ending=ending,
            status=outcome.status,
            video_id=outcome.video_id,
            credits_charged=outcome.credits_charged,
            estimated_frame_cost=outcome.estimated_frame_cost,
            code=outcome.code,
            message=outcome.message,
            raw_body=outcome.raw_body,
            odd_figure=outcome.odd_charge,
        )


class Recorder:
    """Records answers; where the table fails, it stops the run, writes a rescue file, and tries again for a while."""

    def __init__(
        self,
        ledger: Ledger,
        stop: Callable[[ExitReason, str | None], None],
        waits_s: Sequence[float] = WAITS_S,
        rescue_after_s: float = RESCUE_AFTER_S,
    ) -> None:
        self._ledger = ledger
        self._stop = stop
        self._waits_s = waits_s
        self._rescue_after_s = rescue_after_s
        self.file = RescueFile(ledger)
        self._waiting: dict[Token, Answer] = {}  # neither in the table nor in the file

    async def record(self, answer: Answer) -> None:
        """Returns when the answer is in the table, or as a last resort in the rescue file.

        The rescue file is written when the table has not taken it for a moment, or at the first failure, since no one
        knows how long this process has; the table counts an answer once however often it is told.
        """
        self._waiting[answer.token] = answer
        timer = asyncio.get_running_loop().call_later(self._rescue_after_s, self._rescue)
        try:
            if await self._write(answer):
                point("answer.recorded")
                self._waiting.pop(answer.token, None)
                self.file.committed(answer)
        finally:
            timer.cancel()
            if answer.token in self._waiting:  # the one who waited was cancelled
                self._rescue()

    async def _write(self, answer: Answer) -> bool:
        for wait_s in (*self._waits_s, None):
            try:
                await self._ledger.write(attempts.record_answers, answer)
            except Exception as error:  # noqa: BLE001 - whatever it is, the answer must not be lost
                self._stop(ExitReason.LEDGER_FAILED, str(error))
                self._rescue()
                if wait_s is not None:
                    await asyncio.sleep(wait_s)
            else:
                return True
        return False

    def _rescue(self) -> None:
        """All that wait, in one go: each write to the disk takes its time."""
        waiting = list(self._waiting.values())
        if waiting and self.file.keep(waiting):
            self._waiting.clear()

    async def release(self, release: Release) -> None:
        """Give a row back; where the table fails, the next run finds it held by a run that has ended."""
        try:
            await self._ledger.write(claims.release, release)
        except Exception as error:  # noqa: BLE001 - as above; nothing is lost here
            self._stop(ExitReason.LEDGER_FAILED, str(error))
