"""What videos were charged before: a cap and a budget reserve a row at that where it is more than the estimate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from sqlalchemy import Connection

from reelbatch.domain import Request
from reelbatch.ledger.accounts import Payer, class_of, seen_prices

RESERVED_BY = ("row_number", "model", "resolution", "audio", "end_seconds", "credits_estimated")
"""Columns that say where a row stands, and what it is reserved at."""


@dataclass(frozen=True, slots=True)
class SeenPrices:
    """What an account was charged for a video, in credits, by the part of its price class that a request states."""

    largest: Mapping[tuple[Any, ...], int] = field(default_factory=dict)

    @classmethod
    def of(cls, connection: Connection, payer: Payer | None) -> Self:
        """As far as the table knows; None: no one does."""
        if payer is None:
            return cls()
        found = seen_prices(connection, payer.api)
        return cls({seen.kind[2:]: seen.price.larger for seen in found if seen.kind.account == payer.name})

    def __bool__(self) -> bool:
        """Whether any was seen."""
        return bool(self.largest)

    def reserved(self, row: Any) -> int | None:
        """What a row of the table, with the columns `RESERVED_BY`, is reserved at; None: no one knows."""
        return self.of_request(row, row.credits_estimated)

    def of_request(self, request: Request, estimate: int | None) -> int | None:
        """The same for a request and its estimate."""
        if estimate is None or not self:
            return estimate
        return max(estimate, self.largest.get(class_of("", "", request)[2:], 0))


NOTHING_SEEN = SeenPrices()
