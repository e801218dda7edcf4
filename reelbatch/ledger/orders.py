"""Orders: rows whose videos are to be made anew. One is open for a batch at a time; the same words go on with it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import ColumnElement, Connection, Row, and_, delete, func, insert, not_, select, update

from reelbatch.domain import HAS_ID, HELD, Batch, RowState, RunId
from reelbatch.errors import OrderOpen
from reelbatch.ledger.runs import user_name
from reelbatch.ledger.schema import generations, orders
from reelbatch.ledger.selection import OrderId
from reelbatch.ledger.sent_again import doubt_again
from reelbatch.ledger.transitions import in_states
from reelbatch.typed_options import MANIFEST, command, joined

_UNSENT = frozenset({RowState.PENDING, RowState.INVALID, RowState.REJECTED})
"""States in which a line costs nothing and holds no id, so that it may be dropped."""
_SENT_AGAIN = frozenset({RowState.PENDING, RowState.INVALID, *HELD})
"""States of lines that a run of the same order takes, or waits for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenOrder:
    """An order, and how far it is.

    Args:
        states: its lines by state.
        gone: of these, lines of rows that left the manifest, which are not made again.
        held: of the others that wait, those that are paid for under another name.
    """

    order_id: OrderId
    batch: Batch
    selection: str  # JSON
    placed_at: datetime
    placed_by: str
    rows: int
    states: Mapping[RowState, int]
    gone: Mapping[RowState, int] = field(default_factory=dict)
    held: int = 0

    @property
    def done(self) -> int:
        """Rows that have a new id."""
        return sum(rows for state, rows in self.states.items() if state in HAS_ID)

    @property
    def is_done(self) -> bool:
        """Whether every row that was not dropped has a new id."""
        return self.done == sum(self.states.values())

    def count(self, *states: RowState) -> int:
        """Lines in one of `states`."""
        return sum(self.states.get(state, 0) for state in states)

    @property
    def to_send(self) -> int:
        """Lines that wait, and whose rows the manifest still has."""
        return self._left(RowState.PENDING)

    @property
    def unsent_gone(self) -> int:
        """Lines that are never sent, since their rows left the manifest."""
        return self.count(*_UNSENT) - self._left(*_UNSENT)

    def _left(self, *states: RowState) -> int:
        return self.count(*states) - sum(self.gone.get(state, 0) for state in states)

    @property
    def words(self) -> str:
        """What it was asked for with: options of `generate`, or `rerun` with its own."""
        words = _words(self.selection)
        return shlex.join(words if words[0] == "rerun" else words[2:])

    @property
    def command(self) -> str:
        """What goes on with it."""
        return self.command_with()

    def command_with(self, *options: str) -> str:
        """The same with further options."""
        return command(*_words(self.selection), *options, batch=self.batch)

    @property
    def preview(self) -> str:
        """What shows how it would go on."""
        name, *words = _words(self.selection)
        shows = [name, *words, "--dry-run"] if name == "rerun" else ["plan", *words]
        return command(*shows, batch=self.batch)

    @property
    def cancel_command(self) -> str:
        """What drops all that it has not sent."""
        return command("generate", MANIFEST, "--regenerate", "cancel", batch=self.batch)

    @property
    def goes_on(self) -> bool:
        """Whether a run with the same options brings it further."""
        return self.is_done or self._left(*_SENT_AGAIN) > 0

    @property
    def next_steps(self) -> list[str]:
        """What brings it to its end, by the rows that are left."""
        if self.is_done:  # its last run ended before, or a doubt was cleared up since
            return [f"`{self.command}` sends nothing more and closes it"]
        steps = []
        if self.goes_on:
            steps.append(f"`{self.command}` goes on with it")
        if self.count(RowState.REJECTED):
            steps.append(f"`{command('rerun', batch=self.batch)}` sends its rejected rows again")
        if self.count(*_UNSENT):
            steps.append(f"`{self.cancel_command}` drops what it has not sent")
        if self.count(RowState.IN_DOUBT):
            steps.append(
                f"`{command('reconcile', batch=self.batch)}` clears up its rows in doubt, which keep it open"
            )
        return steps

    def __str__(self) -> str:
        """What someone has to know who meets it."""
        left = {state: rows for state, rows in self.states.items() if state not in HAS_ID}
        open_ = ", ".join(f"{rows:,} {state.value}" for state, rows in sorted(left.items())) or "it is done"
        if self.unsent_gone:
            open_ += f", of which {self.unsent_gone:,} left the manifest"
        placed = f"placed {self.placed_at:%Y-%m-%d %H:%M} UTC by {self.placed_by}"
        return f"`{self.words}`, {placed}: {self.done:,} of {sum(self.states.values()):,} rows have a new id, {open_}"


