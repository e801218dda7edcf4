"""Failed rows again: what a rerun would send, and asking for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    and_,
    case,
    false,
    func,
    literal_column,
    not_,
    or_,
    select,
    true,
)

from reelbatch.domain import DEFAULT_MODEL, FAILED, Batch, Request, RowKey, RowState
from reelbatch.ledger import sent_again
from reelbatch.ledger.columns import CLEARED
from reelbatch.ledger.dismissals import is_dismissed
from reelbatch.ledger.estimates import PRICED, Estimate, priced, rate_unsent, unknown
from reelbatch.ledger.fitting import Bound, that_fit
from reelbatch.ledger.paid_requests import is_paid_elsewhere
from reelbatch.ledger.parts import STREAMED, in_parts
from reelbatch.ledger.schema import generations, orders
from reelbatch.ledger.selection import RepeatPolicy, last
from reelbatch.ledger.transitions import NOT_CREATED, RERUN, Move, in_states

_CAN_BE_AGAIN = RERUN.sources | NOT_CREATED.sources
"""Not what a worker holds, and not what failed its checks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which rows a rerun sends again. None: no restriction."""

    batch: Batch
    states: frozenset[RowState] = FAILED
    error_codes: frozenset[str] | None = None
    row_keys: tuple[RowKey, ...] | None = None
    repeats: RepeatPolicy = RepeatPolicy.HOLD

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


class Alike(NamedTuple):
    """Rows that a rerun asks for, of one state and error, which ask for what costs the same.

    `credits_estimated` is what each is estimated at, None: unknown. `paid_elsewhere`: they will be held.
    """

    state: RowState
    error_code: str | None
    priced: Request
    credits_estimated: int | None
    rows: int
    paid_elsewhere: bool


_g = generations.c


def alike(connection: Connection, selection: Selection, estimate: Estimate = unknown) -> list[Alike]:
    """What would be asked for again. Rows that an earlier rerun left unsent are `pending`.

    `estimate` says what rows cost whose cost was unknown when the manifest was read.
    """
    found: list[Alike] = []
    elsewhere = _paid_elsewhere(connection, selection).label("elsewhere")
    columns = (elsewhere, _g.state, _g.error_code, _g.credits_estimated, *PRICED)
    for part in _conditions(selection):
        query = select(func.count(), *columns).where(part).group_by(literal_column("elsewhere"), *columns[1:])
        for rows, paid, state, code, credits_, *asked in connection.execute(query):
            request = priced(*asked)
            known = estimate(request) if credits_ is None else credits_
            found.append(Alike(RowState(state), code, request, known, rows, bool(paid)))
    return found


def by_failure(found: Sequence[Alike]) -> list[RerunCount]:
    """The same by state and error."""
    counts: dict[tuple[RowState, str | None], RerunCount] = {}
    for some in found:
        key = (some.state, some.error_code)
        was = counts.get(key, RerunCount(*key, 0, 0, 0))
        counts[key] = RerunCount(
            *key,
            was.rows + some.rows,
            was.credits_estimated + some.rows * (some.credits_estimated or 0),
            was.unknown + (some.rows if some.credits_estimated is None else 0),
        )
    return [counts[key] for key in sorted(counts, key=str)]


def assumed(found: Sequence[Alike]) -> list[tuple[Request, int]]:
    """Of these rows, those without a model: what they ask for, and the credits estimated."""
    sums: Counter[Request] = Counter()
    for some in found:
        if some.priced.model in {None, DEFAULT_MODEL} and some.credits_estimated is not None:
            sums[some.priced._replace(model=None, audio=None)] += some.rows * some.credits_estimated
    return list(sums.items())


def costs(
    connection: Connection, selection: Selection, estimate: Estimate = unknown
) -> list[tuple[Request, int | None]]:
    """What the rows that would be sent again are estimated at, in the manifest's order; None: unknown.

    Each with what of its request the price depends on.
    """
    found: list[tuple[int, Request, int | None]] = []
    for part in _conditions(selection):
        sent = and_(part, not_(_paid_elsewhere(connection, selection)))
        query = select(_g.row_number, _g.credits_estimated, *PRICED).where(sent)
        for number, credits_, *asked in connection.execute(query):
            request = priced(*asked)
            found.append((number, request, estimate(request) if credits_ is None else credits_))
    return [(request, credits_) for _, request, credits_ in sorted(found, key=lambda row: row[0])]


def request(connection: Connection, selection: Selection, estimate: Estimate = unknown) -> int:
    """Move the rows that `alike` shows to `pending`, at their estimates; returns how many did not wait already."""
    again = Move(selection.states, RowState.PENDING)
    # What was refused, or may have been taken: an event may still name its video, and it is not sent again then.
    kept = case((in_states({RowState.REJECTED, RowState.IN_DOUBT}), _g.token), else_=None)
    is_open = select(orders.c.order_id).where(orders.c.order_id == _g.order_id, orders.c.closed_at.is_(None)).exists()
    order = case((is_open, _g.order_id), else_=None)  # of a closed one there is nothing to go on with
    asked = {"request_sha256": _g.request_sha256}  # by which a plan finds what is paid for elsewhere meanwhile
    values = {**dict.fromkeys(CLEARED), **asked, "token": kept, "rerun_wanted": True, "order_id": order}
    moved = 0
    for part in _conditions(selection):
        sent_again.keep(connection, part)
        moved += connection.execute(again.update(part, ~_left_over(selection.repeats)).values(values)).rowcount
        rate_unsent(connection, part, estimate)
    return moved


def choose(connection: Connection, selection: Selection, limit: int | None, bound: Bound | None = None) -> Selection:
    """The selected rows, of which at most `limit` are sent, in the manifest's order: a selection of just these.

    Those that wait already have their place among them, so it finds the same rows once they are asked for. Rows
    that will be held take no one's place: they are asked for where all others are. Nor does one that does not fit
    `bound` take the place of one that does.
    """
    held = _paid_elsewhere(connection, selection)
    chosen = _first(connection, selection, limit, bound)
    if limit is None or len(chosen) < limit:
        chosen += _numbered(connection, selection, held)
    return replace(selection, row_keys=tuple(RowKey(row.row_key) for row in chosen))


def _first(connection: Connection, selection: Selection, limit: int | None, bound: Bound | None) -> list[Row[Any]]:
    """Of the rows that are not held, the first that go."""
    free = not_(_paid_elsewhere(connection, selection))
    first = list(islice(_numbered(connection, selection, free, limit), limit))
    if limit is None or bound is None or len(that_fit(_reserved(first, bound), bound.room, limit).fit) == len(first):
        return first
    goes, others = that_fit(_reserved(_numbered(connection, selection, free), bound), bound.room, limit)
    return sorted(goes + others, key=_place)


def _reserved(rows: Iterable[Row[Any]], bound: Bound) -> Iterator[tuple[Row[Any], int | None]]:
    for row in rows:
        asked = (row.end_seconds, row.resolution, row.model, row.audio)
        yield row, bound.price(priced(*asked), row.credits_estimated)


def _numbered(
    connection: Connection, selection: Selection, also: ColumnElement[bool], limit: int | None = None
) -> Iterator[Row[Any]]:
    """The selected rows in the manifest's order; of each part of the selection at most `limit`."""
    query = select(_g.row_number, _g.row_key, _g.credits_estimated, *PRICED)
    ordered = query.where(also).order_by(_g.row_number, _g.row_key).limit(limit)
    parts = [ordered.where(part) for part in _conditions(selection)]
    if len(parts) == 1:
        return iter(connection.execute(parts[0], execution_options=STREAMED))
    found: list[Row[Any]] = []
    for part in parts:
        found.extend(connection.execute(part))
    return iter(sorted(found, key=_place))


