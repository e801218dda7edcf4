"""One id for several rows: an API that answers with a video that another attempt has already."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from sqlalchemy import Connection, bindparam, func, select

from reelbatch.domain import Batch, RowKey, Token, VideoId
from reelbatch.ledger.paid_requests import serialize
from reelbatch.ledger.schema import attempts


class Told(Protocol):
    """An answer: whose attempt, and the id that it brought."""

    @property
    def token(self) -> Token:
        """Of the attempt."""

    @property
    def batch(self) -> Batch:
        """Of its row."""

    @property
    def row_key(self) -> RowKey:
        """Of its row."""

    @property
    def video_id(self) -> VideoId | None:
        """None where there was none."""


class Owner(NamedTuple):
    """The attempt that has the id already."""

    token: Token
    batch: Batch
    row_key: RowKey

    def note(self, video_id: VideoId | None) -> str:
        """For the message of the attempt that was told the same."""
        return f'video {video_id} is that of row {self.row_key} of batch "{self.batch}" too'


class SharedId(NamedTuple):
    """A row whose id another one had before it."""

    row_key: RowKey
    video_id: VideoId
    other_batch: Batch
    other_row_key: RowKey


_a = attempts.c
_OWNERS = (
    select(_a.video_id, _a.token, _a.batch, _a.row_key)
    .where(_a.video_id.in_(bindparam("ids", expanding=True)))
    .order_by(_a.started_at)
)


def owners(connection: Connection, told: Sequence[Told]) -> Mapping[Token, Owner]:
    """By the token of each answer whose id another attempt has: that attempt.

    Two workers that are told the same id at one moment see each other: the second waits for the commit of the first.
    """
    ids = sorted({item.video_id for item in told if item.video_id is not None})
    if not ids:
        return {}
    serialize(connection, [hashlib.sha256(f"video {video_id}".encode()).hexdigest() for video_id in ids])
    known: dict[str, list[Owner]] = {}
    for video_id, *owner in connection.execute(_OWNERS, {"ids": ids}):
        known.setdefault(video_id, []).append(Owner(*owner))
    found: dict[Token, Owner] = {}
    for item in told:
        if item.video_id is None:
            continue
        others = known.setdefault(item.video_id, [])
        if other := next((owner for owner in others if owner.token != item.token), None):
            found[item.token] = other
        others.append(Owner(item.token, item.batch, item.row_key))
    return found


def shared_ids(connection: Connection, batch: Batch, limit: int) -> tuple[int, list[SharedId]]:
    """Rows of the batch whose id another row had before them: how many, and the first of them."""
    other = attempts.alias("other")
    own: Any = (_a.batch == batch, _a.same_as.is_not(None), _a.video_id.is_not(None))
    query = (
        select(_a.row_key, _a.video_id, other.c.batch, other.c.row_key)
        .join_from(attempts, other, other.c.token == _a.same_as)
        .where(*own)
        .order_by(_a.started_at)
        .limit(limit)
    )
    found = [SharedId(*row) for row in connection.execute(query)]
    return connection.scalar(select(func.count()).select_from(attempts).where(*own)) or 0, found
