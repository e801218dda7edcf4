"""Videos that reviewers rejected, made again: an order that needs no manifest."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, bindparam, insert, literal, not_, or_, select, true, update

from reelbatch.domain import Batch, Request, ReviewVerdict, RowKey, RowState, RunId, product_of
from reelbatch.ledger import orders, runs, transitions
from reelbatch.ledger.columns import REQUEST_COLUMNS
from reelbatch.ledger.engine import now
from reelbatch.ledger.estimates import Estimate, rate_unsent
from reelbatch.ledger.orders import Placing
from reelbatch.ledger.paid_requests import is_paid_elsewhere
from reelbatch.ledger.parts import in_parts
from reelbatch.ledger.schema import generations
from reelbatch.ledger.selection import OrderId, RepeatPolicy, Scope, last
from reelbatch.ledger.transitions import in_states

_COPIED = (
    "batch", "row_key", "row_number", *REQUEST_COLUMNS, "fingerprint", "credits_estimated", "in_manifest",
    "image_base", "image_stat", "image_bytes",
)  # fmt: skip
"""What a new line has from the one whose video was rejected; the fingerprint stays the manifest's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedVideos:
    """Which rejected videos are made again, and with what. Without `row_keys`: all of the batch."""

    batch: Batch
    row_keys: tuple[RowKey, ...] | None = None
    prompt_suffix: str | None = None
    model: str | None = None
    repeats: RepeatPolicy = RepeatPolicy.HOLD

    @property
    def makes_again(self) -> bool:
        """It always does."""
        return True

    @property
    def selection(self) -> str:
        """What the order is asked for with, in one form."""
        keys = None if self.row_keys is None else sorted(set(self.row_keys))
        added = {"prompt_suffix": self.prompt_suffix, "model": self.model}
        return json.dumps(
            {"rerun": {"verdict": "rejected", **added, "rows": keys}}, sort_keys=True, ensure_ascii=False
        )

    def revised(self, request: Request) -> Request:
        """The request of a rejected video, with what is added. A suffix that it ends with stands there once."""
        prompt, suffix = request.prompt or "", self.prompt_suffix
        if suffix is not None and not prompt.endswith(suffix):
            request = request._replace(prompt=f"{prompt} {suffix}".strip())
        return request if self.model is None else request._replace(model=self.model)


class Line(NamedTuple):
    """A line of the table: what was asked for, and what that was estimated at."""

    row_key: RowKey
    generation: int
    request: Request
    credits_estimated: int | None
    image_base: str


def to_make_again(connection: Connection, which: RejectedVideos, limit: int | None = None) -> list[Line]:
    """What a new order would be placed for, in the manifest's order: lines whose videos were rejected.

    A row of which another video was approved has what it needs.
    """
    wanted = None if which.row_keys is None else frozenset(which.row_keys)
    found = _lines(connection, _rejected(which.batch))
    return [line for line in found if wanted is None or line.row_key in wanted][:limit]


def decided_products(connection: Connection, batch: Batch) -> frozenset[str]:
    """Products of whose variants one is approved: their keys up to the last `#`."""
    g = generations.c
    approved = select(g.row_key).where(g.batch == batch, g.verdict == ReviewVerdict.APPROVED)
    found = connection.scalars(approved.where(g.row_key.contains("#")))
    return frozenset(filter(None, map(product_of, found)))


def waiting(connection: Connection, which: RejectedVideos, order: OrderId) -> list[Line]:
    """What an open order has still to send, in the manifest's order."""
    scope = Scope(which.batch, RunId(""), order=order, only_order=True, repeats=which.repeats)
    freed = and_(scope._replace(repeats=RepeatPolicy.SEND).condition(), _freed(connection, which.batch, order))
    return _lines(connection, or_(scope.condition(), _unreadable(order), freed))


def _unreadable(order: OrderId) -> ColumnElement[bool]:
    """Lines of an order whose images could not be read. No manifest states them, so the order tries them again."""
    g = generations.c
    return and_(g.order_id == order, in_states({RowState.INVALID}), g.in_manifest)


