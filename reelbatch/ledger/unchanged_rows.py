"""Rows that need no comparison in SQL: those that the table already has unchanged, and all rows of a new batch.

The first are counted and not staged; the others are staged, and counted on the way. A span of rows is compared as a
whole: the table's side comes as a few long texts, put together by the database.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from operator import eq
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    String,
    and_,
    case,
    cast,
    exists,
    func,
    literal,
    not_,
    or_,
    select,
    true,
)

from reelbatch.domain import FAILED, HELD, Batch, RowState
from reelbatch.ledger.schema import generations
from reelbatch.ledger.selection import Action, Choice, compared
from reelbatch.ledger.staging import ActionCount, staged
from reelbatch.ledger.transitions import in_states
from reelbatch.row_batch import RowColumns

_SEPARATOR = "\x1f"
_MOST_SPANS = 50
"""Spans that a query may name; in a manifest with more gaps than that the other rows are staged."""
_COMPARED = ("row_number", "row_key", "fingerprint", "credits_estimated")
_WITH_FILES = (*_COMPARED, "image_stat")

_Cells = list[Sequence[str]]


@dataclass(slots=True)
class Kept:
    """What was kept of one manifest. Without a `batch` nothing is; of a batch that is `new`, the table has no row."""

    batch: Batch | None = None
    new: bool = False
    further: bool = False  # some rows have more than one line
    spans: list[tuple[int, int]] = field(default_factory=list)  # row numbers, all of which are the manifest's
    counts: Counter[tuple[str, str | None, int | None]] = field(default_factory=Counter)  # state, model, credits
    staged: Counter[tuple[Action, str | None, int | None]] = field(default_factory=Counter)  # of a new batch
    held: Counter[tuple[str | None, int | None]] = field(
        default_factory=Counter
    )  # of pending rows, model and credits

    def sift(self, connection: Connection, rows: RowColumns) -> RowColumns:
        """The rows of one batch of the manifest that differ from the table's, or are new."""
        if self.new:
            self._count_staged(rows)
            return rows
        numbers = rows.column("row_number")
        if not self._comparable(numbers):
            return rows
        # A row of the same request whose image is no file here had none before.
        columns = _COMPARED if rows.column("image_stat").count(None) == len(rows) else _WITH_FILES
        texts = self._texts(connection, columns, numbers[0], numbers[-1])
        if not texts:
            return rows
        self._reach(numbers[0], numbers[-1])
        cells: _Cells = [_written(rows.column(name)) for name in columns]
        found: _Cells = [text.split(_SEPARATOR) for text in texts]
        if found[0] != cells[0]:
            found = _by_number(found)
        states, sound = found[-1], rows.column("problem").count(None) == len(rows)
        if sound and all(map(eq, found, cells)) and "" not in states:
            self._count(rows, states)
            return RowColumns([()] * len(rows.columns))
        return self._sift_singly(rows, cells, found)

    def _comparable(self, numbers: Sequence[int]) -> bool:
        whole = len(numbers) > 0 and numbers[-1] - numbers[0] + 1 == len(numbers)
        return self.batch is not None and whole and len(self.spans) < _MOST_SPANS

    def _texts(self, connection: Connection, columns: Sequence[str], first: int, last: int) -> list[str]:
        """These columns and the states of the table's rows, each as one text; none if there are no rows."""
        r = generations.c
        state = case((_settled(), r.state), else_=literal("")).label("state")
        rows = (
            select(*(r[name] for name in columns), state)
            .where(r.batch == self.batch, r.in_manifest, in_states(RowState), r.row_number.between(first, last))
            .where(compared() if self.further else true())
            .subquery()
        )
        written = (func.coalesce(cast(column, String), "") for column in rows.c)
        query = select(*(func.aggregate_strings(column, _SEPARATOR) for column in written))
        return [text for text in connection.execute(query).one() if text is not None]

    def _sift_singly(self, rows: RowColumns, cells: _Cells, found: _Cells) -> RowColumns:
        """Row by row. A row number that the table has twice is no match, nor anything if a value has separators."""
        if len({len(column) for column in found}) > 1:
            found = [[]] * len(found)
        twice = {number for number, count in Counter(found[0]).items() if count > 1}
        known = {row[:-1]: row[-1] for row in zip(*found, strict=True) if row[0] not in twice}
        states = [
            known.get(row, "") if problem is None else ""
            for row, problem in zip(zip(*cells, strict=True), rows.column("problem"), strict=True)
        ]
        self._count(rows.where(states), [state for state in states if state])
        return rows.where([not state for state in states])

    def _reach(self, first: int, last: int) -> None:
        if self.spans and self.spans[-1][1] + 1 == first:
            first, _ = self.spans.pop()
        self.spans.append((first, last))

    def _count(self, rows: RowColumns, states: Sequence[str]) -> None:
        self.counts.update(_stats(states, rows.column("model"), rows.column("credits_estimated")))

    def _count_staged(self, rows: RowColumns) -> None:
        problems = rows.column("problem")
        if problems.count(None) == len(rows):
            actions = [Action.SEND] * len(rows)
        else:
            actions = [Action.SEND if problem is None else Action.INVALID for problem in problems]
        self.staged.update(_stats(actions, rows.column("model"), rows.column("credits_estimated")))

    @property
    def rows(self) -> int:
        """How many were kept."""
        return self.counts.total() + self.held.total()

    def hold(self, rows: Iterable[tuple[str | None, int | None]]) -> None:
        """Pending rows, by model and credits, turn out to be paid for under another name."""
        for model, credits_ in rows:
            self.counts[RowState.PENDING.value, model, credits_] -= 1
            self.held[model, credits_] += 1

    def condition(self) -> ColumnElement[bool]:
        """Of the results table: the rows that were kept. A row whose number is staged is another one."""
        if not self.spans:
            return generations.c.batch.is_(None)
        within = or_(*(generations.c.row_number.between(*span) for span in self.spans))
        restaged = exists().where(staged.c.row_number == generations.c.row_number)
        return and_(generations.c.batch == self.batch, generations.c.in_manifest, within, not_(restaged))

    def added_to(self, counts: Iterable[ActionCount], choice: Choice, *, staged: bool) -> list[ActionCount]:
        """`counts`, and what was counted here by action, model and price; of a new batch also what is `staged`."""
        only = choice.only_order  # a row that was kept has one line, which is of no order
        kept = (((_action(state, only), model, price), rows) for (state, model, price), rows in self.counts.items())
        held = (((Action.HELD, model, price), rows) for (model, price), rows in self.held.items())
        mine = chain(kept, held, self.staged.items() if staged else ())
        return [*counts, *(ActionCount.of(*counted, rows) for counted, rows in mine if rows)]


