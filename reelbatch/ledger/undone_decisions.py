"""A decision about a row in doubt is taken back: the row is in doubt again, as it was."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, and_, insert, not_, or_, select, update

from reelbatch.domain import Batch, RowKey, RunId, Token, VideoId
from reelbatch.ledger.accounting import BalanceChanges, known_attempts
from reelbatch.ledger.earlier_attempts import Line
from reelbatch.ledger.in_doubt import Verdict, is_line, read_snapshot
from reelbatch.ledger.schema import attempts, decisions, generations, orders
from reelbatch.ledger.selection import last
from reelbatch.ledger.transitions import FOUND_UNDONE, NOT_CREATED_UNDONE, Move
from reelbatch.typed_options import command


class Made(NamedTuple):
    """A decision that its row accepted, and the attempt that it was about."""

    decision: int
    batch: Batch
    row_key: RowKey
    token: Token
    verdict: str
    video_id: VideoId | None
    before: str
    decided_at: datetime
    run_id: RunId
    generation: int

    @property
    def line(self) -> Line:
        """Of the table."""
        return Line(self.batch, self.row_key, self.generation)


@dataclass(frozen=True, slots=True)
class Undo:
    """Someone takes a decision back."""

    made: Made
    who: str
    at: datetime


def last_made(connection: Connection, batch: Batch, row_key: RowKey | None = None) -> list[Made]:
    """The last decision that was not taken back yet: of a row, or of the batch all that one command decided."""
    d, a, later = decisions.c, attempts.c, decisions.alias("later")
    said = (d.decision, d.batch, d.row_key, d.token, d.verdict, d.video_id, d.before, d.decided_at)
    stands = not_(select(later.c.decision).where(later.c.undoes == d.decision).exists())
    query = (
        select(*said, a.run_id, a.generation, d.command)
        .join_from(decisions, attempts, a.token == d.token)
        .where(d.batch == batch, d.verdict.in_(list(_WAYS)), d.before.is_not(None), stands)
        .order_by(d.decision.desc())
    )
    if row_key is not None:
        query = query.where(d.row_key == row_key).limit(1)
    found = connection.execute(query).all()
    return [Made(*made[:-1]) for made in found if made.command == found[0].command]


def undo(connection: Connection, items: Sequence[Undo]) -> list[str | None]:
    """Put rows in doubt again as they were, with their attempts and money; returns what stood in the way."""
    return [_undo(connection, item) for item in items]


def _undo(connection: Connection, item: Undo) -> str | None:
    made, before = item.made, json.loads(item.made.before)
    known = known_attempts(connection, [made.token])[made.token]
    if _answered_since(connection, made):
        return f"its attempt was answered since ({known.outcome}); what the API said stands"
    if not _move_back(connection, made, before.get("row")):
        return _why_not(connection, made)
    attempt = read_snapshot(attempts, before["attempt"])
    connection.execute(update(attempts).where(attempts.c.token == made.token).values(attempt))
    was = known._replace(outcome=attempt["outcome"], video_id=attempt["video_id"], charged=attempt["credits_charged"])
    sums = BalanceChanges()
    sums.add(made.batch, made.run_id, known, was)
    sums.write(connection)
    connection.execute(insert(decisions).values(_entry_of_undo(item)))
    return None


def _move_back(connection: Connection, made: Made, row: Mapping[str, Any] | None) -> bool:
    """False where the line is not as the decision left it; one that the decision did not move has to be there."""
    if row is None:
        return connection.execute(select(generations.c.row_key).where(is_line(made.line))).first() is not None
    fresh = {"token": made.token, "video_id": None, "paid_as": None}
    values = {**read_snapshot(generations, row), **fresh}
    ways = (way.move.update(is_line(made.line), way.unsent(made)).values(values) for way in _WAYS[made.verdict])
    return any(connection.execute(back).rowcount for back in ways)


def _answered_since(connection: Connection, made: Made) -> bool:
    """Whether the attempt is not as the decision left it: what the API said by itself is not taken back."""
    return connection.scalar(select(attempts.c.ended_at).where(attempts.c.token == made.token)) != made.decided_at


def _entry_of_undo(item: Undo) -> dict[str, Any]:
    made = item.made
    about = {"batch": made.batch, "row_key": made.row_key, "token": made.token, "video_id": made.video_id}
    return {
        **about,
        "decided_at": item.at,
        "decided_by": item.who,
        "verdict": Verdict.UNDONE.value,
        "undoes": made.decision,
    }


def _not_sent_again(made: Made) -> ColumnElement[bool]:
    """The row's last attempt is the one decided about; a line replaced by the manifest has forgotten its token."""
    g = generations.c
    return or_(g.token == made.token, and_(g.token.is_(None), not_(_other_attempts(made, later=True).exists())))


def _goes_by_an_earlier_one(made: Made) -> ColumnElement[bool]:
    """The row has accepted the video of an attempt before the one decided about; nothing was sent since."""
    earlier = _other_attempts(made, later=False)
    unsent = not_(_other_attempts(made, later=True).exists())
    return and_(generations.c.token.in_(earlier), unsent, _is_open())


def _other_attempts(made: Made, *, later: bool) -> Select[Any]:
    """Tokens of the line's attempts before the one decided about, or after it."""
    own, other = attempts.alias("own"), attempts.alias("other")
    return select(other.c.token).where(
        own.c.token == made.token,
        other.c.batch == made.batch,
        other.c.row_key == made.row_key,
        other.c.generation == made.generation,
        other.c.started_at > own.c.started_at if later else other.c.started_at < own.c.started_at,
    )


def _still_that_video(made: Made) -> ColumnElement[bool]:
    """The id is the row's."""
    g = generations.c
    return and_(g.token == made.token, g.video_id == made.video_id, _is_open())


def _is_open() -> ColumnElement[bool]:
    """No further video was ordered, and the line's order is open: no one would send what is closed."""
    g = generations.c
    is_open = select(orders.c.order_id).where(orders.c.order_id == g.order_id, orders.c.closed_at.is_(None))
    return and_(last(), or_(g.order_id.is_(None), is_open.exists()))


class _Way(NamedTuple):
    """How a decision is taken back."""

    move: Move
    unsent: Callable[[Made], ColumnElement[bool]]


_WAYS: Mapping[str, Sequence[_Way]] = {
    "not_created": (_Way(NOT_CREATED_UNDONE, _not_sent_again), _Way(FOUND_UNDONE, _goes_by_an_earlier_one)),
    "found": (_Way(FOUND_UNDONE, _still_that_video),),
}


def _why_not(connection: Connection, made: Made) -> str:
    g = generations.c
    earlier = g.token.in_(_other_attempts(made, later=False)).label("is_earlier")
    query = select(g.state, g.token, last().label("is_last"), earlier).where(is_line(made.line))
    found = connection.execute(query).one_or_none()
    if found is None:
        return "what was to be made anew was dropped since"
    if found.is_earlier and found.state not in FOUND_UNDONE.sources:
        charges = command("reconcile", "--by-balance", batch=made.batch)
        return (
            f"it has the video of an earlier attempt since, which is {found.state} by now, so it is not put in doubt "
            f"again; should the request in doubt have made one too, `{charges}` shows a charge that no row explains"
        )
    if not found.is_earlier and found.token not in {made.token, None}:
        return f"it goes by another attempt since, and is {found.state} by now"
    if not any(found.state in way.move.sources for way in _WAYS[made.verdict]):
        return f"it is {found.state} by now"
    return "the order that it belongs to is closed" if found.is_last else "another video of it was ordered since"
