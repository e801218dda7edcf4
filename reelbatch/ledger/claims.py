"""Handing out rows: claim, release, and what a dead worker held."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import Connection, Integer, Row, String, and_, bindparam, func, select, tuple_, update

from reelbatch.domain import HELD, Batch, ClaimedRow, Request, RowKey, RunId, Token
from reelbatch.ledger.accounting import BalanceChanges, Ending, known_attempts
from reelbatch.ledger.columns import REQUEST_COLUMNS
from reelbatch.ledger.schema import attempts, generations
from reelbatch.ledger.selection import Scope, claimable, keys
from reelbatch.ledger.transitions import CLAIM, DOUBTFUL, RELEASE, UNREADABLE, in_states
from reelbatch.ledger.version_check import refuse_newer


@dataclass(frozen=True, slots=True)
class Claim:
    """Up to `rows` rows of `scope` whose row numbers are within `span` (both ends included).

    Where the scope has a sample, the span is of places in it: rows that move meanwhile are found all the same.
    """

    scope: Scope
    span: tuple[int, int]
    rows: int


@dataclass(frozen=True, slots=True)
class Release:
    """A claimed row goes back: to `pending`, or to `invalid` where its image turned out to be unusable."""

    row: ClaimedRow
    run_id: RunId
    code: str | None = None
    message: str | None = None
    invalid: bool = False


_CLAIMED_COLUMNS = tuple(
    generations.c[name]
    for name in (
        *REQUEST_COLUMNS,
        "batch",
        "row_key",
        "row_number",
        "credits_estimated",
        "attempts",
        "fingerprint",
        "generation",
        "image_base",
    )
)


def claim(connection: Connection, items: Sequence[Claim]) -> list[list[ClaimedRow]]:
    """Take rows; two workers never get the same one.

    Raises:
        LedgerError: a newer version has migrated the table.
    """
    refuse_newer(connection)
    return [_claim_one(connection, item) for item in items]


def _claim_one(connection: Connection, item: Claim) -> list[ClaimedRow]:
    scope, (first, last) = item.scope, item.span
    values: dict[str, Any] = {"b_batch": scope.batch, "b_run_id": scope.run_id, "b_rows": item.rows}
    if scope.order is not None and not scope.rerun:
        values["b_order"] = scope.order
    if scope.most is not None:
        values["b_most"] = scope.most
    if scope.sample is None:
        values |= {"b_first": first, "b_last": last}
    else:
        values["b_sample"] = scope.sample[first - 1 : last]
    taken = connection.execute(_take(scope.kind), values)
    return sorted((_claimed(row) for row in taken), key=lambda row: row.row_number)


_KEY = tuple_(generations.c.batch, generations.c.row_key, generations.c.generation)


@cache
def _take(kind: Scope) -> Any:
    """The UPDATE that claims rows; built once, since building it takes longer than running it."""
    integers = {name: bindparam(f"b_{name}", type_=Integer) for name in ("order", "most")}
    names = {name: bindparam(f"b_{name}", type_=String) for name in ("batch", "run_id")}
    condition = claimable(kind, {**names, **integers, "sample": keys("b_sample")})
    if kind.sample is None:
        condition = and_(condition, generations.c.row_number.between(bindparam("b_first"), bindparam("b_last")))
    free = (
        select(generations.c.batch, generations.c.row_key, generations.c.generation)
        .where(condition)
        .order_by(generations.c.row_number)
        .limit(bindparam("b_rows", type_=Integer))
        .with_for_update(skip_locked=True)  # SQLite, which has one writer at a time, leaves this out
        .cte("free")  # found once: as a subquery, Postgres may look again for each row, past the limit
    )
    return CLAIM.update(_KEY.in_(select(free))).values(run_id=bindparam("b_run_id")).returning(*_CLAIMED_COLUMNS)


def _claimed(row: Row[Any]) -> ClaimedRow:
    values = row._mapping  # noqa: SLF001 - the public name of SQLAlchemy's mapping view
    return ClaimedRow(
        batch=Batch(values["batch"]),
        row_key=RowKey(values["row_key"]),
        row_number=values["row_number"],
        request=Request(*row[: len(REQUEST_COLUMNS)]),
        credits_estimated=values["credits_estimated"],
        attempts=values["attempts"],
        fingerprint=values["fingerprint"],
        generation=values["generation"],
        image_base=values["image_base"] or ".",
    )


def release(connection: Connection, items: Sequence[Release]) -> list[bool]:
    """Give claimed rows back; False where the row was no longer this run's."""
    return [_release_one(connection, item) for item in items]


