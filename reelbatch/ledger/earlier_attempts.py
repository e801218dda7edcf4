"""A row whose last attempt surely made no video accepts the one that an earlier attempt at the same request made."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, and_, bindparam, select

from reelbatch.domain import Batch, RowKey, RowState, Token
from reelbatch.ledger.schema import attempts, generations
from reelbatch.ledger.transitions import SUBMITTED, THIS_ROW, Move, execute_each, in_states

_ACCEPT = Move(SUBMITTED.sources - {RowState.SENDING, RowState.IN_DOUBT}, RowState.QUEUED)
"""Not while the last attempt may still have made a video of its own."""


class Line(NamedTuple):
    """One line of the table."""

    batch: Batch
    row_key: RowKey
    generation: int


_g = generations.c
_ACCEPT_ONE = _ACCEPT.update(*THIS_ROW, _g.token == bindparam("b_last")).values(
    token=bindparam("b_token"),
    video_id=bindparam("b_video_id"),
    credits_charged=bindparam("b_charged"),
    estimated_frame_cost=None,
    submitted_at=bindparam("b_at"),
    due_at=bindparam("b_at"),
    error_code=None,
    error_message=None,
    rerun_wanted=False,
)

_last, _a = attempts.alias("last"), attempts.c
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
