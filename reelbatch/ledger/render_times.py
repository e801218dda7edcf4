"""How long videos took to render, by what they are: learned from those that this table has seen finish."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timedelta
from statistics import median
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, select

from reelbatch.domain import Batch, RowState, Token
from reelbatch.ledger.schema import batches, generations

Kind = tuple[str | None, int | None]
"""Model and estimated credits: videos of one kind have about the same length and size."""
_LOOKED_AT = 1000
_FEWEST = 3
_LONGEST = timedelta(minutes=30)
"""What took longer was not watched: `settle` ran later."""
_g = generations.c


class RenderClass(NamedTuple):
    """What decides how long a video renders, as requests state it."""

    model: str | None
    resolution: str | None
    seconds: float | None


def render_times(connection: Connection) -> dict[Kind, float]:
    """The median of seconds from the answer to create to the end that was seen, of kinds with some such videos."""
    seen: dict[Kind, list[float]] = defaultdict(list)
    for model, price, seconds in _seen(connection, select(batches.c.batch), _g.model, _g.credits_estimated):
        seen[model, price].append(seconds)
    return {kind: median(times) for kind, times in seen.items() if len(times) >= _FEWEST}


def times_by_class(connection: Connection, names: Sequence[Batch]) -> dict[RenderClass, list[float]]:
    """The same seconds, each of them, by class; of videos that were made by the API of the batches `names`."""
    apis = select(batches.c.api).where(batches.c.batch.in_(names))
    same_api = select(batches.c.batch).where(batches.c.api.in_(apis))
    seen: dict[RenderClass, list[float]] = defaultdict(list)
    for *stated, seconds in _seen(connection, same_api, _g.model, _g.resolution, _g.end_seconds):
        seen[RenderClass(*stated)].append(seconds)
    return dict(seen)


def ends(connection: Connection, tokens: Collection[Token]) -> dict[Token, datetime]:
    """When those of the videos with these tokens were seen to have ended that have ended by now."""
    query = select(_g.token, _g.settled_at).where(_g.token.in_(tokens), _g.settled_at.is_not(None))
    return {token: at for token, at in connection.execute(query)}  # noqa: C416 - a result has keys(), so dict() fails


def _seen(connection: Connection, names: Select[Any], *columns: Any) -> Iterator[tuple[Any, ...]]:
    """Some finished videos that were watched: `columns`, and the seconds that they took."""
    query = (
        select(*columns, _g.submitted_at, _g.settled_at)
        .where(_g.batch.in_(names), _g.state == RowState.COMPLETE)
        .where(_g.submitted_at.is_not(None), _g.settled_at.is_not(None))
        .limit(_LOOKED_AT)
    )
    for *stated, submitted, settled in connection.execute(query):
        if timedelta(0) <= settled - submitted <= _LONGEST:
            yield (*stated, (settled - submitted).total_seconds())