def _release_one(connection: Connection, item: Release) -> bool:
    # A row that a rerun wanted waits for its image, or another one, and for `generate`, which checks it again.
    move = UNREADABLE if item.invalid else RELEASE
    no_longer = {"rerun_wanted": False} if item.invalid else {}
    changed = connection.execute(
        move.update(
            generations.c.batch == item.row.batch,
            generations.c.row_key == item.row.row_key,
            generations.c.generation == item.row.generation,
            generations.c.run_id == item.run_id,
        ).values(error_code=item.code, error_message=item.message, **no_longer)
    )
    return changed.rowcount == 1


def release_all(connection: Connection, items: Sequence[RunId]) -> list[int]:
    """At a run's end: rows that it still held, of which no request is under way. Return how many."""
    return [connection.execute(RELEASE.update(generations.c.run_id == run_id)).rowcount for run_id in items]


def recover(connection: Connection, dead: Sequence[RunId]) -> tuple[int, int]:
    """What dead runs held: claimed rows become pending, sending rows in doubt. Return both counts."""
    if not dead:
        return 0, 0
    # All that is held, in these words: a narrower condition would hide the partial index from SQLite.
    theirs = and_(generations.c.run_id.in_(dead), in_states(HELD))
    returned = connection.execute(RELEASE.update(theirs))
    message = "the worker ended while the request was under way; it may have been charged"
    doubtful = connection.execute(
        DOUBTFUL.update(theirs)
        .values(error_code="in_doubt", error_message=message)
        .returning(generations.c.token, generations.c.batch, generations.c.run_id)
    )
    owners = {token: (batch, run_id) for token, batch, run_id in doubtful}
    _doubt(connection, owners, message)
    return returned.rowcount, len(owners)


def held(connection: Connection, by: Sequence[RunId]) -> int:
    """How many rows these runs hold."""
    theirs = select(func.count()).select_from(generations).where(generations.c.run_id.in_(by), in_states(HELD))
    return connection.scalar(theirs) or 0


def _doubt(connection: Connection, owners: Mapping[Token, tuple[Batch, RunId]], message: str) -> None:
    """What these attempts hold back is in doubt from now on, no longer under way."""
    sums = BalanceChanges()
    known = known_attempts(connection, owners)
    for token, before in known.items():
        if before.outcome is None:
            sums.add(*owners[token], before, before._replace(outcome=Ending.IN_DOUBT.value))
    unanswered = and_(attempts.c.token.in_(list(known)), attempts.c.outcome.is_(None))
    connection.execute(update(attempts).where(unanswered).values(outcome=Ending.IN_DOUBT, message=message))
    sums.write(connection)


def chunks(connection: Connection, scope: Scope, rows_each: int, limit: int | None) -> list[tuple[int, int]]:
    """Ranges of row numbers, or places in a sample, of `rows_each` claimable rows apiece, `limit` rows in all."""
    if scope.sample is not None:
        waiting = set(connection.scalars(select(generations.c.row_key).where(scope.condition())))
        places = [place for place, key in enumerate(scope.sample, start=1) if key in waiting][:limit]
        parts = [places[first : first + rows_each] for first in range(0, len(places), rows_each)]
        return [(part[0], part[-1]) for part in parts]
    rank = func.row_number().over(order_by=generations.c.row_number).label("rank")
    ranked = select(generations.c.row_number, rank).where(scope.condition()).subquery()
    inside = ranked.c.rank <= limit if limit is not None else ranked.c.rank > 0
    part = (ranked.c.rank - 1) // rows_each
    query = (
        select(func.min(ranked.c.row_number), func.max(ranked.c.row_number))
        .where(inside)
        .group_by(part)
        .order_by(func.min(ranked.c.row_number))
    )
    return [(first, last) for first, last in connection.execute(query)]
