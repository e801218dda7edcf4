"""Rows that wait: how many a run may take, why others are given back, and what they are reserved at."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Select, and_, func, or_, select

from reelbatch.domain import HELD, Batch, RowKey, RunId
from reelbatch.ledger.accounts import payer_of
from reelbatch.ledger.fitting import Wanted, fitting
from reelbatch.ledger.observed_prices import KIND, RESERVED_BY, ObservedPrices, Room
from reelbatch.ledger.schema import generations
from reelbatch.ledger.selection import Scope, numbers
from reelbatch.ledger.transitions import in_states


def claimable(connection: Connection, scope: Scope) -> int:
    """Rows that a run of this scope may still take."""
    return connection.scalar(select(func.count()).select_from(generations).where(scope.condition())) or 0


def claimable_key(connection: Connection, scope: Scope, row_number: int) -> RowKey | None:
    """The key of a row that a run of this scope may still take; None where it may not."""
    g = generations.c
    key: RowKey | None = connection.scalar(select(g.row_key).where(scope.condition(), g.row_number == row_number))
    return key


def next_images(connection: Connection, scope: Scope, limit: int) -> list[str]:
    """The images of the rows that a run of this scope takes first."""
    query = select(generations.c.image_path).where(scope.condition()).order_by(generations.c.row_number).limit(limit)
    return list(connection.scalars(query))


def held_by_others(connection: Connection, batch: Batch, run_id: RunId) -> int:
    """Rows that other workers hold."""
    query = select(func.count()).select_from(generations)
    return (
        connection.scalar(query.where(generations.c.batch == batch, in_states(HELD), generations.c.run_id != run_id))
        or 0
    )


def given_back_as(connection: Connection, scope: Scope, code: str) -> int:
    """Rows of this scope that wait since they were given back for this reason."""
    own = (scope._replace(run_id=RunId(""), most=None).condition(), generations.c.error_code == code)
    return connection.scalar(select(func.count()).select_from(generations).where(*own)) or 0


def too_dear(connection: Connection, scope: Scope, credits_: int, code: str, limit: int) -> tuple[int, list[RowKey]]:
    """Rows that wait although no period's budget of `credits_` will ever pay for one: how many, and the first keys.

    `code`: of those of which that was found out by what such videos were charged.
    """
    g = generations.c
    wanted = scope._replace(run_id=RunId(""), most=None).condition()
    dear = and_(wanted, or_(g.credits_estimated > credits_, g.error_code == code))
    first = select(g.row_key).where(dear).order_by(g.row_number).limit(limit)
    found = [RowKey(key) for key in connection.scalars(first)]
    if len(found) < limit:
        return len(found), found
    return connection.scalar(select(func.count()).select_from(generations).where(dear)) or 0, found


def costs(connection: Connection, scope: Scope, limit: int | None, room: Room | None = None) -> list[int | None]:
    """What the rows that a run of this scope may take are reserved at, in their order; None: unknown.

    Where the limit leaves some out, those that fit the `room` go, and others after them.
    """
    seen = observed_prices(connection, scope, room)
    part = _chosen(connection, scope, (limit, room), seen).subquery()
    return [seen.reserved(row) for row in connection.execute(select(part).order_by(part.c.row_number))]


def reserved(
    connection: Connection, scope: Scope, limit: int | None, room: Room | None = None
) -> list[tuple[int | None, int]]:
    """The same in no order: how many rows are reserved at each price."""
    seen = observed_prices(connection, scope, room)
    part = _chosen(connection, scope, (limit, room), seen).subquery()
    kind = [part.c[name] for name in KIND]
    query = select(*kind, func.count()).group_by(*kind)
    return [(seen.reserved(row), row[-1]) for row in connection.execute(query)]


def prices(
    connection: Connection, scope: Scope, limit: int | None, room: Room | None = None
) -> list[tuple[str | None, int | None, int]]:
    """The same rows by model and estimate: how many of each."""
    part = _chosen(connection, scope, (limit, room), observed_prices(connection, scope, room)).subquery()
    kind = part.c.model, part.c.credits_estimated
    query = select(*kind, func.count()).group_by(*kind).order_by(*kind)
    return [(row[0], row[1], row[2]) for row in connection.execute(query)]


def _chosen(
    connection: Connection, scope: Scope, bounds: tuple[int | None, Room | None], seen: ObservedPrices
) -> Select[Any]:
    g, (limit, room) = generations.c, bounds
    rows = select(*(g[name] for name in RESERVED_BY)).where(scope.condition())
    in_order = rows.order_by(g.row_number)
    if room is not None and limit is not None:
        wanted = Wanted(in_order, in_order.limit(limit), seen)
        if (chosen := fitting(connection, wanted, room.credits, limit)) is not None:
            return rows.where(g.row_number.in_(numbers("chosen", [*chosen.fit, *chosen.others])))
    return in_order.limit(limit)


def observed_prices(connection: Connection, scope: Scope, room: Room | None) -> ObservedPrices:
    """What the account that pays was charged before."""
    return ObservedPrices.of(connection, payer_of(connection, scope.batch), room)