def _by_number(found: _Cells) -> _Cells:
    """The table's columns in the order of row numbers, the first of them; the table has them state by state."""
    if len({len(column) for column in found}) > 1:  # a value has separators
        return found
    order = sorted(range(len(found[0])), key=list(map(int, found[0])).__getitem__)
    return [list(map(column.__getitem__, order)) for column in found]


def _stats(*columns: Sequence[Any]) -> Counter[tuple[Any, ...]]:
    """How often each combination comes; mostly all rows say the same, and then none has to be looked at by itself."""
    rows = len(columns[0])
    if rows and all(column.count(column[0]) == rows for column in columns):
        return Counter({tuple(column[0] for column in columns): rows})
    return Counter(zip(*columns, strict=True))


def _settled() -> ColumnElement[bool]:
    """Rows that loading the same again, in good order, would not touch."""
    given_back = and_(in_states({RowState.PENDING}), generations.c.error_message.is_not(None))
    return not_(or_(in_states({RowState.INVALID}), given_back))


def _action(state: str, only_order: bool) -> Action:
    """DESIGN's table of what happens to a row whose fingerprint is unchanged."""
    match RowState(state):
        case RowState.PENDING:
            return Action.NOT_CHOSEN if only_order else Action.SEND
        case held if held in HELD:
            return Action.AT_WORK
        case RowState.IN_DOUBT:
            return Action.IN_DOUBT
        case failed if failed in FAILED:
            return Action.FAILED
        case _:
            return Action.SKIP


def _written(values: Sequence[Any]) -> Sequence[str]:
    if isinstance(values[0], str):
        return list(values)
    if values.count(values[0]) == len(values):
        return ["" if values[0] is None else str(values[0])] * len(values)
    return ["" if value is None else str(value) for value in values]