def _place(row: Row[Any]) -> tuple[int, str]:
    return row.row_number, row.row_key


def _paid_elsewhere(connection: Connection, selection: Selection) -> ColumnElement[bool]:
    """Rows that the run will hold instead of sending them."""
    if selection.repeats is RepeatPolicy.SEND:
        return false()
    return is_paid_elsewhere(connection, selection.batch)


def _left_over(repeats: RepeatPolicy) -> ColumnElement[bool]:
    """Rows that an earlier rerun asked for and did not get to, but for those that are held."""
    held = false() if repeats is RepeatPolicy.SEND else _g.paid_as.is_not(None)
    return and_(in_states({RowState.PENDING}), _g.rerun_wanted, not_(held))


def _conditions(selection: Selection) -> Iterator[ColumnElement[bool]]:
    """The selection, in parts that a database can take: a list of keys may be long."""
    codes = selection.error_codes
    by_code = true() if codes is None else generations.c.error_code.in_(codes)
    g = generations.c
    chosen = or_(and_(in_states(selection.states), by_code), _left_over(selection.repeats))
    # Rows that left the manifest or were dismissed are left alone, and so is each row's history.
    wanted = and_(g.batch == selection.batch, g.in_manifest, chosen, not_(is_dismissed()), last())
    if selection.row_keys is None:
        yield wanted
        return
    for part in in_parts(dict.fromkeys(selection.row_keys)):
        yield and_(wanted, generations.c.row_key.in_(part))


def unknown_keys(connection: Connection, batch: Batch, row_keys: Iterable[RowKey] | None) -> list[RowKey]:
    """Keys that were named but that the batch does not have."""
    missing = dict.fromkeys(row_keys or ())
    for part in in_parts(list(missing)):
        query = select(generations.c.row_key).where(generations.c.batch == batch, generations.c.row_key.in_(part))
        for key in connection.scalars(query):
            missing.pop(RowKey(key), None)
    return list(missing)
