"""A manifest beside the results table: staged, and compared set by set.

The manifest goes into a temporary table, so its size is bounded by disk and not by memory, and the comparison
with the results table is one query.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, NamedTuple

from sqlalchemy import (
    Boolean,
    ColumnElement,
    CompoundSelect,
    Connection,
    and_,
    case,
    column,
    false,
    func,
    literal,
    literal_column,
    not_,
    null,
    or_,
    select,
    table,
    true,
    union_all,
    update,
)

from reelbatch.domain import FAILED, HELD, UNSETTLED, Batch, Request, RowKey, RowState
from reelbatch.ledger.columns import REQUEST_COLUMNS
from reelbatch.ledger.dismissals import is_dismissed
from reelbatch.ledger.schema import generations
from reelbatch.ledger.selection import Action, Choice, Regenerate, RepeatPolicy, last, rows_of, settled_before
from reelbatch.ledger.transitions import in_states
from reelbatch.row_batch import FIELDS, RowColumns

_COLUMN_OF = dict(zip(Request._fields, REQUEST_COLUMNS, strict=True))
_STAGED_COLUMNS = tuple(_COLUMN_OF.get(name, name) for name in FIELDS)
_OWN_COLUMNS = ("image_sha256", "paid_as", "error_message", "chosen")
"""What is found out about a row once it is staged: its image was replaced, its request is paid for, it was chosen."""
_DEFAULTS = {"unseen": False}
"""Of the columns above; the other ones may be null."""
_TEMPORARY = ("page_size = 32768", "cache_size = -8000", "secure_delete = OFF")
"""How SQLite keeps what is staged: in a file, written in large pieces."""
_ROWS_A_STATEMENT = 500
"""With one row each, the threads of this process would hand the interpreter to each other a million times."""
_CACHE_KIB, _SMALL_CACHE_KIB = 16_000, 2000
"""Of the results table's pages, while it is merged: keys come in any order, and each may touch another page."""
staged = table("staged", *(column(name) for name in (*_STAGED_COLUMNS, *_OWN_COLUMNS)))


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A key that more than one row of the manifest carries."""

    row_key: RowKey
    row_numbers: tuple[int, ...]


class SameRequest(NamedTuple):
    """A request that `rows` rows of the manifest make, from row `first` to row `last`."""

    first: int
    last: int
    rows: int


@dataclass(frozen=True, slots=True)
class ActionCount:
    """How many rows of one model meet one action, and what they should cost."""

    action: Action
    model: str | None
    rows: int
    credits_estimated: int
    unknown: int  # rows whose rate is not known

    @classmethod
    def of(cls, action: Action, model: str | None, price: int | None, rows: int) -> ActionCount:
        """Rows of one price; None: it is not known."""
        return cls(action, model, rows, rows * (price or 0), rows if price is None else 0)

    @property
    def price(self) -> int | None:
        """Of each row, where all have the same."""
        return None if self.unknown else self.credits_estimated // self.rows


def summed(counts: Iterable[ActionCount], *, by_price: bool = False) -> list[ActionCount]:
    """The same by action and model, and by price where that is asked for."""
    sums: dict[tuple[Action, str | None, int | None], list[int]] = {}
    for count in counts:
        sum_ = sums.setdefault((count.action, count.model, count.price if by_price else None), [0, 0, 0])
        for place, value in enumerate((count.rows, count.credits_estimated, count.unknown)):
            sum_[place] += value
    ordered = sorted(sums.items(), key=lambda item: (item[0][0], item[0][1] or "", item[0][2] or 0))
    return [ActionCount(action, model, *sum_) for (action, model, _), sum_ in ordered]


def create(connection: Connection) -> None:
    """Make the empty temporary table."""
    types = {name: generations.c[name].type for name in generations.columns.keys()}  # noqa: SIM118 - a column collection
    types["unseen"] = types["chosen"] = Boolean()
    defaults = {name: f" DEFAULT {str(value).lower()}" for name, value in _DEFAULTS.items()}
    definitions = ", ".join(
        f"{name} {_sql_type(types.get(name), connection)}{defaults.get(name, '')}"
        for name in (*_STAGED_COLUMNS, *_OWN_COLUMNS)
    )
    if connection.dialect.name == "sqlite":
        for pragma in _TEMPORARY:
            connection.exec_driver_sql(f"PRAGMA temp.{pragma}")
    connection.exec_driver_sql(f"CREATE TEMPORARY TABLE staged ({definitions}, PRIMARY KEY (row_number))")


def _sql_type(type_: Any, connection: Connection) -> str:
    return "TEXT" if type_ is None else str(type_.compile(connection.dialect))


def widen_cache(connection: Connection) -> None:
    """Before the merge; `drop` gives it back."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(f"PRAGMA main.cache_size = -{_CACHE_KIB}")


