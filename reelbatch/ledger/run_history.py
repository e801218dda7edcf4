"""A history of runs, for support: each step of each create as one line of JSON, in the order in which it happened.

Lines are appended, so that several processes may write one file. A line has no prompt, address or key in it. What the
table was told is written when it is committed, in the commit's order; a process that is killed between a commit and
its lines leaves them out, and docs/failures.md says how to read that.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from reelbatch.domain import ClaimedRow, RunId, Token
from reelbatch.ledger import attempts, claims, in_doubt, intents, reruns, runs, settlements
from reelbatch.ledger.transactions import Done
from reelbatch.storage.private_files import owner_only

_log = logging.getLogger("reelbatch")
Line = dict[str, Any]


class RunHistory:
    """The file that is named, or none. A file that can't be written is said once, and the run goes on."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file: int | None = None

    def committed(self, done: Iterable[Done]) -> None:
        """Writes that the table has."""
        if self._path is not None:
            self._append([line for work, item, result in done for line in _lines(work, item, result)])

    def changed(self, work: Callable[..., Any], given: Mapping[str, Any], result: Any) -> None:
        """A write outside of the groups, with its keyword arguments."""
        if "items" in given and isinstance(result, list):
            self.committed((work, item, each) for item, each in zip(given["items"], result, strict=True))
        elif "selection" in given:
            self.committed([(work, given["selection"], result)])

    def sent(self, row: ClaimedRow, run_id: RunId, token: Token) -> None:
        """The create is handed to the connection; whether a byte of it left, `answered` says."""
        if self._path is not None:
            self._append([{"event": "sent", "run_id": run_id, "token": token, **_of_row(row)}])

    def answered(self, row: ClaimedRow, run_id: RunId, token: Token, said: Mapping[str, Any]) -> None:
        """What came back, before it is in the table. `said`: the outcome's figures, as JSON has them."""
        if self._path is not None:
            self._append([{"event": "answered", "run_id": run_id, "token": token, **_of_row(row), **said}])

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            os.close(self._file)
        self._path = self._file = None

    def _append(self, lines: list[Line]) -> None:
        if not lines or self._path is None:
            return
        stamp = {"at": datetime.now(UTC).isoformat(timespec="microseconds"), "pid": os.getpid()}
        text = "".join(f"{json.dumps({**stamp, **line})}\n" for line in lines).encode()
        try:
            if self._file is None:
                self._file = owner_only(str(self._path), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.write(self._file, text)  # in one piece: other processes append as well
        except OSError as error:
            why = error.strerror
            _log.warning("The history %s can't be written any more (%s); the run goes on.", self._path, why)
            self.close()


def _lines(work: Callable[..., Any], item: Any, result: Any) -> Iterator[Line]:
    """The lines of one write; none for a kind of write that is no step of a create."""
    if found := _KINDS.get(work):
        event, told = found
        if (more := told(item, result)) is not None:
            yield {"event": event, **more}


def _of_row(row: Any) -> Line:
    return {"batch": row.batch, "row_key": row.row_key, "generation": row.generation}


def _started(run: runs.Run, _: Any) -> Line:
    return {"run_id": run.run_id, "batch": run.batch, "command": run.command, "max_credits": run.max_credits}


def _ended(end: runs.End, _: Any) -> Line:
    return {"run_id": end.run_id, "reason": end.reason}


def _intent(intent: intents.Intent, ruling: intents.Ruling) -> Line | None:
    if ruling.admission is not intents.Admission.ADMITTED:
        return None
    return {
        "run_id": intent.run_id,
        "token": intent.token,
        **_of_row(intent.row),
        "reserved": ruling.reserved,
    }


def _recorded(answer: attempts.Answer, was_moved: bool) -> Line:
    return {
        "run_id": answer.run_id,
        "token": answer.token,
        **_of_row(answer),
        "ending": answer.ending,
        "row_moved": was_moved,
        "status": answer.status,
        "code": answer.code,
        "video_id": answer.video_id,
        "credits_charged": answer.credits_charged,
    }


def _given_back(release: claims.Release, was_held: bool) -> Line | None:
    return {"run_id": release.run_id, **_of_row(release.row), "code": release.code} if was_held else None


def _settled(final: settlements.Final, settlement: settlements.Settlement | None) -> Line | None:
    if settlement is None:
        return None
    return {**_of_video(final), "state": final.state, "charged": settlement.charged, "final": settlement.final}


def _refunded(final: settlements.Final, refund: settlements.Refund | None) -> Line | None:
    return None if refund is None else {**_of_video(final), "credits": refund.credits}


def _of_video(final: settlements.Final) -> Line:
    return {"token": final.row.token, **_of_row(final.row), "video_id": final.row.video_id}


def _decided(decision: in_doubt.Decision, was_taken: bool) -> Line | None:
    if not was_taken:
        return None
    doubt = decision.doubt
    where = {"batch": doubt.batch, "row_key": doubt.row_key}
    return {"token": decision.token, **where, "verdict": decision.verdict, "video_id": decision.video_id}


def _asked_again(chosen: reruns.Selection, rows: int) -> Line:
    keys = None if chosen.row_keys is None else list(chosen.row_keys)
    return {
        "batch": chosen.batch,
        "verdict": "send_again",
        "states": sorted(chosen.states),
        "row_keys": keys,
        "rows": rows,
    }


_KINDS: dict[Callable[..., Any], tuple[str, Callable[[Any, Any], Line | None]]] = {
    runs.start: ("run", _started),
    runs.end: ("ended", _ended),
    intents.record_intents: ("intent", _intent),
    attempts.record_answers: ("recorded", _recorded),
    claims.release: ("given_back", _given_back),
    settlements.record_finals: ("settled", _settled),
    settlements.record_refunds: ("refunded", _refunded),
    in_doubt.decide: ("decided", _decided),
    reruns.request: ("decided", _asked_again),
}
