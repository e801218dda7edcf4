"""Rows in doubt that are to be paid for once more: what is in doubt is kept, and comes back if that is dropped."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, func, insert, not_, select, update

from reelbatch.domain import Batch, RowState
from reelbatch.ledger.accounting import Ending
from reelbatch.ledger.earlier_attempts import Line
from reelbatch.ledger.in_doubt import Doubt, is_line, read_snapshot, snapshot
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


def doubts(connection: Connection, batch: Batch | None = None) -> list[Doubt]:
    """Requests that are in doubt still although their rows are not: those were to be paid for once more."""
    d, a = decisions.c, attempts.c
    last = select(func.max(d.decision)).where(d.verdict == SENT_AGAIN).group_by(d.token)
    row = and_(_g.batch == a.batch, _g.row_key == a.row_key, _g.generation == a.generation)
    in_doubt = and_(in_states({RowState.IN_DOUBT}), _g.token == a.token)
    known = (a.batch, a.row_key, _g.row_number, a.token, a.started_at, a.credits_reserved)
    query = (
        select(*known, a.run_id, a.generation, a.message, d.before)
        .select_from(decisions.join(attempts, a.token == d.token).join(generations, row))
        .where(d.decision.in_(last), a.outcome == Ending.IN_DOUBT, a.video_id.is_(None))
        .where(not_(func.coalesce(in_doubt, False)))
        .order_by(a.batch, _g.row_number, a.started_at)
    )
    if batch is not None:
        query = query.where(a.batch == batch)
    found = []
    for *own, run_id, generation, message, before in connection.execute(query):
        asked = json.loads(before)["row"]
        then: tuple[Any, ...] = (asked["name"], message, run_id, generation, asked["image_path"], asked["prompt"])
        found.append(replace(Doubt(*(*own, *then)), sent_again=True))
    return found


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
