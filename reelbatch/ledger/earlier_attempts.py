"""A row whose last attempt surely made no video accepts the one that an earlier attempt at the same request made.

It does when the id comes, and again before it is sent once more: a manifest may have asked for another in between.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Connection, Text, and_, bindparam, func, select

from reelbatch.domain import Batch, Fingerprint, RowKey, RowState, RunId, Token
from reelbatch.ledger.admission import Asked
from reelbatch.ledger.beside import did_not_fail
from reelbatch.ledger.schema import attempts, generations
from reelbatch.ledger.transitions import SUBMITTED, THIS_ROW, Move, execute_each, in_states

_ACCEPT = Move(SUBMITTED.sources - {RowState.SENDING, RowState.IN_DOUBT}, RowState.QUEUED)
"""Not while the last attempt may still have made a video of its own."""


class Line(NamedTuple):
    """One line of the table."""

    batch: Batch
    row_key: RowKey
    generation: int


class Claimed(NamedTuple):
    """A row that a run is about to send, and what it asks for."""

    line: Line
    run_id: RunId
    fingerprint: Fingerprint
    asked: Asked
    at: datetime


_g, _a = generations.c, attempts.c
_AS_ITS_OWN: Mapping[str, Any] = {
    "token": bindparam("b_token"),
    "video_id": bindparam("b_video_id"),
    "credits_charged": bindparam("b_charged"),
    "estimated_frame_cost": None,
    "submitted_at": bindparam("b_at"),
    "due_at": bindparam("b_at"),
    "error_code": None,
    "error_message": None,
    "rerun_wanted": False,
}
AS_ASKED: Mapping[str, Any] = {
    "paid_as": None,
    "request_sha256": bindparam("b_request_sha256"),
    "image_sha256": bindparam("b_image_sha256"),
    "image_stat": func.coalesce(bindparam("b_image_stat", type_=Text), _g.image_stat),
    "image_bytes": func.coalesce(bindparam("b_image_bytes", type_=BigInteger), _g.image_bytes),
}
"""What a line keeps of what it asked for, by `Asked.values`."""
_ACCEPT_ONE = _ACCEPT.update(*THIS_ROW, _g.token == bindparam("b_last")).values(_AS_ITS_OWN)

_last = attempts.alias("last")
_EARLIER = (
    select(_g.token.label("last"), _a.token, _a.video_id, _a.credits_charged)
    .select_from(
        generations.join(_last, _last.c.token == _g.token).join(
            attempts,
            and_(
                _a.batch == _g.batch,
                _a.row_key == _g.row_key,
                _a.generation == _g.generation,
                _a.token != _g.token,
                _a.request_sha256 == _last.c.request_sha256,
                _a.video_id.is_not(None),
                _a.same_as.is_(None),
                _a.ended_at >= _last.c.started_at,  # one that was known before was the row's own, and failed
            ),
        )
    )
    .where(*THIS_ROW, in_states(_ACCEPT.sources))
    .order_by(_a.started_at.desc())
    .limit(1)
    .with_for_update(of=generations)
)


def accept(connection: Connection, lines: Mapping[Line, datetime]) -> set[Token]:
    """Rows among `lines` that go by an earlier attempt from now on; returns those attempts. `lines` says since when.

    The id came after the last attempt had begun, and both asked for the same, whatever the manifest said in between.
    They are looked up one by one: with a list of them SQLite would read every attempt that has an id.
    """
    found: dict[Token, dict[str, Any]] = {}
    for line, at in sorted(lines.items()):
        own = {"b_batch": line.batch, "b_row_key": line.row_key, "b_generation": line.generation}
        for last, token, video_id, charged in connection.execute(_EARLIER, own):
            video = {"b_last": last, "b_token": token, "b_video_id": video_id, "b_charged": charged, "b_at": at}
            found[Token(token)] = own | video
    execute_each(connection, _ACCEPT_ONE, list(found.values()))
    return set(found)


_CLAIM = (*THIS_ROW, _g.run_id == bindparam("b_run_id"), _g.fingerprint == bindparam("b_fingerprint"))
_ACCEPT_CLAIMED = (
    Move(frozenset({RowState.CLAIMED}), RowState.QUEUED).update(*_CLAIM).values({**_AS_ITS_OWN, **AS_ASKED})
)
_ASKED_BEFORE = (
    select(_a.token, _a.video_id, _a.credits_charged)
    .where(_a.batch == bindparam("b_batch"), _a.row_key == bindparam("b_row_key"))
    .where(_a.generation == bindparam("b_generation"), _a.request_sha256 == bindparam("b_request_sha256"))
)
_MADE = (
    _ASKED_BEFORE.where(_a.video_id.is_not(None), _a.same_as.is_(None), did_not_fail())
    .order_by(_a.started_at.desc())
    .limit(1)
)
_LOCK = (
    select(_a.token)
    .where(_a.token.in_(bindparam("b_tokens", expanding=True)))
    .order_by(_a.token)  # everybody locks in this order, and attempts before rows
    .with_for_update()
)


def _lock(connection: Connection, rows: Iterable[Claimed]) -> None:
    """Until the commit no one learns what became of earlier requests for the same; SQLite has one writer anyway."""
    if connection.dialect.name != "sqlite":
        found = [token for row in rows for token in connection.scalars(_ASKED_BEFORE, _parameters(row))]
        if found:
            connection.execute(_LOCK, {"b_tokens": found})


def _parameters(row: Claimed) -> dict[str, Any]:
    own = {"b_batch": row.line.batch, "b_row_key": row.line.row_key, "b_generation": row.line.generation}
    return own | row.asked.values


def accept_before_sending(connection: Connection, rows: Iterable[Claimed]) -> set[Line]:
    """Rows whose very request has made a video that did not fail: it is theirs; returns these rows.

    Raises:
        StateConflict: one of them was no longer claimed by its run.
    """
    found: dict[Line, dict[str, Any]] = {}
    in_order = sorted(rows)
    _lock(connection, in_order)
    for row in in_order:
        own = _parameters(row)
        for token, video_id, charged in connection.execute(_MADE, own):
            video = {"b_token": token, "b_video_id": video_id, "b_charged": charged, "b_at": row.at}
            found[row.line] = {**own, **video, "b_run_id": row.run_id, "b_fingerprint": row.fingerprint}
    execute_each(connection, _ACCEPT_CLAIMED, list(found.values()))
    return set(found)
