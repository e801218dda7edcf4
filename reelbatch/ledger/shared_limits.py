"""What all workers of one API share: when the next creates may start, and how many videos are unfinished."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, func, not_, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from reelbatch.domain import UNSETTLED, RowState
from reelbatch.ledger.engine import now
from reelbatch.ledger.schema import apis, batches, generations
from reelbatch.ledger.transitions import in_states


@dataclass(frozen=True, slots=True)
class Lot:
    """So many creates at one API, one every `spacing_s` seconds."""

    api: str
    creates: int
    spacing_s: float


def take_lots(connection: Connection, items: Sequence[Lot]) -> list[float]:
    """Hand out time: no two lots of one API overlap, whoever asks. Answers with the seconds until each lot begins."""
    return [_take_lot(connection, item) for item in items]


def _take_lot(connection: Connection, item: Lot) -> float:
    next_start = lock(connection, item.api)
    at = now(connection)
    taken_at = connection.scalar(select(apis.c.taken_at).where(apis.c.api == item.api))
    if taken_at is None or taken_at > at:  # the clock was ahead then: only what was handed out beyond it counts
        next_start = at + (next_start - taken_at if taken_at else timedelta())
    start = max(next_start, at)
    end = start + timedelta(seconds=item.creates * item.spacing_s)
    connection.execute(update(apis).where(apis.c.api == item.api).values(next_start=end, taken_at=at))
    return (start - at).total_seconds()


def lock(connection: Connection, api: str) -> datetime:
    """Nobody else hands out or counts until the commit. Answers with when the next create may start."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    entry = select(apis.c.next_start).where(apis.c.api == api).with_for_update()
    while (found := connection.scalar(entry)) is None:
        new = dialect.insert(apis).values(api=api, next_start=now(connection))
        connection.execute(new.on_conflict_do_nothing())
    next_start: datetime = found
    return next_start


_KNOWN = or_(generations.c.error_code.is_(None), not_(generations.c.error_code.startswith("http_4")))


def unfinished(connection: Connection, api: str) -> int:
    """Videos of one API that are queued or rendering, as far as it says so, or has said so a while ago."""
    g = generations.c
    hoped_for = or_(g.waited_until.is_(None), g.waited_until > now(connection))
    query = select(func.count()).select_from(generations.join(batches, batches.c.batch == g.batch))
    return connection.scalar(query.where(batches.c.api == api, in_states(UNSETTLED), _KNOWN, hoped_for)) or 0


def unfinished_elsewhere(connection: Connection, api: str) -> dict[str, int]:
    """The same for every API but this one, where there are any."""
    query = select(batches.c.api, func.count()).join(generations, batches.c.batch == generations.c.batch)
    query = query.where(batches.c.api != api, in_states(UNSETTLED), _KNOWN).group_by(batches.c.api)
    return dict(connection.execute(query.order_by(batches.c.api)).all())


def leaving(connection: Connection, api: str) -> int:
    """Creates of one API that are under way: each may be a video in a moment."""
    query = select(func.count()).select_from(generations.join(batches, batches.c.batch == generations.c.batch))
    return connection.scalar(query.where(batches.c.api == api, in_states({RowState.SENDING}))) or 0
