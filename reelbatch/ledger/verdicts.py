"""What reviewers say of videos. All of it is kept; the last word not taken back stands in the video's line."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, and_, insert, select, update

from reelbatch.domain import Batch, ReviewVerdict, RowKey, RowState
from reelbatch.ledger.due import RowId
from reelbatch.ledger.schema import generations, verdicts
from reelbatch.ledger.transitions import in_states

_v = verdicts.c


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A verdict and a note, which together take the place of those before."""

    video: RowId
    verdict: ReviewVerdict | None
    note: str | None
    by: str
    at: datetime


def say(connection: Connection, said: Said) -> bool:
    """Record what a reviewer says; False where there is no finished video of this key to judge."""
    shown = {"verdict": said.verdict, "verdict_note": said.note, "reviewed_at": said.at}
    # The line first: two reviewers who speak at once are recorded in the order in which they had it.
    judged = update(generations).where(_of(said.video), in_states({RowState.COMPLETE})).values(shown)
    if connection.execute(judged).rowcount != 1:
        return False
    batch, row_key, generation = said.video
    video = {"batch": batch, "row_key": row_key, "generation": generation}
    word = {"verdict": said.verdict, "note": said.note, "said_at": said.at, "said_by": said.by}
    connection.execute(insert(verdicts).values({**video, **word}))
    return True


def undo(connection: Connection, batch: Batch, by: str, at: datetime) -> RowId | None:
    """Take back the last thing that this reviewer said in the batch and still stands; None where there is none.

    What another reviewer has said of the video since stays its last word.
    """
    last = _last_word(connection, batch, by)
    while last is not None:
        # The line first, as in `say`: what is said of it meanwhile comes after this, or is seen by it.
        line = select(generations.c.batch).where(_of((batch, RowKey(last["row_key"]), last["generation"])))
        connection.execute(line.with_for_update())
        found, last = last, _last_word(connection, batch, by)
        if last == found:
            break
    if last is None:
        return None
    taken_back = {name: last[name] for name in ("batch", "row_key", "generation", "verdict", "note")}
    connection.execute(
        insert(verdicts).values({**taken_back, "said_at": at, "said_by": by, "undoes": last["verdict_id"]})
    )
    video = (batch, RowKey(last["row_key"]), int(last["generation"]))
    before = select(_v.verdict, _v.note, _v.said_at).where(_said_of(video), _stands())
    verdict, note, said_at = connection.execute(before.order_by(_v.verdict_id.desc()).limit(1)).one_or_none() or (
        None,
        None,
        None,
    )
    shown = {"verdict": verdict, "verdict_note": note, "reviewed_at": said_at}
    connection.execute(update(generations).where(_of(video)).values(shown))
    return video


def _last_word(connection: Connection, batch: Batch, by: str) -> RowMapping | None:
    own = select(verdicts).where(_v.batch == batch, _v.said_by == by, _stands()).order_by(_v.verdict_id.desc())
    return connection.execute(own.limit(1)).mappings().one_or_none()


def history(connection: Connection, batch: Batch, row_key: RowKey) -> list[dict[str, Any]]:
    """Everything that was said of a row's videos, first to last; `undoes`: what was taken back by it."""
    query = select(verdicts).where(_v.batch == batch, _v.row_key == row_key).order_by(_v.verdict_id)
    return [dict(line) for line in connection.execute(query).mappings()]


def _stands() -> ColumnElement[bool]:
    """Said, and not taken back."""
    undone = verdicts.alias("undone")
    taken_back = select(undone.c.verdict_id).where(undone.c.undoes == _v.verdict_id).exists()
    return and_(_v.undoes.is_(None), ~taken_back)


def _said_of(video: RowId) -> ColumnElement[bool]:
    batch, row_key, generation = video
    return and_(_v.batch == batch, _v.row_key == row_key, _v.generation == generation)


def _of(video: RowId) -> ColumnElement[bool]:
    batch, row_key, generation = video
    g = generations.c
    return and_(g.batch == batch, g.row_key == row_key, g.generation == generation)
