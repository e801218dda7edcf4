"""Requests that were paid for under another name: a renamed file, a key that Excel rewrote, another batch.

A row to send is held where its request equals that of a row that is paid for, or may be, (a) under a key of its batch
that the manifest no longer has, or (b) in another batch of the same account. Rows that stand in one manifest together
never hold each other.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    and_,
    bindparam,
    cast,
    func,
    literal_column,
    not_,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY

from reelbatch.domain import Batch, Request, RowKey, RowState, VideoId
from reelbatch.ledger.columns import REQUEST_COLUMNS
from reelbatch.ledger.schema import batches, generations
from reelbatch.ledger.selection import Action, Choice
from reelbatch.ledger.staging import action, joined, staged
from reelbatch.ledger.transitions import in_states

PAID = frozenset({RowState.QUEUED, RowState.RENDERING, RowState.COMPLETE, RowState.SENDING, RowState.IN_DOUBT})
"""States in which a request is paid for, or may be."""
HELD_CODE = "held"
_PAGE = 500

Mark = Callable[[str], "str | None"]
"""What stands for an image where requests are compared: the hash of a local file, else its address."""


class Payer(NamedTuple):
    """Who pays for a batch. `key_hash` stands for the account where that is not known."""

    api: str
    account: str | None = None
    key_hash: str | None = None

    def may_be(self, other: Payer) -> bool:
        """Whether both may be one account; what is not known does not tell them apart."""
        if self.api != other.api:
            return False
        if self.account and other.account:
            return self.account == other.account
        return not (self.key_hash and other.key_hash) or self.key_hash == other.key_hash


class PaidAs(NamedTuple):
    """The row that has paid for a request."""

    batch: Batch
    row_key: RowKey
    state: RowState
    video_id: VideoId | None

    @property
    def mark(self) -> str:
        """As a row that is held keeps it."""
        return json.dumps([self.batch, self.row_key], ensure_ascii=False)


class Held(NamedTuple):
    """A row that is not sent, and the one that has paid for its request."""

    row_key: RowKey
    row_number: int
    paid: PaidAs

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        own = {"row_key": self.row_key, "row_number": self.row_number}
        paid = {"paid_batch": self.paid.batch, "paid_row_key": self.paid.row_key}
        return {**own, **paid, "paid_state": self.paid.state.value, "video_id": self.paid.video_id}


def explanation(mark: Any) -> Any:
    """Why a row is held, in words; `mark` may be a column."""
    return "its request is paid for as " + mark + "; --repeats send sends it all the same"


def payer_of(connection: Connection, batch: Batch) -> Payer | None:
    """Who pays for a batch, as far as the table knows; None for a batch that it does not have."""
    query = select(batches.c.api, batches.c.account, batches.c.key_hash).where(batches.c.batch == batch)
    found = connection.execute(query).one_or_none()
    return None if found is None else Payer(*found)


def relatives(connection: Connection, batch: Batch, payer: Payer) -> list[Batch]:
    """The other batches that the same account may have paid for."""
    query = select(batches.c.batch, batches.c.api, batches.c.account, batches.c.key_hash)
    found = connection.execute(query.where(batches.c.batch != batch, batches.c.api == payer.api))
    return [Batch(name) for name, *who in found if payer.may_be(Payer(*who))]


@dataclass(slots=True)
class RepeatSearch:
    """Looks through a staged manifest for requests that are paid for.

    Args:
        payer: who would pay for the batch.
        mark: what stands for an image of the manifest.
        kept: of the results table: rows of the manifest that did not have to be staged.
    """

    batch: Batch
    payer: Payer
    mark: Mark
    kept: ColumnElement[bool]
    found: list[Held] = field(default_factory=list)
    of_kept: list[tuple[Held, str | None, int | None]] = field(default_factory=list)  # with model and credits

    def run(self, connection: Connection, choice: Choice) -> None:
        """Mark the staged rows that are to be held, and remember all of them."""
        paid = self._sources(connection)
        if connection.execute(select(literal_column("1")).where(paid).limit(1)).first() is None:
            return
        sizes = select(generations.c.image_bytes).where(paid, generations.c.image_bytes.is_not(None))
        for page in _pages(connection, self._staged_candidates(choice, sizes)):
            for held in self._matches(connection, page, paid):
                one = update(staged).where(staged.c.row_number == held.row_number)
                connection.execute(one.values(paid_as=held.paid.mark))
                self.found.append(held)
        for page in _pages(connection, self._kept_candidates(sizes)):
            known = {row.row_key: (row.model, row.credits_estimated) for row in page}
            for held in self._matches(connection, page, paid):
                self.of_kept.append((held, *known[held.row_key]))
                self.found.append(held)
        self.found.sort(key=lambda held: held.row_number)

    def _sources(self, connection: Connection) -> ColumnElement[bool]:
        """Rows that may have paid for a request of the manifest."""
        g = generations.c
        still_there = select(literal_column("1")).where(staged.c.row_key == g.row_key).exists()
        gone = and_(g.batch == self.batch, not_(still_there), not_(self.kept))
        elsewhere = g.batch.in_(relatives(connection, self.batch, self.payer))
        return and_(or_(gone, elsewhere), in_states(PAID), g.request_sha256.is_not(None))

    def _staged_candidates(self, choice: Choice, sizes: Any) -> Any:
        c = staged.c
        same_size = or_(c.image_bytes.is_(None), c.image_bytes.in_(sizes))
        query = select(*_request_columns(c), c.row_number, c.row_key).select_from(joined(self.batch, choice))
        return query.where(action(choice) == Action.SEND.value, same_size), c.row_number

    def _kept_candidates(self, sizes: Any) -> Any:
        c = generations.c
        same_size = or_(c.image_bytes.is_(None), c.image_bytes.in_(sizes))
        query = select(*_request_columns(c), c.row_number, c.row_key, c.credits_estimated)
        return query.where(self.kept, in_states({RowState.PENDING}), same_size), c.row_number

    def _matches(self, connection: Connection, page: Sequence[Any], paid: ColumnElement[bool]) -> Iterator[Held]:
        hashes = {row: sha256 for row in page if (sha256 := self._hash(row)) is not None}
        known = dict(_paid_for(connection, set(hashes.values()), paid))
        for row, sha256 in hashes.items():
            if sha256 in known:
                yield Held(row.row_key, row.row_number, known[sha256])

    def _hash(self, row: Any) -> str | None:
        marks = [self.mark(stated) for stated in (row.image_path, row.end_image_path) if stated]
        if None in marks:
            return None
        request = Request(*row[: len(REQUEST_COLUMNS)])
        return request.content_sha256(mark for mark in marks if mark is not None)


def _request_columns(c: Any) -> list[Any]:
    return [_typed(c, name) for name in REQUEST_COLUMNS]


def _typed(c: Any, name: str) -> Any:
    """The temporary table knows no types, and a truth value is a number in SQLite."""
    from sqlalchemy import type_coerce

    return type_coerce(c[name], generations.c[name].type).label(name)


def _pages(connection: Connection, query_and_order: tuple[Any, Any]) -> Iterator[Sequence[Any]]:
    """The rows of a query by row number, a page at a time: what is found is written between the pages."""
    query, number = query_and_order
    last = -1
    while page := connection.execute(query.where(number > last).order_by(number).limit(_PAGE)).all():
        yield page
        last = page[-1].row_number


def _paid_for(
    connection: Connection, hashes: Iterable[str], paid: ColumnElement[bool]
) -> Iterator[tuple[str, PaidAs]]:
    g = generations.c
    query = select(g.request_sha256, g.batch, g.row_key, g.state, g.video_id).where(
        g.request_sha256.in_(bindparam("hashes", expanding=True)), paid
    )
    found = connection.execute(query.order_by(g.batch.desc(), g.row_number.desc()), {"hashes": list(hashes)})
    for sha256, batch, key, state, video_id in found:
        yield sha256, PaidAs(batch, key, RowState(state), video_id)


def serialize(connection: Connection, hashes: Iterable[str]) -> None:
    """Until the commit nobody else writes of what one of these SHA-256 stands for. SQLite has one writer anyway."""
    if connection.dialect.name == "sqlite":
        return
    locks = sorted(int(sha256[:15], 16) for sha256 in set(hashes))
    every = func.unnest(cast(bindparam("locks"), ARRAY(BigInteger))).column_valued("lock")
    connection.execute(select(func.pg_advisory_xact_lock(every)), {"locks": locks})


def paid_elsewhere(connection: Connection, batch: Batch, hashes: Iterable[str]) -> dict[str, PaidAs]:
    """Of these requests of one batch, those that are paid for under another name; within the intent's transaction."""
    payer = payer_of(connection, batch)
    g = generations.c
    elsewhere = g.batch.in_(relatives(connection, batch, payer)) if payer is not None else not_(true())
    gone = and_(g.batch == batch, not_(g.listed))
    return dict(_paid_for(connection, hashes, and_(or_(gone, elsewhere), in_states(PAID))))
