"""What rows of unknown rate would cost by what such videos were charged before. No estimate: it reserves nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from reelbatch.ledger.estimates import priced
from reelbatch.ledger.observed_prices import ObservedPrices


class ObservedCost(NamedTuple):
    """Rows of unknown rate of whose kind a video was charged within the time that prices count as seen."""

    rows: int = 0
    credits: int = 0
    models: tuple[str, ...] = ()


NOTHING_OBSERVED = ObservedCost()


def observed_cost(kinds: Iterable[Any], seen: ObservedPrices) -> ObservedCost:
    """Of rows that would be sent, by `SendingOrder.kinds`."""
    rows, total, models = 0, 0, set()
    for row in kinds:
        price = seen.of_kind(priced(row.end_seconds, row.resolution, row.model, row.audio))
        if row.credits_estimated is None and price.is_fresh and price.larger:
            rows, total = rows + row.rows, total + row.rows * price.larger
            models.add(row.model or "default")
    return ObservedCost(rows, total, tuple(sorted(models)))
