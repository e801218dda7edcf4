"""Paid videos beside their rows: an id that came when the row had another video, or when its line was dropped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, literal, not_, or_, select

from reelbatch.domain import Batch, RowKey
from reelbatch.ledger.parts import in_parts
from reelbatch.ledger.schema import attempts, generations

BESIDE = "beside"
"""In place of a state, where rows are listed."""
_a, _g = attempts.c, generations.c


def did_not_fail() -> ColumnElement[bool]:
    """Of attempts with a video; tables of before kept no mark of a failure whose credits had come back."""
    return and_(_a.refund_until.is_(None), or_(_a.credits_final.is_(None), _a.credits_final > 0))


def beside(connection: Connection, batch: Batch, row_keys: Sequence[RowKey]) -> list[dict[str, Any]]:
    """Those of these rows, by the names of the columns of `results`, as far as anything is known of them."""
    found: list[dict[str, Any]] = []
    columns = (_a.batch, _a.row_key, _a.generation, _a.video_id, _a.token, _a.credits_charged, _a.credits_final)
    has_line = select(_g.row_key).where(_g.batch == _a.batch, _g.row_key == _a.row_key, _g.video_id == _a.video_id)
    own = (_a.video_id.is_not(None), _a.same_as.is_(None), did_not_fail(), not_(has_line.exists()))
    for some in in_parts(row_keys):
        known = (literal(BESIDE).label("state"), _a.ended_at.label("submitted_at"))
        query = select(*columns, *known).where(_a.batch == batch, _a.row_key.in_(some))
        found += map(dict, connection.execute(query.where(*own).order_by(_a.started_at)).mappings())
    return found
