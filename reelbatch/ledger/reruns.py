"""Failed rows again: what a rerun would take up, and asking for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice

from sqlalchemy import ColumnElement, Connection, Select, and_, case, func, or_, select, true, update

from reelbatch.domain import FAILED, Batch, RowKey, RowState
from reelbatch.ledger.moves import NOT_CREATED, REGENERATED, RERUN, in_states
from reelbatch.ledger.schema import results

_KEYS_AT_ONCE = 500
_FORGOTTEN = (
    "video_id",
    "estimated_frame_cost",
    "credits_charged",
    "credits_final",
    "fps",
    "width",
    "height",
    "error_code",
    "error_message",
    "token",
    "run_id",
    "submitted_at",
    "settled_at",
    "video_path",
    "due_at",
)
"""Of the row; its attempts keep the earlier ids and costs."""
_CAN_BE_AGAIN = RERUN.sources | NOT_CREATED.sources | REGENERATED.sources
"""Not what a worker holds, and not what failed its checks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which rows a rerun takes up. None: no restriction."""

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
    """Rows of one state and error that a rerun would take up."""

    state: RowState
    error_code: str | None
    rows: int
    credits_estimated: int
    unknown: int


def preview(connection: Connection, selection: Selection) -> list[RerunCount]:
    """What would be sent again, by state and error. Rows that an earlier rerun left unsent count as `pending`."""
    unknown = func.sum(case((results.c.credits_estimated.is_(None), 1), else_=0))
    found: dict[tuple[str, str | None], list[int]] = {}
    for part in _conditions(selection):
        query = (
            select(
                results.c.state,
                results.c.error_code,
                func.count(),
                func.coalesce(func.sum(results.c.credits_estimated), 0),
                unknown,
            )
            .where(part)
            .group_by(results.c.state, results.c.error_code)
        )
        for state, code, *sums in connection.execute(query):
            known = found.setdefault((state, code), [0, 0, 0])
            found[state, code] = [a + int(b) for a, b in zip(known, sums, strict=True)]
    return [RerunCount(RowState(state), code, *sums) for (state, code), sums in sorted(found.items(), key=str)]


def request(connection: Connection, selection: Selection, limit: int | None = None) -> int:
    """Move the selected rows to `pending`, at most `limit` with those that wait already; answers with how many."""
    if limit is not None:
        return _request_first(connection, selection, limit)
    cleared = dict.fromkeys(_FORGOTTEN)
    fresh = {"state": RowState.PENDING, "rerun_wanted": True}
    return sum(
        connection.execute(update(results).where(part, ~_left_over()).values({**cleared, **fresh})).rowcount
        for part in _conditions(selection)
    )


def _request_first(connection: Connection, selection: Selection, limit: int) -> int:
    """The first rows of the manifest's order; the others stay as they are."""
    found: list[tuple[int, str]] = []
    waiting = 0
    for part in _conditions(selection):
        found += [(row.row_number, row.row_key) for row in connection.execute(_first(part, limit))]
        waiting += connection.scalar(select(func.count()).select_from(results).where(part, _left_over())) or 0
    keys = [RowKey(key) for _, key in sorted(found)[: max(0, limit - waiting)]]
    return request(connection, replace(selection, row_keys=tuple(keys)))


def _first(part: ColumnElement[bool], limit: int) -> Select[tuple[int, str]]:
    query = select(results.c.row_number, results.c.row_key).where(part, ~_left_over())
    return query.order_by(results.c.row_number, results.c.row_key).limit(limit)


def _left_over() -> ColumnElement[bool]:
    """Rows that an earlier rerun asked for and did not get to."""
    return and_(in_states({RowState.PENDING}), results.c.rerun_wanted)


def _conditions(selection: Selection) -> Iterator[ColumnElement[bool]]:
    """The selection, in parts that a database can take: a list of keys may be long."""
    codes = selection.error_codes
    by_code = true() if codes is None else results.c.error_code.in_(codes)
    wanted = and_(results.c.batch == selection.batch, or_(and_(in_states(selection.states), by_code), _left_over()))
    if selection.row_keys is None:
        yield wanted
        return
    keys = iter(dict.fromkeys(selection.row_keys))
    while part := list(islice(keys, _KEYS_AT_ONCE)):
        yield and_(wanted, results.c.row_key.in_(part))


def unknown_keys(connection: Connection, selection: Selection) -> list[RowKey]:
    """Keys that were named but that the batch does not have."""
    missing = dict.fromkeys(selection.row_keys or ())
    keys = iter(list(missing))
    while part := list(islice(keys, _KEYS_AT_ONCE)):
        query = select(results.c.row_key).where(results.c.batch == selection.batch, results.c.row_key.in_(part))
        for key in connection.scalars(query):
            missing.pop(RowKey(key), None)
    return list(missing)
