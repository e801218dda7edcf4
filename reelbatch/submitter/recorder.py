"""Writing answers, whatever happens to the results table: an id that was received is never lost."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from reelbatch.domain import Batch, RowKey, RunId, Token, VideoId
from reelbatch.errors import LedgerError
from reelbatch.ledger import Ledger, claims, sending
from reelbatch.ledger.claims import Release
from reelbatch.ledger.sending import Answer, Ending
from reelbatch.submitter.tally import ExitReason

WAITS_S = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 14.0)
"""Between tries to write an answer: half a minute in all, while no new create leaves."""


class Recorder:
    """Records answers; where the table fails, it stops the run, tries again, and at last writes a rescue file."""

    def __init__(
        self, ledger: Ledger, stop: Callable[[ExitReason, str | None], None], waits_s: Sequence[float] = WAITS_S
    ) -> None:
        self._ledger = ledger
        self._stop = stop
        self._waits_s = waits_s

    async def record(self, answer: Answer) -> None:
        """Returns when the answer is in the table, or as a last resort in the rescue file."""
        for wait_s in (*self._waits_s, None):
            try:
                await self._ledger.write(sending.record_answers, answer)
            except LedgerError as error:
                self._stop(ExitReason.LEDGER_FAILED, str(error))
                if wait_s is None:
                    rescue(answer, self._ledger)
                    return
                await asyncio.sleep(wait_s)
            else:
                return

    async def release(self, release: Release) -> None:
        """Give a row back; where the table fails, the next run finds it held by a run that has ended."""
        try:
            await self._ledger.write(claims.release, release)
        except LedgerError as error:
            self._stop(ExitReason.LEDGER_FAILED, str(error))


def rescue_paths(ledger: Ledger) -> Iterator[Path]:
    """Where answers go that the table would not take: beside it, else in the folder for temporary files."""
    name = f"{ledger.label}.rescue.jsonl"
    if ledger.path is not None:
        yield ledger.path.parent / name
    yield Path(tempfile.gettempdir()) / name


def rescue(answer: Answer, ledger: Ledger) -> None:
    """Keep an answer outside of the table; the next run takes it up."""
    line = json.dumps(asdict(answer), default=str, ensure_ascii=False)
    for path in rescue_paths(ledger):
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError:
            continue
        sys.stderr.write(f"The results table could not be written. An answer was kept in {path} for the next run.\n")
        return
    sys.stderr.write(f"The results table could not be written, nor any file. Keep this line:\n{line}\n")


def take_up_rescued(ledger: Ledger) -> int:
    """Bring answers of earlier rescue files into the table; returns how many there were."""
    count = 0
    for path in rescue_paths(ledger):
        if not path.exists():
            continue
        answers = [_answer(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines() if line]
        ledger.change(partial(sending.record_answers, items=answers))
        path.rename(path.with_suffix(f".taken-{int(path.stat().st_mtime)}.jsonl"))
        count += len(answers)
    return count


def _answer(values: dict[str, Any]) -> Answer:
    video_id = values.pop("video_id")
    return Answer(
        batch=Batch(values.pop("batch")),
        row_key=RowKey(values.pop("row_key")),
        run_id=RunId(values.pop("run_id")),
        token=Token(values.pop("token")),
        at=datetime.fromisoformat(values.pop("at")),
        ending=Ending(values.pop("ending")),
        video_id=VideoId(video_id) if video_id else None,
        **values,
    )