def _held(order: OrderId) -> ColumnElement[bool]:
    g = generations.c
    return and_(g.order_id == order, in_states({RowState.PENDING}), g.paid_as.is_not(None))


def _freed(connection: Connection, batch: Batch, order: OrderId) -> ColumnElement[bool]:
    """Lines of an order that are held, and whose request is paid for by no other row now. No manifest frees them."""
    return and_(_held(order), not_(is_paid_elsewhere(connection, batch)))


def _lines(connection: Connection, where: ColumnElement[bool]) -> list[Line]:
    g = generations.c
    asked = (g[name] for name in REQUEST_COLUMNS)
    query = select(g.row_key, g.generation, g.credits_estimated, g.image_base, *asked).where(where)
    found = connection.execute(query.order_by(g.row_number, g.row_key))
    return [
        Line(RowKey(key), number, Request(*request), credits_, base or ".")
        for key, number, credits_, base, *request in found
    ]


def _rejected(batch: Batch) -> ColumnElement[bool]:
    """Last lines whose videos are rejected, of rows without an approved one."""
    g, other = generations.c, generations.alias("other")
    same_row = and_(other.c.batch == g.batch, other.c.row_key == g.row_key)
    approved = select(other.c.row_key).where(same_row, other.c.verdict == ReviewVerdict.APPROVED).exists()
    judged = and_(in_states({RowState.COMPLETE}), g.verdict == ReviewVerdict.REJECTED)
    return and_(g.batch == batch, g.in_manifest, judged, last(), not_(approved))


def place(connection: Connection, which: RejectedVideos, run_id: RunId, estimate: Estimate) -> OrderId | None:
    """A new order with all its rows, or the one that is open for the same; None where there is nothing to make.

    Raises:
        OrderOpen: another one is open.
    """
    runs.lock_batch(connection, which.batch)
    if (found := orders.going_on(connection, which.batch, which)) is not None:
        _try_again(connection, which.batch, found.order_id, estimate)
        return found.order_id
    lines = to_make_again(connection, which)
    if not lines:
        return None
    order = orders.place(connection, Placing(which.batch, which, run_id, now(connection)))
    for some in in_parts(lines):
        _further(connection, which.batch, [line.row_key for line in some], order)
    _revise(connection, order, [(line, which.revised(line.request)) for line in lines], estimate)
    orders.fix(connection, order)
    return order


def _try_again(connection: Connection, batch: Batch, order: OrderId, estimate: Estimate) -> None:
    unspoiled = dict.fromkeys(("run_id", "error_code", "error_message"))
    connection.execute(transitions.CHECKED_AGAIN.update(_unreadable(order)).values(unspoiled))
    freed = update(generations).where(_freed(connection, batch, order))
    connection.execute(freed.values({**unspoiled, "paid_as": None}))
    rate_unsent(connection, generations.c.order_id == order, estimate)


def _further(connection: Connection, batch: Batch, keys: Sequence[RowKey], order: OrderId) -> None:
    """A line more for each of these rows, which asks for the same again."""
    g = generations.c
    copied = (g[name] for name in _COPIED)
    again = select(*copied, g.generation + 1, literal(order)).where(_rejected(batch), g.row_key.in_(keys))
    names = [*_COPIED, "generation", "order_id"]
    connection.execute(transitions.insert_fresh(insert(generations), names, again, true()))


def _revise(
    connection: Connection, order: OrderId, asked: Sequence[tuple[Line, Request]], estimate: Estimate
) -> None:
    """Each new line as it is asked for, at what that is estimated at."""
    g = generations.c
    own = and_(g.order_id == order, g.row_key == bindparam("b_key"))
    revised = (
        update(generations)
        .where(own)
        .values(prompt=bindparam("b_prompt"), model=bindparam("b_model"), credits_estimated=bindparam("b_credits"))
    )
    connection.execute(revised, list(_values(asked, estimate)))


def _values(asked: Sequence[tuple[Line, Request]], estimate: Estimate) -> Iterator[dict[str, object]]:
    for line, request in asked:
        price = estimate(request)
        yield {"b_key": line.row_key, "b_prompt": request.prompt, "b_model": request.model, "b_credits": price}
