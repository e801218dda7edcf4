"""Rows in doubt that are to be paid for once more: what is in doubt is kept, and comes back if that is dropped."""

from __future__ import annotations

import json

from sqlalchemy import ColumnElement, Connection, insert, select, update

from reelbatch.domain import RowState
from reelbatch.ledger.accounting import Ending
from reelbatch.ledger.earlier_attempts import Line
from reelbatch.ledger.in_doubt import is_line, read_snapshot, snapshot
from reelbatch.ledger.runs import user_name
from reelbatch.ledger.schema import attempts, decisions, generations
from reelbatch.ledger.transitions import CHECKED_AGAIN, NOT_CREATED_UNDONE, RERUN, in_states
from reelbatch.machine import utc_now

SENT_AGAIN = "sent_again"
_DOUBTFUL = "no id is known of its last request, which may have been charged"
_g = generations.c
_LINE = (_g.batch, _g.row_key, _g.generation, _g.token)


def keep(connection: Connection, which: ColumnElement[bool]) -> None:
    """Of the lines `which`, those that are in doubt are about to be sent again: a manifest may state them anew."""
    doubtful = select(*_LINE).where(which, in_states({RowState.IN_DOUBT}), _g.token.is_not(None))
    said = {"decided_at": utc_now(), "decided_by": user_name(), "verdict": SENT_AGAIN}
    kept = []
    for *line, token in connection.execute(doubtful).all():
        before = snapshot(connection, is_line(Line(*line)), token)
        kept.append({**said, "batch": line[0], "row_key": line[1], "token": token, "before": before})
    if kept:
        connection.execute(insert(decisions), kept)


def doubt_again(connection: Connection, lines: ColumnElement[bool]) -> None:
    """Of unsent `lines`, those of which an earlier request is in doubt: only what was asked for since is dropped."""
    a = attempts.c
    own = (a.batch == _g.batch, a.row_key == _g.row_key, a.generation == _g.generation)
    doubtful = select(a.token).where(*own, a.outcome == Ending.IN_DOUBT, a.video_id.is_(None))
    last = doubtful.order_by(a.started_at.desc()).limit(1).scalar_subquery()
    for move in (RERUN, CHECKED_AGAIN):
        connection.execute(move.update(lines, doubtful.exists()))
    again = {"token": last, "error_code": "in_doubt", "error_message": _DOUBTFUL, "rerun_wanted": False}
    moved = NOT_CREATED_UNDONE.update(lines, doubtful.exists()).values(again).returning(*_LINE)
    for *line, token in connection.execute(moved).all():
        _restore(connection, Line(*line), token)


def _restore(connection: Connection, line: Line, token: str) -> None:
    """The line as it was when the request went into doubt; tables of before have not kept that."""
    d = decisions.c
    kept = select(d.before).where(d.token == token, d.verdict == SENT_AGAIN).order_by(d.decision.desc()).limit(1)
    if (before := connection.scalar(kept)) is not None:
        known = read_snapshot(generations, json.loads(before)["row"])
        connection.execute(update(generations).where(is_line(line)).values({**known, "rerun_wanted": False}))
