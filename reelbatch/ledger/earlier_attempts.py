"""A row whose last attempt surely made no video accepts the one that an earlier attempt at the same request made."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, and_, bindparam, select, tuple_

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


def accept(connection: Connection, lines: Mapping[Line, datetime]) -> set[Token]:
    """Rows among `lines` that go by an earlier attempt from now on; returns those attempts. `lines` says since when.

    The id came after the last attempt had begun, and both asked for the same, whatever the manifest said in between.
    """
    if not lines:
        return set()
    last = attempts.alias("last")
    a = attempts.c
    earlier = and_(
        a.batch == _g.batch,
        a.row_key == _g.row_key,
        a.generation == _g.generation,
        a.token != _g.token,
        a.request_sha256 == last.c.request_sha256,
        a.video_id.is_not(None),
        a.same_as.is_(None),
        a.ended_at >= last.c.started_at,  # one that was known before was the row's own, and came to nothing
    )
    query = (
        select(_g.batch, _g.row_key, _g.generation, _g.token.label("last"), a.token, a.video_id, a.credits_charged)
        .select_from(generations.join(last, last.c.token == _g.token).join(attempts, earlier))
        .where(tuple_(_g.batch, _g.row_key, _g.generation).in_(list(lines)), in_states(_ACCEPT.sources))
        .order_by(_g.batch, _g.row_number, a.started_at)
        .with_for_update(of=generations)
    )
    found = {Line(*row[:3]): row for row in connection.execute(query)}  # the latest of each
    execute_each(connection, _ACCEPT_ONE, [_values(row, lines[line]) for line, row in found.items()])
    return {Token(row.token) for row in found.values()}


def _values(row: Any, at: datetime) -> dict[str, Any]:
    return {
        "b_batch": row.batch,
        "b_row_key": row.row_key,
        "b_generation": row.generation,
        "b_last": row.last,
        "b_token": row.token,
        "b_video_id": row.video_id,
        "b_charged": row.credits_charged,
        "b_at": at,
    }
