"""What an event does to the results table; telling it twice, late or in another order changes nothing more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from sqlalchemy import Connection, select

from reelbatch.domain import UNSETTLED, Batch, RowKey, RowState, RunId, Token, VideoId
from reelbatch.ledger import attempts, schema, settlements, utc_now
from reelbatch.ledger.accounting import Attempted, Ending, known_attempts
from reelbatch.ledger.attempts import Answer
from reelbatch.ledger.due import Rendered
from reelbatch.ledger.schema import generations
from reelbatch.ledger.settlements import Final
from reelbatch.ledger.transitions import in_states

TOLD = "told by a webhook event"
"""The message of an attempt whose id an event brought."""


class Effect(StrEnum):
    """What became of an event."""

    APPLIED = "applied"
    REPEATED = "repeated"  # the table knew it already
    UNKNOWN = "ignored"  # none of the table's videos


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoEvent:
    """What an event says of a video. `token` is the attempt's mark at the end of the video's name, if any."""

    token: Token | None
    video_id: VideoId
    credits_charged: int | None  # None: no figure, or one that has the refund in it
    odd_figure: str | None
    rendering: bool
    final: Callable[[Rendered], Final | None]  # None: not finished


class _Owner(NamedTuple):
    """Whose attempt a token is."""

    batch: Batch
    row_key: RowKey
    run_id: RunId
    generation: int


def record_events(connection: Connection, items: Sequence[VideoEvent]) -> list[Effect]:
    """Record each event by its token: the attempt gets the id, the row its state, the batch its money."""
    # In one order for everybody, as settles do; events of one video stay in the order in which they came.
    ordered = sorted(range(len(items)), key=lambda index: items[index].token or "")
    effects = {index: _record(connection, items[index]) for index in ordered}
    return [effects[index] for index in range(len(items))]


def token_of(connection: Connection, video_id: VideoId) -> Token | None:
    """The token of the unfinished row that has this video, for one whose name was changed at the API."""
    query = select(generations.c.token).where(in_states(UNSETTLED), generations.c.video_id == video_id)
    return connection.scalar(query.limit(1))


def _record(connection: Connection, event: VideoEvent) -> Effect:
    owner = None if event.token is None else _owner(connection, event.token)
    if event.token is None or owner is None:
        return Effect.UNKNOWN
    before = _attempt(connection, event.token)
    if before.video_id is None:
        attempts.record_answers(connection, [_answer(event, event.token, owner, before)])
    elif before.video_id != event.video_id:  # a copy, made and renamed by no one, carries the token too
        return Effect.UNKNOWN
    row = Rendered(owner.batch, owner.row_key, event.video_id, event.token, RowState.QUEUED, owner.generation)
    moved = _move(connection, event, row)
    return Effect.APPLIED if moved or _attempt(connection, event.token) != before else Effect.REPEATED


def _owner(connection: Connection, token: Token) -> _Owner | None:
    a = schema.attempts.c
    query = select(a.batch, a.row_key, a.run_id, a.generation).where(a.token == token)
    found = connection.execute(query).one_or_none()
    return None if found is None else _Owner(*found)


def _attempt(connection: Connection, token: Token) -> Attempted:
    return known_attempts(connection, [token])[token]


def _answer(event: VideoEvent, token: Token, owner: _Owner, before: Attempted) -> Answer:
    """The event as the create's own answer, which never came or is still to come."""
    return Answer(
        batch=owner.batch,
        row_key=owner.row_key,
        run_id=owner.run_id,
        generation=owner.generation,
        token=token,
        at=utc_now(),
        ending=Ending.SUBMITTED,
        reserved=before.reserved,
        video_id=event.video_id,
        credits_charged=event.credits_charged,
        odd_figure=event.odd_figure,
        message=TOLD,
    )


def _move(connection: Connection, event: VideoEvent, row: Rendered) -> bool:
    """Whether the row took the event up. The payload is what a GET would say, and counts like one."""
    final = event.final(row)
    if final is not None:
        return settlements.record_finals(connection, [final]) != [None]
    if event.rendering:
        return settlements.record_rendering(connection, [row])[0]
    return False
