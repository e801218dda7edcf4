"""What the API said last of too many requests, for all workers of an account."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select, update
from sqlalchemy.dialects import postgresql, sqlite

from reelbatch.domain import RunId
from reelbatch.ledger.engine import now
from reelbatch.ledger.schema import throttles


@dataclass(frozen=True, slots=True)
class Told:
    """One 429. `payer`: the account, or what stands for it; `wait_s`: seconds in which nothing should be sent."""

    payer: str
    run_id: RunId
    wait_s: float


@dataclass(frozen=True, slots=True)
class Throttle:
    """The last 429 of an account: who heard it, when, seconds since then, and seconds that are left to wait."""

    run_id: RunId
    at: datetime
    age_s: float
    left_s: float


def tell(connection: Connection, items: Sequence[Told]) -> list[None]:
    """Write down a 429; a longer wait that was told before still holds."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    for item in items:
        own, told = throttles.c.payer == item.payer, {"run_id": item.run_id, "wait_s": item.wait_s}
        new = dialect.insert(throttles).values(payer=item.payer, at=now(connection), **told)
        if connection.scalar(new.on_conflict_do_nothing().returning(throttles.c.payer)) is not None:
            continue
        connection.execute(select(throttles.c.payer).where(own).with_for_update())  # who tells it meanwhile is heard
        known = latest(connection, item.payer)
        told["wait_s"] = max(item.wait_s, known.left_s if known else 0.0)
        connection.execute(update(throttles).where(own).values(at=now(connection), **told))
    return [None] * len(items)


def latest(connection: Connection, payer: str) -> Throttle | None:
    """The last 429 of an account; one of a clock that was ahead counts as one of now."""
    found = connection.execute(select(throttles).where(throttles.c.payer == payer)).one_or_none()
    if found is None:
        return None
    age_s = max(0.0, (now(connection) - found.at).total_seconds())
    return Throttle(RunId(found.run_id), found.at, age_s, max(0.0, found.wait_s - age_s))
