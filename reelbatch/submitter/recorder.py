"""Writing answers, whatever happens to the results table: an id that was received is never lost."""

from __future__ import annotations

import asyncio
import contextlib
import glob
import hashlib
import json
import os
import secrets
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from reelbatch.domain import Batch, RowKey, RunId, Token, VideoId
from reelbatch.ledger import Ledger, claims, sending
from reelbatch.ledger.claims import Release
from reelbatch.ledger.sending import Answer, Ending
from reelbatch.submitter.tally import ExitReason

WAITS_S = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 14.0)
"""Between tries to write an answer: half a minute in all, while no new create leaves."""
_RESCUE = ".rescue.jsonl"
_TAKING = ".taking"


class Recorder:
    """Records answers; where the table fails, it stops the run, writes a rescue file, and tries again for a while."""

    def __init__(
        self, ledger: Ledger, stop: Callable[[ExitReason, str | None], None], waits_s: Sequence[float] = WAITS_S
    ) -> None:
        self._ledger = ledger
        self._stop = stop
        self._waits_s = waits_s

    async def record(self, answer: Answer) -> None:
        """Returns when the answer is in the table, or as a last resort in the rescue file.

        The rescue file is written at the first failure, since nobody knows how long this process has; the table
        counts an answer once however often it is told.
        """
        rescued = False
        for wait_s in (*self._waits_s, None):
            try:
                await self._ledger.write(sending.record_answers, answer)
            except Exception as error:  # noqa: BLE001 - whatever it is, the answer must not be lost
                self._stop(ExitReason.LEDGER_FAILED, str(error))
                rescued = rescued or rescue(answer, self._ledger)
                if wait_s is not None:
                    await asyncio.sleep(wait_s)
            else:
                return

    async def release(self, release: Release) -> None:
        """Give a row back; where the table fails, the next run finds it held by a run that has ended."""
        try:
            await self._ledger.write(claims.release, release)
        except Exception as error:  # noqa: BLE001 - as above; nothing is lost here
            self._stop(ExitReason.LEDGER_FAILED, str(error))


def rescue_paths(ledger: Ledger) -> Iterator[Path]:
    """Where answers go that the table would not take: beside it, else in the folder for temporary files.

    There the name tells tables apart that are called the same in different folders.
    """
    label = ledger.label
    if ledger.path is not None:
        yield ledger.path.parent / f"{label}{_RESCUE}"
        label = f"{label}-{hashlib.sha256(str(ledger.path.resolve()).encode()).hexdigest()[:12]}"
    yield Path(tempfile.gettempdir()) / f"{label}{_RESCUE}"


def rescue(answer: Answer, ledger: Ledger) -> bool:
    """Keep an answer outside of the table; the next run takes it up. False where no file took it either."""
    line = json.dumps(asdict(answer), default=str, ensure_ascii=True)
    for path in rescue_paths(ledger):
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(f"\n{line}\n")  # a line that a full disk cut off before must not spoil this one
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            continue
        sys.stderr.write(f"The results table could not be written. An answer was kept in {path} for the next run.\n")
        if ledger.path is None:  # a container's folder for temporary files may go with it
            sys.stderr.write(f"{line}\n")
        return True
    sys.stderr.write(f"The results table could not be written, nor any file. Keep this line:\n{line}\n")
    return False


def take_up_rescued(ledger: Ledger) -> int:
    """Bring answers of earlier rescue files into the table; returns how many there were."""
    return sum(_take_up(ledger, path) for found in rescue_paths(ledger) for path in _set_aside(found))


def _set_aside(path: Path) -> list[Path]:
    """The rescue file under a name that nobody adds to, and any that a dead process had set aside.

    One that is another user's stays as it is, and is read by every run: the table counts an answer once.
    """
    set_aside = sorted(path.parent.glob(f"{glob.escape(path.name)}.*{_TAKING}"))
    mine = path.with_name(f"{path.name}.{secrets.token_hex(4)}{_TAKING}")
    try:
        path.rename(mine)
    except FileNotFoundError:
        return set_aside
    except PermissionError:
        return [path, *set_aside]
    return [mine, *set_aside]


def _take_up(ledger: Ledger, path: Path) -> int:
    try:
        answers, damaged = _read(path)
    except PermissionError:  # it stays for whoever may
        sys.stderr.write(
            f"{path}: may not be read, so answers are missing. Run a command as the user whose file it is.\n"
        )
        return 0
    if answers:
        ledger.change(partial(sending.record_answers, items=answers))
    kept = path.with_name(f"{path.name.removesuffix(_TAKING)}.taken")
    with contextlib.suppress(FileNotFoundError, PermissionError):  # another process was quicker, or it is not ours
        path.rename(kept)
    if damaged:
        sys.stderr.write(f"{kept}: {damaged} damaged lines were left out; their rows are in doubt.\n")
    return len(answers)


def _read(path: Path) -> tuple[list[Answer], int]:
    """The answers of a rescue file, and how many of its lines are damaged."""
    try:
        lines = [line for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if line]
    except FileNotFoundError:
        return [], 0
    answers = []
    for line in lines:
        with contextlib.suppress(ValueError, TypeError, KeyError):
            answers.append(_answer(json.loads(line)))
    return answers, len(lines) - len(answers)


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
