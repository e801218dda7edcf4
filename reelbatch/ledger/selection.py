"""What is sent: one definition for the plan, the question, the claims and the report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from sqlalchemy import (
    BindParameter,
    Boolean,
    ColumnElement,
    Connection,
    Integer,
    Select,
    String,
    and_,
    bindparam,
    false,
    func,
    literal_column,
    not_,
    or_,
    select,
    true,
)

from reelbatch.domain import UNSETTLED, Batch, RowKey, RowState, RunId
from reelbatch.ledger.schema import COMPARED, LAST, SHOWN, generations
from reelbatch.ledger.transitions import in_states, in_states_of

OrderId = int


class Regenerate(StrEnum):
    """Which rows that already have a video are made again."""

    NONE = "none"
    CHANGED = "changed"
    ALL = "all"
    CANCEL = "cancel"  # none: an order that is open drops what it has not sent


class RepeatPolicy(StrEnum):
    """What becomes of a row whose request was paid for under another name."""

    HOLD = "hold"  # it stays pending
    SEND = "send"
    SKIP = "skip"  # it stays pending, and needs no one's attention


class Action(StrEnum):
    """What `generate` does with a row of the manifest."""

    SEND = "send"
    INVALID = "invalid"
    SKIP = "skip"  # has its video, unchanged
    CHANGED = "changed"  # has its video, but the manifest says something else now
    FAILED = "failed"  # left for rerun
    IN_DOUBT = "in_doubt"
    AT_WORK = "at_work"  # another worker has it
    HELD = "held"  # its request was paid for under another name
    LATER = "later"  # is to be made again once its video has finished rendering
    NOT_CHOSEN = "not_chosen"  # only other rows were asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class SendOptions:
    """What `generate` is told about which rows it sends. None: no restriction."""

    regenerate: Regenerate = Regenerate.NONE
    row_keys: tuple[RowKey, ...] | None = None  # of those that are made again; no others are sent then
    repeats: RepeatPolicy = RepeatPolicy.HOLD
    limit: int | None = None  # rows that this run sends at most
    pilot: int | None = None  # rows of a sample, which are all that this run sends

    @property
    def makes_again(self) -> bool:
        """Whether rows that have a video are sent."""
        return self.regenerate in {Regenerate.CHANGED, Regenerate.ALL}

    @property
    def selection(self) -> str:
        """What an order is asked for with, in one form."""
        keys = None if self.row_keys is None else sorted(set(self.row_keys))
        return json.dumps({"regenerate": self.regenerate.value, "rows": keys}, sort_keys=True, ensure_ascii=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Options, and what they meet in the table."""

    options: SendOptions = SendOptions()
    order: OrderId | None = None  # that the options go on with
    open_order: OrderId | None = None  # of the batch; any run may go on with it
    further: bool = False  # some rows have more than one line

    @property
    def only_order(self) -> bool:
        """Whether nothing else is sent."""
        return self.options.makes_again and self.options.row_keys is not None

    def line(self) -> ColumnElement[bool]:
        """Which line of a row the manifest is compared with: the last one where an order goes on."""
        if not self.further:
            return true()
        return compared() if self.order is None else last()

    def of_open_order(self) -> ColumnElement[bool]:
        """Lines of the order that is open, whether the options go on with it or not."""
        return false() if self.open_order is None else _of(self.open_order)

    def of_order(self) -> ColumnElement[bool]:
        """Lines of the order that goes on."""
        return false() if self.order is None else _of(self.order)


def _of(order: OrderId) -> ColumnElement[bool]:
    """Never null, so that `not_` of it has the lines of no order too."""
    return func.coalesce(generations.c.order_id == order, false())


class Scope(NamedTuple):
    """Which pending rows a run may take.

    Without an order, rows that belong to one are left to it. With `rerun` only rows that a rerun asked for.
    """

    batch: Batch
    run_id: RunId
    rerun: bool = False
    order: OrderId | None = None
    only_order: bool = False  # and no other rows
    repeats: RepeatPolicy = RepeatPolicy.HOLD
    most: int | None = None  # rows that are estimated above it are left: they fit neither cap nor budget
    sample: tuple[RowKey, ...] | None = None  # only these rows, wherever another manifest moves them

    def condition(self) -> ColumnElement[bool]:
        """Pending rows of this scope that this run has not already tried and given up."""
        return claimable(self, {**self._asdict(), "sample": keys("sample", self.sample or ())})

    @property
    def kind(self) -> Scope:
        """What claims of this scope have in common: the scope without batch, run, number of the order and credits."""
        order, most = (None if value is None else 0 for value in (self.order, self.most))
        sample = None if self.sample is None else ()
        return self._replace(batch=Batch(""), run_id=RunId(""), order=order, most=most, sample=sample)


