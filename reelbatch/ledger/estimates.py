"""What rows cost that were of unknown cost when the manifest was read, and are not sent yet."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from sqlalchemy import ColumnElement, Connection, and_, select, update

from reelbatch.domain import Request, RowState
from reelbatch.ledger.schema import generations
from reelbatch.ledger.transitions import in_states

Estimate: TypeAlias = Callable[[Request], int | None]
"""The credits of a request; None: no one knows."""
_g = generations.c
PRICED = (_g.end_seconds, _g.resolution, _g.model, _g.audio)
"""What the cost of a request depends on."""


def unknown(_: Request) -> None:
    """The estimate of someone who knows no rates."""


def priced(end_seconds: float | None, resolution: str | None, model: str | None, audio: bool | None) -> Request:
    """A request of which nothing is known but what its cost depends on: the values of `PRICED`."""
    return Request("", None, end_seconds, resolution, model, audio)


def rate_unsent(connection: Connection, which: ColumnElement[bool], estimate: Estimate) -> None:
    """Pending lines among `which` that are of unknown cost count with `estimate`, where it knows better by now."""
    unrated = and_(which, in_states({RowState.PENDING}), _g.credits_estimated.is_(None))
    for asked in connection.execute(select(*PRICED).where(unrated).distinct()).all():
        if (credits_ := estimate(priced(*asked))) is not None:
            same = (column.is_not_distinct_from(value) for column, value in zip(PRICED, asked, strict=True))
            connection.execute(update(generations).where(unrated, *same).values(credits_estimated=credits_))
