"""Which rows go within a limit where a cap or a budget has no room for all: smaller ones in place of a dearer one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Generic, NamedTuple, TypeVar

from sqlalchemy import Connection, Select, func, select

from reelbatch.domain import Request
from reelbatch.ledger.observed_prices import ObservedPrices
from reelbatch.ledger.parts import STREAMED

Item = TypeVar("Item")


class Bound(NamedTuple):
    """Credits that are left, and what a request takes of them at its estimate; None: no price lets it go."""

    room: int
    price: Callable[[Request, int | None], int | None]


class Fitting(NamedTuple, Generic[Item]):
    """Rows that fit a room one after the other, and the first others; as many as were asked for."""

    fit: list[Item]
    others: list[Item]


def that_fit(
    priced: Iterable[tuple[Item, int | None]], room: int, limit: int, least: int | None = 0
) -> Fitting[Item]:
    """Which of some rows go; a smaller one in place of one that does not fit what those before it leave.

    Args:
        priced: the rows in their order, each with the credits that it takes; None: no price lets it go.
        room: credits that are left.
        limit: of rows.
        least: what any of them takes at least; None: not one of them is known to fit.
    """
    found: Fitting[Item] = Fitting([], [])
    for item, price in priced:
        if price is not None and price <= room:
            found.fit.append(item)
            room -= price
        elif len(found.others) < limit:
            found.others.append(item)
        enough = len(found.fit) >= limit
        if enough or ((least is None or room < least) and len(found.fit) + len(found.others) >= limit):
            break
    return Fitting(found.fit, found.others[: limit - len(found.fit)])


class Wanted(NamedTuple):
    """Rows that a run would send, by `RESERVED_BY`: all in their order, and as many of them as its limit says."""

    in_order: Select[Any]
    beginning: Select[Any]
    seen: ObservedPrices


def fitting(connection: Connection, wanted: Wanted, room: int, limit: int) -> Fitting[int] | None:
    """The numbers of the `limit` rows that are sent; None: the beginning of them."""
    in_order, beginning, seen = wanted
    first = [seen.reserved(row) for row in connection.execute(beginning)]
    if None not in first and sum(price or 0 for price in first) <= room:
        return None
    least = connection.scalar(select(func.min(in_order.subquery().c.credits_estimated)))
    rows = connection.execute(in_order, execution_options=STREAMED)
    return that_fit(((row.row_number, seen.reserved(row)) for row in rows), room, limit, least)