def numbers(name: str, values: Sequence[int] | None = None) -> BindParameter[Any]:
    """Row numbers, written into the statement: there may be more of them than a database takes as parameters."""
    if values is None:
        return bindparam(name, type_=Integer, expanding=True, literal_execute=True)
    return bindparam(name, values, type_=Integer, expanding=True, literal_execute=True)


def keys(name: str, values: Sequence[RowKey] | None = None) -> BindParameter[Any]:
    """The same for keys of rows."""
    if values is None:
        return bindparam(name, type_=String, expanding=True, literal_execute=True)
    return bindparam(name, values, type_=String, expanding=True, literal_execute=True)


def claimable(scope: Scope, values: Mapping[str, Any]) -> ColumnElement[bool]:
    """`Scope.condition` for these values of the scope, which may be bound parameters."""
    batch, run_id, order, most = (values[name] for name in ("batch", "run_id", "order", "most"))
    g = generations.c
    pending = in_states({RowState.PENDING})
    if scope.sample is not None:
        # Not the plain column, so that SQLite looks up these keys and does not go through all that is pending.
        pending = g.state.concat(literal_column("''")) == literal_column(f"'{RowState.PENDING}'")
    conditions = [
        g.batch == batch,
        pending,
        g.in_manifest,
        or_(g.run_id.is_(None), g.run_id != run_id),
    ]
    if scope.rerun:
        conditions.append(g.rerun_wanted)
    elif scope.order is None:
        conditions.append(g.order_id.is_(None))
    else:
        own = g.order_id == order
        conditions += [own if scope.only_order else or_(g.order_id.is_(None), own), settled_before()]
    if scope.repeats is not RepeatPolicy.SEND:
        conditions.append(g.paid_as.is_(None))
    if scope.most is not None:
        conditions.append(or_(g.credits_estimated.is_(None), g.credits_estimated <= most))
    if scope.sample is not None:
        conditions.append(g.row_key.in_(values["sample"]))
    return and_(*conditions)


def settled_before() -> ColumnElement[bool]:
    """No earlier video of the row is unfinished: what it costs is known before another one is ordered."""
    earlier = generations.alias("earlier")
    unfinished: Select[Any] = (
        select(literal_column("1"))
        .select_from(earlier)
        .where(_same_row(earlier), earlier.c.generation < generations.c.generation, in_states_of(earlier, UNSETTLED))
    )
    return or_(generations.c.generation == 1, not_(unfinished.exists()))


def shown() -> ColumnElement[bool]:
    """Of each row the last line with an id, else its last: what its owner looks at."""
    return literal_column(f"({SHOWN})", Boolean())


def compared() -> ColumnElement[bool]:
    """Of each row the last line that has an id or that any run may send: what a manifest is compared with."""
    return literal_column(f"({COMPARED})", Boolean())


def last() -> ColumnElement[bool]:
    """The last line of each row.

    As text: within ON CONFLICT, SQLAlchemy would not take `generations` for the line that is replaced.
    """
    return literal_column(f"({LAST})", Boolean())


def _same_row(other: Any) -> ColumnElement[bool]:
    return and_(other.c.batch == generations.c.batch, other.c.row_key == generations.c.row_key)


def further(connection: Connection, batch: Batch) -> bool:
    """Whether some row of the batch has more than one line; mostly none has, and nothing need tell them apart."""
    query: Select[Any] = select(literal_column("1")).where(generations.c.batch == batch, _further())
    return connection.execute(query.limit(1)).first() is not None


def _further() -> ColumnElement[bool]:
    return generations.c.generation > literal_column("1")  # written out: a bound value would hide the partial index


def superseded(connection: Connection, batch: Batch) -> dict[RowState, int]:
    """By state, the lines of rows that have a later video: history, which no one has to see to."""
    g, n = generations, generations.alias("newer")
    newer = select(n.c.row_key, n.c.generation).where(
        n.c.batch == batch, n.c.generation > literal_column("1"), n.c.video_id.is_not(None)
    )
    new = newer.subquery()
    older = (
        select(g.c.row_key, g.c.generation, g.c.state)
        .join(new, and_(g.c.row_key == new.c.row_key, g.c.generation < new.c.generation))
        .where(g.c.batch == batch)
        .distinct()
    )
    found: dict[RowState, int] = {}
    for *_, state in connection.execute(older):
        found[RowState(state)] = found.get(RowState(state), 0) + 1
    return found


def rows_of(connection: Connection, batch: Batch) -> int:
    """How many rows the results table has of a batch, in the manifest or not."""
    own = select(func.count()).select_from(generations).where(generations.c.batch == batch)
    more = connection.scalar(own.where(_further())) or 0
    return (connection.scalar(own) or 0) - more