def drop(connection: Connection) -> None:
    """End of the session's copy."""
    connection.exec_driver_sql("DROP TABLE IF EXISTS staged")
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(f"PRAGMA main.cache_size = -{_SMALL_CACHE_KIB}")
        connection.exec_driver_sql("PRAGMA shrink_memory")


def fill(connection: Connection, rows: RowColumns) -> None:
    """Add `rows`; plain tuples in bulk, since a million of them come by."""
    driver: Any = connection.connection
    with closing(driver.cursor()) as cursor:
        if connection.dialect.name == "sqlite":
            _insert(cursor, dict(zip(_STAGED_COLUMNS, rows.columns, strict=True)))
            return
        with cursor.copy(f"COPY staged ({', '.join(_STAGED_COLUMNS)}) FROM STDIN") as copy:
            for row in rows.flat():
                copy.write_row(row)


def _insert(cursor: Any, columns: Mapping[str, Sequence[Any]]) -> None:
    """Each value takes the driver a while, so what all rows have in common is handed over once a statement."""
    varied = {name: cells for name, cells in columns.items() if name == "row_number" or not _is_uniform(cells)}
    same = {name: cells[0] for name, cells in columns.items() if name not in varied}
    told = {name: value for name, value in same.items() if value != _DEFAULTS.get(name)}
    row = f"({', '.join('?' for _ in varied)})"
    values = chain.from_iterable(zip(*varied.values(), strict=True))
    while some := list(islice(values, _ROWS_A_STATEMENT * len(varied))):
        every = ", ".join([row] * (len(some) // len(varied)))
        source = f"SELECT {'?, ' * len(told)}* FROM (VALUES {every})"  # noqa: S608 - nothing but marks
        cursor.execute(f"INSERT INTO staged ({', '.join([*told, *varied])}) {source}", [*told.values(), *some])


def _is_uniform(cells: Sequence[Any]) -> bool:
    return cells.count(cells[0]) == len(cells)


def complete(connection: Connection, *, indexed: bool) -> None:
    """Once everything is staged: what rows of the results table are looked up by, where it has any."""
    if indexed:
        connection.exec_driver_sql("CREATE INDEX staged_key ON staged (row_key)")
    if connection.dialect.name != "sqlite":
        connection.exec_driver_sql("ANALYZE staged")  # no one else does that for a temporary table


def duplicate_keys(
    connection: Connection, kept: ColumnElement[bool], limit: int = 100
) -> tuple[int, list[Duplicate]]:
    """Keys that stand in more than one row: how many, and the first `limit` of them in the manifest's order."""
    rows = _manifest(and_(kept, generations.c.row_key.in_(select(staged.c.row_key)))).cte()  # kept keys are unique
    doubled = (
        select(rows.c.row_key, func.min(rows.c.row_number).label("first"), func.count().over().label("whole"))
        .group_by(rows.c.row_key)
        .having(func.count() > 1)
        .order_by("first")
        .limit(limit)
        .subquery()
    )
    found = connection.execute(
        select(doubled.c.row_key, rows.c.row_number, doubled.c.whole)
        .join(rows, rows.c.row_key == doubled.c.row_key)
        .order_by(doubled.c.first, rows.c.row_number)
    ).all()
    numbers: dict[str, list[int]] = {}
    for key, number, _ in found:
        numbers.setdefault(key, []).append(number)
    return found[0].whole if found else 0, [Duplicate(RowKey(key), tuple(rows)) for key, rows in numbers.items()]


def same_requests(
    connection: Connection, kept: ColumnElement[bool], limit: int = 1000
) -> tuple[int, list[SameRequest]]:
    """Requests that several rows make under different keys: how many, and the first of them."""
    rows = _manifest(kept).subquery()
    first, last = func.min(rows.c.row_number), func.max(rows.c.row_number)
    found = connection.execute(
        select(first, last, func.count(), func.count().over())
        .where(rows.c.problem.is_(None))
        .group_by(rows.c.fingerprint)
        .having(func.count() > 1)
        .order_by(first)
        .limit(limit)
    ).all()
    return found[0][3] if found else 0, [SameRequest(*line[:3]) for line in found]


def _manifest(kept: ColumnElement[bool]) -> CompoundSelect[Any]:
    """All rows of the manifest: what is staged, and what did not have to be."""
    return union_all(
        select(staged.c.row_key, staged.c.row_number, staged.c.fingerprint, staged.c.problem),
        select(generations.c.row_key, generations.c.row_number, generations.c.fingerprint, null()).where(
            kept, generations.c.generation == 1
        ),
    )


def joined(batch: Batch, choice: Choice) -> Any:
    """What is staged beside the line that the results table has of each row; see `Choice.line`."""
    return staged.outerjoin(generations, and_(_same_key(batch), choice.line()))


def _same_key(batch: Batch) -> ColumnElement[bool]:
    return and_(generations.c.batch == batch, generations.c.row_key == staged.c.row_key)


def changed() -> ColumnElement[bool]:
    """Whether a joined row asks for something else than before, or its image is another one under the same name.

    What a rerun added was asked for too: an export has it, which may come back as the manifest.
    """
    g = generations.c
    asked_again = and_(g.generation > 1, *(g[name].is_not_distinct_from(staged.c[name]) for name in REQUEST_COLUMNS))
    return or_(and_(g.fingerprint != staged.c.fingerprint, not_(asked_again)), staged.c.image_sha256.is_not(None))


def action(choice: Choice) -> ColumnElement[str]:
    """DESIGN's table of what happens to a row that the results table already has, as one CASE."""
    g, options = generations.c, choice.options
    held = and_(staged.c.paid_as.is_not(None), literal(options.repeats is not RepeatPolicy.SEND))
    sendable = case(
        (staged.c.problem.is_not(None), literal(Action.INVALID.value)),
        (held, literal(Action.HELD.value)),
        else_=literal(Action.SEND.value),
    )
    unordered = literal(Action.NOT_CHOSEN.value) if choice.only_order else sendable
    of_another = and_(choice.of_open_order(), not_(choice.of_order()))
    unsent = in_states({RowState.PENDING, RowState.INVALID})
    is_history = not_(last()) if choice.further else false()
    left = or_(not_(changed()), is_history, of_another)
    return case(
        (g.state.is_(None), unordered),
        (and_(unsent, of_another), literal(Action.FAILED.value)),
        (and_(unsent, not_(choice.of_order())), unordered),
        (and_(unsent, not_(settled_before())), literal(Action.LATER.value)),
        (unsent, sendable),
        (in_states(HELD), literal(Action.AT_WORK.value)),
        (g.state == RowState.IN_DOUBT, literal(Action.IN_DOUBT.value)),
        (and_(in_states(FAILED), left), literal(Action.FAILED.value)),
        (in_states(FAILED), case((choice.of_order(), sendable), else_=unordered)),
        (and_(made_again(choice), in_states(UNSETTLED)), literal(Action.LATER.value)),
        (made_again(choice), sendable),
        (changed(), literal(Action.CHANGED.value)),
        else_=literal(Action.SKIP.value),
    )


def made_again(choice: Choice) -> ColumnElement[bool]:
    """Rows of a new order: they have a video, or will have one once it is rendered."""
    options = choice.options
    again = {Regenerate.CHANGED: changed(), Regenerate.ALL: literal(value=True)}.get(options.regenerate)
    if again is None or choice.order is not None:
        return literal(value=False)
    chosen = literal(value=True) if options.row_keys is None else func.coalesce(staged.c.chosen, literal(value=False))
    with_video = in_states({RowState.COMPLETE, *UNSETTLED})
    return and_(with_video, again, chosen, staged.c.problem.is_(None), last() if choice.further else true())


def choose(connection: Connection, row_keys: Sequence[RowKey]) -> list[RowKey]:
    """Mark the rows that were named; returns the keys that the manifest does not have."""
    missing = []
    for key in dict.fromkeys(row_keys):
        marked = connection.execute(update(staged).where(staged.c.row_key == key).values(chosen=True))
        if not marked.rowcount:
            missing.append(key)
    return missing


def compare(connection: Connection, batch: Batch, choice: Choice) -> list[ActionCount]:
    """What `generate` would do, counted by action, model and price."""
    named = action(choice).label("action")
    query = (
        select(named, staged.c.model, staged.c.credits_estimated, func.count())
        .select_from(joined(batch, choice))
        .group_by(literal_column("1"), staged.c.model, staged.c.credits_estimated)
    )
    return [ActionCount.of(Action(name), *counted) for name, *counted in connection.execute(query)]


def invalid(connection: Connection, batch: Batch, choice: Choice) -> dict[Action, int]:
    """Rows that fail their checks, by what `generate` would do with them: some have their video all the same.

    One that was dismissed for just this request counts for nothing.
    """
    named = action(choice).label("action")
    given_up = and_(is_dismissed(), generations.c.fingerprint == staged.c.fingerprint)
    query = (
        select(named, func.count())
        .select_from(joined(batch, choice))
        .where(staged.c.problem.is_not(None), not_(given_up))
        .group_by(literal_column("1"))
    )
    return {Action(name): rows for name, rows in connection.execute(query)}


def gone(connection: Connection, batch: Batch, kept: int) -> int:
    """Rows of the results table that the manifest no longer has; it has `kept` beside those that are staged."""
    known = rows_of(connection, batch)
    if known == kept:
        return 0
    query = select(func.count(staged.c.row_key.distinct())).join_from(staged, generations, _same_key(batch))
    return known - kept - (connection.scalar(query) or 0)
