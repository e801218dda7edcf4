"""The moves that the results table makes, each checked against TRANSITIONS when it is defined.

Every statement that writes a row's state is begun here: by `Move.update` where rows move, and by the three functions
at the end where a manifest brings rows, or states anew what has not been paid for. The callers add what else is
written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Select,
    Update,
    and_,
    bindparam,
    case,
    literal,
    literal_column,
    update,
)

from reelbatch.domain import FAILED, TRANSITIONS, RowState, sources
from reelbatch.errors import StateConflict
from reelbatch.ledger.schema import generations


@dataclass(frozen=True, slots=True)
class Move:
    """From any of `sources` to `target`; defining one that TRANSITIONS does not have is an error."""

    sources: frozenset[RowState]
    target: RowState

    def __post_init__(self) -> None:
        for source in self.sources:
            if self.target not in TRANSITIONS[source]:
                raise ValueError(f"no row may move from {source} to {self.target}")

    def update(self, *where: ColumnElement[bool]) -> Update:
        """The UPDATE that moves the rows `where` that are in one of the states expected, and no others."""
        return update(generations).where(*where, self.expected).values(state=self.target)

    @property
    def expected(self) -> ColumnElement[bool]:
        """The condition that every UPDATE of this move carries."""
        return in_states(self.sources)


def in_states(states: Iterable[RowState]) -> ColumnElement[bool]:
    """Rows in one of `states`; written out, since a bound value would hide a partial index from SQLite."""
    return in_states_of(generations, states)


def in_states_of(lines: FromClause, states: Iterable[RowState]) -> ColumnElement[bool]:
    """The same of `lines`, which may be another name of the table."""
    names: list[ColumnElement[str]] = [literal_column(f"'{state}'") for state in sorted(states)]
    return lines.c.state == names[0] if len(names) == 1 else lines.c.state.in_(names)


def _move(target: RowState, *sources: RowState) -> Move:
    return Move(frozenset(sources), target)


CLAIM = _move(RowState.CLAIMED, RowState.PENDING)
RELEASE = _move(RowState.PENDING, RowState.CLAIMED)
UNREADABLE = _move(RowState.INVALID, RowState.CLAIMED)
SEND = _move(RowState.SENDING, RowState.CLAIMED)
SUBMITTED = Move(sources(RowState.QUEUED), RowState.QUEUED)
RETRY = _move(RowState.CLAIMED, RowState.SENDING)
WITHDRAWN = _move(RowState.PENDING, RowState.SENDING)
REJECTED = _move(RowState.REJECTED, RowState.SENDING)
DOUBTFUL = _move(RowState.IN_DOUBT, RowState.SENDING)
CHECKED_AGAIN = _move(RowState.PENDING, RowState.INVALID)
CORRECTED = Move(frozenset({RowState.INVALID, *FAILED}), RowState.PENDING)
SPOILED = Move(frozenset({RowState.PENDING, *FAILED}), RowState.INVALID)
RERUN = Move(FAILED, RowState.PENDING)
NOT_CREATED = _move(RowState.PENDING, RowState.IN_DOUBT)
NOT_CREATED_UNDONE = _move(RowState.IN_DOUBT, RowState.PENDING)
FOUND_UNDONE = _move(RowState.IN_DOUBT, RowState.QUEUED, RowState.RENDERING)
REFUSED_LATE = _move(RowState.REJECTED, RowState.IN_DOUBT)
RENDERING = _move(RowState.RENDERING, RowState.QUEUED)
SETTLED = {
    state: _move(state, RowState.QUEUED, RowState.RENDERING)
    for state in (RowState.COMPLETE, RowState.ERROR, RowState.CANCELED)
}

REPLACEABLE = CORRECTED.sources | SPOILED.sources
"""States in which a manifest may state a row anew: it becomes, or stays, `pending` or `invalid`."""


def _fresh(good: ColumnElement[bool]) -> ColumnElement[str]:
    """The state of a row that was never sent. `good`: whether it passed its checks."""
    return case((good, literal(RowState.PENDING.value)), else_=literal(RowState.INVALID.value))


def insert_fresh(insert: Any, names: Sequence[str], source: Select[Any], good: ColumnElement[bool]) -> Any:
    """`insert` of new rows: the columns `names` as `source` has them."""
    return insert.from_select([*names, "state"], source.add_columns(_fresh(good)))


def or_replace(insert: Any, values: Mapping[str, Any], where: ColumnElement[bool]) -> Any:
    """`insert`, where a row that is there already and may be replaced takes the new one's state, and `values`."""
    return insert.on_conflict_do_update(
        index_elements=list(generations.primary_key),
        set_={**values, "state": insert.excluded.state},
        where=and_(in_states(REPLACEABLE), where),
    )


def update_fresh(good: ColumnElement[bool], *where: ColumnElement[bool]) -> Update:
    """The UPDATE by which rows are as their manifest states them now."""
    return update(generations).where(*where, in_states(REPLACEABLE)).values(state=_fresh(good))


THIS_ROW = (
    generations.c.batch == bindparam("b_batch"),
    generations.c.row_key == bindparam("b_row_key"),
    generations.c.generation == bindparam("b_generation"),
)
"""The row that a statement's parameters name."""


def execute_each(connection: Connection, statement: Any, values: Sequence[Mapping[str, Any]]) -> None:
    """Run `statement` for each of `values`.

    Raises:
        StateConflict: one of them changed nothing.
    """
    if values and (changed := connection.execute(statement, values).rowcount) != len(values):
        raise StateConflict(f"{len(values) - changed} of {len(values)} rows were not in the state expected")