class Asked(Protocol):
    """Options that may be an order."""

    @property
    def makes_again(self) -> bool:
        """Whether rows that have a video are sent."""

    @property
    def selection(self) -> str:
        """What an order is asked for with, in one form."""


def _words(selection: str) -> list[str]:
    """The command with the options that were stated."""
    known = json.loads(selection)
    words = ["rerun"] if "rerun" in known else ["generate", MANIFEST]
    for name, value in sorted(known.get("rerun", known).items(), reverse="rerun" in known):  # --verdict first
        if value is not None:
            words += [f"--{name.replace('_', '-')}", value if isinstance(value, str) else joined(value)]
    return words


def of_open_rerun() -> ColumnElement[bool]:
    """Lines of an open order of a rerun: they ask for what it added, and not for what a manifest says by now."""
    own = select(orders.c.order_id).where(orders.c.selection.startswith('{"rerun"'), orders.c.closed_at.is_(None))
    return and_(generations.c.order_id.is_not(None), generations.c.order_id.in_(own))


def open_order(connection: Connection, batch: Batch) -> OpenOrder | None:
    """The batch's open order."""
    query = select(orders).where(orders.c.batch == batch, orders.c.closed_at.is_(None))
    found = connection.execute(query).one_or_none()
    if found is None:
        return None
    g = generations.c
    waits = and_(g.state == RowState.PENDING, g.in_manifest, g.paid_as.is_not(None))
    kinds = (g.state, g.in_manifest, waits.label("held"))
    lines = connection.execute(
        select(*kinds, func.count()).where(g.order_id == found.order_id).group_by(*kinds)
    ).all()
    return OpenOrder(
        order_id=found.order_id,
        batch=batch,
        selection=found.selection,
        placed_at=found.placed_at,
        placed_by=found.placed_by,
        rows=found.rows,
        states=_by_state(lines),
        gone=_by_state(line for line in lines if not line.in_manifest),
        held=sum(_by_state(line for line in lines if line.held).values()),
    )


def _by_state(lines: Iterable[Row[Any]]) -> dict[RowState, int]:
    found: dict[RowState, int] = {}
    for line in lines:
        state = RowState(line[0])
        found[state] = found.get(state, 0) + line[-1]
    return found


def going_on(connection: Connection, batch: Batch, options: Asked) -> OpenOrder | None:
    """The open order that `options` go on with; None where there is none.

    Raises:
        OrderOpen: another one is open.
    """
    if not options.makes_again:
        return None
    found = open_order(connection, batch)
    if found is not None and found.selection != options.selection:
        raise OrderOpen(
            f'batch "{batch}": another order is open, {found}. It comes first: {"; ".join(found.next_steps)}.'
        )
    return found


@dataclass(frozen=True, slots=True)
class Placing:
    """Who places an order, and when."""

    batch: Batch
    options: Asked
    run_id: RunId
    at: datetime


def place(connection: Connection, item: Placing) -> OrderId:
    """Open an order that has no rows yet; the index refuses a second one."""
    values = {
        "batch": item.batch,
        "selection": item.options.selection,
        "placed_at": item.at,
        "placed_by": user_name(),
        "run_id": item.run_id,
        "rows": 0,
    }
    return int(connection.execute(insert(orders).values(values).returning(orders.c.order_id)).scalar_one())


def fix(connection: Connection, order: OrderId) -> None:
    """The rows that are there now are part of it, and no others ever; an order without any is none."""
    own = orders.c.order_id == order
    if rows := connection.scalar(
        select(func.count()).select_from(generations).where(generations.c.order_id == order)
    ):
        connection.execute(update(orders).where(own).values(rows=rows))
    else:
        connection.execute(delete(orders).where(own))


def close(connection: Connection, batch: Batch, at: datetime) -> bool:
    """Once its run has been reported: an order of which every row has a new id is over."""
    found = open_order(connection, batch)
    if found is None or not found.is_done:
        return False
    connection.execute(update(orders).where(orders.c.order_id == found.order_id).values(closed_at=at))
    return True


def cancel(connection: Connection, batch: Batch, at: datetime) -> tuple[OpenOrder, int] | None:
    """Drop what the open order has not sent; returns the order as it was, and how many rows were dropped.

    What may have been charged stays, and keeps the order open until it is cleared up.
    """
    found = open_order(connection, batch)
    if found is None:
        return None
    g = generations.c
    further = and_(g.order_id == found.order_id, g.video_id.is_(None), not_(g.generation == 1))
    doubt_again(connection, further)
    unsent = and_(further, in_states(_UNSENT))
    dropped = connection.execute(delete(generations).where(unsent)).rowcount
    own = orders.c.order_id == found.order_id
    connection.execute(update(orders).where(own).values(dropped=orders.c.dropped + dropped))
    close(connection, batch, at)
    return found, dropped
