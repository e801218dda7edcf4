"""What a history says of each kind of write to the results table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from reelbatch.ledger import admission, attempts, claims, in_doubt, intents, reruns, runs, settlements
from reelbatch.ledger.run_history import Line
from reelbatch.ledger.transactions import Done


def lines_of(write: Done) -> Iterator[Line]:
    """The lines of one write; none for a kind of write that is no step of a create."""
    work, item, result = write
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


def _intent(intent: admission.Intent, ruling: admission.Ruling) -> Line | None:
    if ruling.admission is not admission.Admission.ADMITTED:
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


def _booked(found: in_doubt.Found, was_taken: bool) -> Line | None:
    if not was_taken:
        return None
    where = {"token": found.token, "batch": found.batch, "row_key": found.row_key}
    return {**where, "verdict": in_doubt.Verdict.FOUND, "video_id": found.video_id}


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
    in_doubt.book: ("decided", _booked),
    reruns.request: ("decided", _asked_again),
}
