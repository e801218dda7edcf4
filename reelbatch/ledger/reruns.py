"""Failed rows again: what a rerun would send, and asking for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

from sqlalchemy import ColumnElement, Connection, and_, case, func, not_, or_, select, true

from reelbatch.domain import FAILED, Batch, Request, RowKey, RowState
from reelbatch.ledger.columns import CLEARED
from reelbatch.ledger.dismissals import is_dismissed
from reelbatch.ledger.schema import generations
from reelbatch.ledger.selection import last
from reelbatch.ledger.transitions import NOT_CREATED, RERUN, Move, in_states
from reelbatch.model_table import DEFAULT_MODEL

_KEYS_AT_ONCE = 500
_CAN_BE_AGAIN = RERUN.sources | NOT_CREATED.sources
"""Not what a worker holds, and not what failed its checks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which rows a rerun sends again. None: no restriction."""

    batch: Batch
    states: frozenset[RowState] = FAILED
    error_codes: frozenset[str] | None = None
    row_keys: tuple[RowKey, ...] | None = None

    def __post_init__(self) -> None:
        for state in self.states:
            if state not in _CAN_BE_AGAIN:
                raise ValueError(f"no row in state {state} can be sent again")


@dataclass(frozen=True, slots=True)
class RerunCount:
    """Rows of one state and error that a rerun would send."""

    state: RowState
    error_code: str | None
    rows: int
    credits_estimated: int
    unknown: int


def preview(connection: Connection, selection: Selection, limit: int | None = None) -> list[RerunCount]:
    """What would be sent again, by state and error. Rows that an earlier rerun left unsent count as `pending`."""
    if limit is not None:
        selection, _ = choose(connection, selection, limit)
    unknown = func.sum(case((generations.c.credits_estimated.is_(None), 1), else_=0))
    found: dict[tuple[str, str | None], list[int]] = {}
    for part in _conditions(selection):
        query = (
            select(
                generations.c.state,
                generations.c.error_code,
                func.count(),
                func.coalesce(func.sum(generations.c.credits_estimated), 0),
                unknown,
            )
            .where(part)
            .group_by(generations.c.state, generations.c.error_code)
        )
        for state, code, *sums in connection.execute(query):
            known = found.setdefault((state, code), [0, 0, 0])
            found[state, code] = [a + int(b) for a, b in zip(known, sums, strict=True)]
    return [RerunCount(RowState(state), code, *sums) for (state, code), sums in sorted(found.items(), key=str)]


def costs(connection: Connection, selection: Selection, limit: int | None = None) -> list[int | None]:
    """What the rows that would be sent again are estimated at, in the manifest's order; None: unknown."""
    if limit is not None:
        selection, _ = choose(connection, selection, limit)
    found: list[tuple[int, int | None]] = []
    for part in _conditions(selection):
        query = select(generations.c.row_number, generations.c.credits_estimated).where(part)
        found += [(number, credits_) for number, credits_ in connection.execute(query)]
    return [credits_ for _, credits_ in sorted(found, key=lambda row: row[0])]


def assumed(connection: Connection, selection: Selection, limit: int | None = None) -> list[tuple[Request, int]]:
    """Of the rows that would be sent again, those without a model: what they ask for, and the credits estimated."""
    if limit is not None:
        selection, _ = choose(connection, selection, limit)
    g = generations.c
    found: Counter[Request] = Counter()
    for part in _conditions(selection):
        without_model = or_(g.model.is_(None), g.model == DEFAULT_MODEL)
        query = select(g.end_seconds, g.resolution, func.sum(g.credits_estimated))
        query = query.where(part, without_model, g.credits_estimated.is_not(None))
        for seconds, resolution, credits_ in connection.execute(query.group_by(g.end_seconds, g.resolution)):
            found[Request(image_path="", prompt=None, end_seconds=seconds, resolution=resolution)] += int(credits_)
    return list(found.items())


def request(connection: Connection, selection: Selection, limit: int | None = None) -> int:
    """Move the rows that `preview` shows to `pending`; returns how many did not wait already."""
    if limit is not None:
        selection, _ = choose(connection, selection, limit)
    again = Move(selection.states, RowState.PENDING)
    values = {**dict.fromkeys(CLEARED), "rerun_wanted": True}
    return sum(
        connection.execute(again.update(part, ~_left_over()).values(values)).rowcount
        for part in _conditions(selection)
    )


def choose(connection: Connection, selection: Selection, limit: int | None) -> tuple[Selection, tuple[int, ...]]:
    """The selected rows, at most `limit`, in the manifest's order: a selection of just these, and their numbers.

    Those that wait already have their place among them, so it finds the same rows once they are asked for.
    """
    found: list[tuple[int, str]] = []
    for part in _conditions(selection):
        query = select(generations.c.row_number, generations.c.row_key).where(part)
        first = query.order_by(generations.c.row_number, generations.c.row_key).limit(limit)
        found += [(row.row_number, row.row_key) for row in connection.execute(first)]
    chosen = sorted(found)[:limit]
    keys = tuple(RowKey(key) for _, key in chosen)
    return replace(selection, row_keys=keys), tuple(number for number, _ in chosen)


def _left_over() -> ColumnElement[bool]:
    """Rows that an earlier rerun asked for and did not get to."""
    return and_(in_states({RowState.PENDING}), generations.c.rerun_wanted)


def _conditions(selection: Selection) -> Iterator[ColumnElement[bool]]:
    """The selection, in parts that a database can take: a list of keys may be long."""
    codes = selection.error_codes
    by_code = true() if codes is None else generations.c.error_code.in_(codes)
    g = generations.c
    chosen = or_(and_(in_states(selection.states), by_code), _left_over())
    # Rows that left the manifest or were dismissed are left alone, and so is each row's history.
    wanted = and_(g.batch == selection.batch, g.in_manifest, chosen, not_(is_dismissed()), last())
    if selection.row_keys is None:
        yield wanted
        return
    keys = iter(dict.fromkeys(selection.row_keys))
    while part := list(islice(keys, _KEYS_AT_ONCE)):
        yield and_(wanted, generations.c.row_key.in_(part))


def unknown_keys(connection: Connection, batch: Batch, row_keys: Iterable[RowKey] | None) -> list[RowKey]:
    """Keys that were named but that the batch does not have."""
    missing = dict.fromkeys(row_keys or ())
    keys = iter(list(missing))
    while part := list(islice(keys, _KEYS_AT_ONCE)):
        query = select(generations.c.row_key).where(generations.c.batch == batch, generations.c.row_key.in_(part))
        for key in connection.scalars(query):
            missing.pop(RowKey(key), None)
    return list(missing)
