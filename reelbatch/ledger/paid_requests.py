"""What is known by its content: requests that were paid for under another name, and ids that came twice.

A row to send is held where its request equals that of a row that is paid for, or may be, (a) under a key of its
batch that the manifest no longer has, or (b) in another batch of the same account: a renamed file, a key that Excel
rewrote. Rows that stand in one manifest together never hold each other. An id that several rows were told is said so.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, NamedTuple, Protocol

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    FromClause,
    Select,
    and_,
    bindparam,
    cast,
    false,
    func,
    literal_column,
    not_,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY

from reelbatch.domain import DEFAULT_MODEL, Batch, Request, RowKey, RowState, Token, VideoId
from reelbatch.ledger.accounts import Payer, payer_of, relatives
from reelbatch.ledger.columns import REQUEST_COLUMNS
from reelbatch.ledger.parts import in_parts
from reelbatch.ledger.schema import attempts, generations
from reelbatch.ledger.selection import Action, Choice
from reelbatch.ledger.staging import action, joined, staged
from reelbatch.ledger.transitions import in_states, in_states_of

PAID = frozenset({RowState.QUEUED, RowState.RENDERING, RowState.COMPLETE, RowState.SENDING, RowState.IN_DOUBT})
"""States in which a request is paid for, or may be."""
HELD_CODE = "held"
_PAGE = 500
Mark = Callable[[str], "str | None"]
"""What stands for an image where requests are compared: the hash of a local file, else its address."""


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

    @property
    def explanation(self) -> str:
        """Why a row is held, in words; the table keeps them for all who read it."""
        same = f'its request is paid for as row {self.row_key} of batch "{self.batch}"'
        return f"{same}; `--repeats send` (setting `repeats`) sends it all the same"


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
    spelt_out: bool = False  # some that paid state what the API takes anyway

    def run(self, connection: Connection, choice: Choice) -> None:
        """Mark the staged rows that are to be held, and remember all of them."""
        paid = self._sources(connection)
        if not _any(connection, paid):
            return
        stated = or_(generations.c.model == DEFAULT_MODEL, not_(generations.c.audio))
        self.spelt_out = _any(connection, and_(paid, stated))
        sizes = select(generations.c.image_bytes).where(paid, generations.c.image_bytes.is_not(None))
        for page in _pages(connection, self._staged_candidates(choice, sizes)):
            for held in self._matches(connection, page, paid):
                one = update(staged).where(staged.c.row_number == held.row_number)
                connection.execute(one.values(paid_as=held.paid.mark, error_message=held.paid.explanation))
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
        waits = in_states({RowState.PENDING}), c.order_id.is_(None)  # lines of an order go by what is sent with it
        return query.where(self.kept, *waits, same_size), c.row_number

    def _matches(self, connection: Connection, page: Sequence[Any], paid: ColumnElement[bool]) -> Iterator[Held]:
        hashes = {row: found for row in page if (found := self._hashes(row))}
        known = dict(_paid_for(connection, set(chain(*hashes.values())), paid))
        for row, found in hashes.items():
            if sha256 := next(filter(known.__contains__, found), None):
                yield Held(row.row_key, row.row_number, known[sha256])

    def _hashes(self, row: Any) -> list[str]:
        """What the request may be known by: one that paid may state what this one leaves out."""
        marks = [self.mark(stated) for stated in (row.image_path, row.end_image_path) if stated]
        if None in marks:
            return []
        request = Request(*row[: len(REQUEST_COLUMNS)])
        return request.content_hashes([mark for mark in marks if mark is not None], spelt_out=self.spelt_out)


def _any(connection: Connection, which: ColumnElement[bool]) -> bool:
    one: Select[Any] = select(literal_column("1")).select_from(generations).where(which).limit(1)
    return connection.execute(one).first() is not None


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
    query = query.order_by(g.batch.desc(), g.row_number.desc())
    for some in in_parts(set(hashes)):
        for sha256, batch, key, state, video_id in connection.execute(query, {"hashes": some}):
            yield sha256, PaidAs(batch, key, RowState(state), video_id)


def serialize(connection: Connection, hashes: Iterable[str]) -> None:
    """Until the commit no one else writes of what one of these SHA-256 stands for. SQLite has one writer anyway."""
    if connection.dialect.name == "sqlite":
        return
    locks = sorted(int(sha256[:15], 16) for sha256 in set(hashes))
    every = func.unnest(cast(bindparam("locks"), ARRAY(BigInteger))).column_valued("lock")
    connection.execute(select(func.pg_advisory_xact_lock(every)), {"locks": locks})


def paid_elsewhere(
    connection: Connection, batch: Batch, hashes: Iterable[str], *, of_gone: bool = False
) -> dict[str, PaidAs]:
    """Of these requests of one batch, those that are paid for under another name; within the intent's transaction.

    `of_gone`: they are of rows that the manifest has no longer. Any row of the batch may be one by its new name.
    """
    return dict(_paid_for(connection, hashes, _under_another_name(connection, batch, of_gone=of_gone)))


def any_paid_elsewhere(connection: Connection, batch: Batch) -> bool:
    """Whether any request at all is paid for under a name by which this batch's rows may be held."""
    return _any(connection, _under_another_name(connection, batch))


def _under_another_name(connection: Connection, batch: Batch, *, of_gone: bool = False) -> ColumnElement[bool]:
    g = generations
    here = g.c.batch == batch if of_gone else _gone(g, batch)
    return and_(or_(here, _elsewhere(connection, g, batch)), in_states(PAID))


def is_paid_elsewhere(connection: Connection, batch: Batch) -> ColumnElement[bool]:
    """Rows of the batch that were tried, and whose request, as it was then, is paid for under another name since."""
    other = generations.alias("other")
    paid = and_(or_(_gone(other, batch), _elsewhere(connection, other, batch)), in_states_of(other, PAID))
    same = other.c.request_sha256 == generations.c.request_sha256
    return select(literal_column("1")).select_from(other).where(same, paid).exists()


def _gone(lines: FromClause, batch: Batch) -> ColumnElement[bool]:
    return and_(lines.c.batch == batch, not_(lines.c.in_manifest))


def _elsewhere(connection: Connection, lines: FromClause, batch: Batch) -> ColumnElement[bool]:
    payer = payer_of(connection, batch)
    return lines.c.batch.in_(relatives(connection, batch, payer)) if payer is not None else false()


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
