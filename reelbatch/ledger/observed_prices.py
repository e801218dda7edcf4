"""What videos were charged before: a cap and a budget reserve a row at that where it is more than the estimate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

from sqlalchemy import Connection

from reelbatch.domain import Request
from reelbatch.ledger.accounts import UNSEEN, Payer, Price, class_of, seen_prices

KIND = ("model", "resolution", "audio", "end_seconds", "credits_estimated")
"""Columns that say what a row is reserved at."""
RESERVED_BY = ("row_number", *KIND)


class Room(NamedTuple):
    """What a cap and a budget leave."""

    credits: int
    halts: bool = False  # of a kind whose finished videos cost more than estimated, nothing goes


@dataclass(frozen=True, slots=True)
class ObservedPrices:
    """What an account was charged for a video, by the part of its price class that a request states."""

    prices: Mapping[tuple[Any, ...], Price] = field(default_factory=dict)
    halts: bool = False

    @classmethod
    def of(cls, connection: Connection, payer: Payer | None, room: Room | None = None) -> Self:
        """As far as the table knows; None: no one does, and nothing bounds the rows."""
        if payer is None:
            return cls()
        found = seen_prices(connection, payer.api)
        own = {seen.kind[2:]: seen.price for seen in found if seen.kind.account == payer.name}
        return cls(own, room is not None and room.halts)

    def __bool__(self) -> bool:
        """Whether any was seen."""
        return bool(self.prices)

    def of_kind(self, request: Request) -> Price:
        """What videos of the request's kind were charged."""
        return self.prices.get(class_of("", "", request)[2:], UNSEEN)

    def reserved(self, row: Any) -> int | None:
        """What a row of the table, with the columns `KIND`, is reserved at; None: no price lets it go."""
        return self.of_request(row, row.credits_estimated)

    def of_request(self, request: Request, estimate: int | None) -> int | None:
        """The same for a request and its estimate."""
        if estimate is None or not self:
            return estimate
        price = self.of_kind(request)
        return None if self.halts and (price.settled or 0) > estimate else max(estimate, price.larger)


NONE_OBSERVED = ObservedPrices()
