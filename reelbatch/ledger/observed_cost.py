"""What rows of unknown rate would cost by what such videos were charged before. No estimate: it reserves nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, func, select, union_all

from reelbatch.domain import Batch, Request, RowState
from reelbatch.ledger.observed_prices import ObservedPrices
from reelbatch.ledger.schema import generations
from reelbatch.ledger.selection import Action, Choice
from reelbatch.ledger.staging import action, joined, staged
from reelbatch.ledger.transitions import in_states

_KIND = ("model", "resolution", "audio", "end_seconds")


class ObservedCost(NamedTuple):
    """Rows of unknown rate of whose kind a video was charged within the time that prices count as seen."""

    rows: int = 0
    credits: int = 0
    models: tuple[str, ...] = ()


NOTHING_OBSERVED = ObservedCost()


def observed_cost(
    connection: Connection, batch: Batch, choice: Choice, kept: ColumnElement[bool], seen: ObservedPrices
) -> ObservedCost:
    """Of the rows that would be sent. `kept`: those that did not have to be staged."""
    rows, total, models = 0, 0, set()
    for kind, count in _unrated(connection, batch, choice, kept):
        price = seen.of_kind(kind)
        if price.is_fresh and price.larger:
            rows, total = rows + count, total + count * price.larger
            models.add(kind.model or "default")
    return ObservedCost(rows, total, tuple(sorted(models)))


def _unrated(
    connection: Connection, batch: Batch, choice: Choice, kept: ColumnElement[bool]
) -> Iterator[tuple[Request, int]]:
    """How many of each kind; of a run with a limit those that it sends."""
    both = [_staged(batch, choice), *([] if choice.only_order else [_waiting(kept)])]
    rows = union_all(*both).subquery()
    first = select(rows).order_by(rows.c.row_number).limit(choice.options.limit).subquery()
    kind = [first.c[name] for name in _KIND]
    query = select(*kind, func.count()).where(first.c.credits_estimated.is_(None)).group_by(*kind)
    for *stated, count in connection.execute(query):
        model, resolution, audio, seconds = stated
        yield Request("", None, seconds, resolution=resolution, model=model, audio=audio), count


def _staged(batch: Batch, choice: Choice) -> Any:
    columns = (staged.c[name] for name in ("row_number", *_KIND, "credits_estimated"))
    return select(*columns).select_from(joined(batch, choice)).where(action(choice) == Action.SEND.value)


def _waiting(kept: ColumnElement[bool]) -> Any:
    g = generations.c
    columns = (g[name] for name in ("row_number", *_KIND, "credits_estimated"))
    return select(*columns).where(kept, in_states({RowState.PENDING}), g.paid_as.is_(None), g.order_id.is_(None))
