"""Rows of a staged manifest that are to be sent, in the order in which they are, and what each is reserved at."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    case,
    false,
    func,
    literal_column,
    or_,
    select,
    true,
    type_coerce,
    union_all,
)

from reelbatch.domain import Batch, Request, RowKey, RowState
from reelbatch.ledger.columns import REQUEST_COLUMNS
from reelbatch.ledger.fitting import Wanted, fitting
from reelbatch.ledger.observed_prices import KIND, NONE_OBSERVED, RESERVED_BY, ObservedPrices, Room
from reelbatch.ledger.parts import STREAMED
from reelbatch.ledger.samples import DRAWN_BY, taken_as, unsent
from reelbatch.ledger.schema import generations
from reelbatch.ledger.selection import Action, Choice, numbers
from reelbatch.ledger.staging import ActionCount, action, joined, made_again, staged
from reelbatch.ledger.transitions import in_states


@dataclass(frozen=True, slots=True)
class SendingOrder:
    """What of a manifest is sent.

    Args:
        kept: of the results table: rows of the manifest that did not have to be staged.
        held: numbers of those rows that turned out to be paid for, which the table does not say yet.
        room: what is left; rows that do not fit what the ones before them leave of it, or of unknown cost,
            do not go, so they come last.
        seen: by which a row takes more of the room than it is estimated at.
    """

    batch: Batch
    choice: Choice
    kept: ColumnElement[bool]
    held: Collection[int] = ()
    room: Room | None = None
    seen: ObservedPrices = NONE_OBSERVED

    def counts(self, connection: Connection) -> list[ActionCount]:
        """The rows that a run with a limit sends, counted by model and price."""
        limit = self.choice.options.limit
        first = self._first(connection, limit, "row_number", "model", "credits_estimated").subquery()
        query = select(first.c.model, first.c.credits_estimated, func.count())
        grouped = query.group_by(first.c.model, first.c.credits_estimated)
        return [ActionCount.of(Action.SEND, *counted) for counted in connection.execute(grouped)]

    def first(self, connection: Connection, rows: int) -> list[tuple[RowKey, Request]]:
        """The first `rows` of them; of a pilot, of its sample."""
        pilot, limit = self.choice.options.pilot, self.choice.options.limit
        names = ("row_number", "row_key", *REQUEST_COLUMNS)
        if pilot is None:
            query = self._first(connection, rows if limit is None else min(rows, limit), *names)
        else:
            to_send = self._rows(None, *names).order_by(None).subquery()
            drawn = [row.row_key for row in self._drawn(connection, pilot)[:rows]]
            query = select(to_send).where(to_send.c.row_key.in_(drawn)).order_by(to_send.c.row_number)
        return [(RowKey(key), Request(*request)) for _, key, *request in connection.execute(query)]

    def prices(self, connection: Connection) -> Iterator[tuple[int | None, int]]:
        """What a row is reserved at, and how many that follow each other have the same; None: not known.

        Of a pilot, those of its sample.
        """
        pilot, limit = self.choice.options.pilot, self.choice.options.limit
        found: Iterable[Any]
        if pilot is None:
            found = connection.execute(self._first(connection, limit, *RESERVED_BY), execution_options=STREAMED)
        else:
            found = self._drawn(connection, pilot)
        for price, same in groupby(map(self.seen.reserved, found)):
            yield price, sum(1 for _ in same)

    def reserved(self, connection: Connection) -> list[tuple[int | None, int]]:
        """The same in no order."""
        if self.choice.options.pilot is not None:
            return list(self.prices(connection))
        return [(self.seen.reserved(row), row.rows) for row in self.kinds(connection)]

    def kinds(self, connection: Connection) -> Sequence[Any]:
        """The values of `KIND`, and how many `rows` have the same; of a pilot's rest as well."""
        first = self._first(connection, self.choice.options.limit, *RESERVED_BY).subquery()
        kind = [first.c[name] for name in KIND]
        return connection.execute(select(*kind, func.count().label("rows")).group_by(*kind)).all()

    def sample(self, connection: Connection, rows: int) -> list[ActionCount]:
        """The rows of a sample of that size, those that were sent aside; each by itself, in order."""
        drawn = self._drawn(connection, rows)
        return [ActionCount.of(Action.SEND, row.model, row.credits_estimated, 1) for row in drawn]

    def _drawn(self, connection: Connection, rows: int) -> list[Any]:
        to_send = self._rows(None, *DRAWN_BY).order_by(None).subquery()
        parts: list[Select[Any]] = [select(to_send, true().label("unsent"))]
        choice, g = self.choice, generations.c
        if not self._is_new_order(connection):  # of which none was sent
            again = select(staged.c.row_key).select_from(joined(self.batch, choice))
            sent_now = again.where(action(choice) == Action.SEND.value)
            listed = or_(self.kept, and_(g.row_key.in_(select(staged.c.row_key)), g.row_key.not_in(sent_now)))
            taken = (g.batch == self.batch, taken_as(choice))
            parts.append(select(*(g[name] for name in DRAWN_BY), false().label("unsent")).where(*taken, listed))
        ever = union_all(*parts).subquery()
        return unsent(connection, select(ever), rows)

    def _is_new_order(self, connection: Connection) -> bool:
        """Whether an order will be placed: there are rows to make again."""
        if self.choice.order is not None or not self.choice.options.makes_again:
            return False
        again: Select[Any] = select(literal_column("1")).select_from(joined(self.batch, self.choice))
        return connection.execute(again.where(made_again(self.choice)).limit(1)).first() is not None

    def _rows(self, limit: int | None, *names: str) -> Select[Any]:
        """These columns of the first rows, in order; of a batch that has them already, unchanged, rows that wait.

        Each part ends at the limit by itself, which saves sorting a million rows for the first three.
        """
        g = generations.c
        send = select(*(type_coerce(staged.c[name], g[name].type).label(name) for name in names))
        send = send.select_from(joined(self.batch, self.choice)).where(action(self.choice) == Action.SEND.value)
        parts = [send.order_by(staged.c.row_number)]
        if not self.choice.only_order:
            waiting = select(*(g[name] for name in names)).order_by(g.row_number)
            free = (in_states({RowState.PENDING}), g.paid_as.is_(None), g.order_id.is_(None))
            waiting = waiting.where(self.kept, *free, g.row_number.not_in(numbers("held", sorted(self.held))))
            parts.append(waiting)
        if limit is None:
            parts = [part.order_by(None) for part in parts]
        rows = union_all(*(select(part.limit(limit).subquery()) for part in parts)).subquery()
        return select(*(rows.c[name] for name in names)).order_by(rows.c.row_number).limit(limit)

    def _first(self, connection: Connection, limit: int | None, *names: str) -> Select[Any]:
        """The same, where not all of them go in the order in which those that fit the room are found."""
        rows = self._rows(limit, *names)
        if self.room is None or limit is None:
            return rows
        found = self._rows(None, *RESERVED_BY).order_by(None).subquery()
        in_order = select(found).order_by(found.c.row_number)
        wanted = Wanted(in_order, self._rows(limit, *RESERVED_BY), self.seen)
        first = fitting(connection, wanted, self.room.credits, limit)
        if first is None:
            return rows
        every = self._rows(None, *names).order_by(None).subquery()
        goes, other = (
            every.c.row_number.in_(numbers(*part)) for part in (("goes", first.fit), ("other", first.others))
        )
        return select(every).where(or_(goes, other)).order_by(case((goes, 0), else_=1), every.c.row_number)
