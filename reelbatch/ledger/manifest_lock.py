"""Reading a manifest once: of several workers that start with the same one, the first reads it, the others join."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from reelbatch.domain import Batch, RunId
from reelbatch.errors import LedgerError
from reelbatch.ledger.schema import loads, runs
from reelbatch.printable import is_utf8

_NO_DIGEST = ""
_NAMED = '{"manifest": '
"""How the JSON of a plan begins."""
_LONGEST = 50_000  # signs: a path has 4,096 bytes, and JSON writes each with six signs at the most


class Overtaken(LedgerError):  # noqa: N818 - a word for one who was
    """Another run reads the manifest now."""


@dataclass(frozen=True, slots=True)
class Load:
    """A run that wants a manifest in the table. `digest`: of its content and of how it is read."""

    batch: Batch
    run_id: RunId
    digest: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a run found in a manifest, as JSON."""

    load: Load
    plan: str


@dataclass(frozen=True, slots=True)
class Mine:
    """No one else has read it: this run does."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Another run reads a manifest into this batch."""


@dataclass(frozen=True, slots=True)
class Joined:
    """A run that is still at work has read the same manifest, and found this."""

    plan: str


def begin(connection: Connection, items: Sequence[Load]) -> list[Mine | Wait | Joined]:
    """Who reads. Runs of dead workers count for nothing once `recover` has closed them."""
    return [_begin(connection, item) for item in items]


def _begin(connection: Connection, item: Load) -> Mine | Wait | Joined:
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    values = {"digest": item.digest, "run_id": item.run_id, "started_at": item.at, "ended_at": None}
    new = dialect.insert(loads).values(batch=item.batch, **values).on_conflict_do_nothing().returning(loads.c.batch)
    last = None
    while last is None:  # between the two someone may give up, and his entry is gone
        if connection.scalar(new) is not None:
            return Mine()
        last = connection.execute(select(loads).where(loads.c.batch == item.batch).with_for_update()).one_or_none()
    at_work = select(runs.c.run_id).where(runs.c.run_id == last.run_id, runs.c.ended_at.is_(None))
    if last.run_id != item.run_id and connection.scalar(at_work) is not None:
        if last.ended_at is None:
            return Wait()
        if last.digest == item.digest:
            return Joined(last.plan)
    connection.execute(update(loads).where(loads.c.batch == item.batch).values(values))
    return Mine()


def still_mine(connection: Connection, item: Load) -> None:
    """Begins each transaction of a load; the one who would take it over waits for the commit.

    Raises:
        Overtaken: this run was taken for dead, and another one reads the manifest now.
    """
    own = (loads.c.batch == item.batch, loads.c.run_id == item.run_id, loads.c.ended_at.is_(None))
    if connection.scalar(select(loads.c.batch).where(*own).with_for_update(read=True)) is None:
        raise Overtaken(f'another worker has taken over reading the manifest of batch "{item.batch}"')


def end(connection: Connection, items: Sequence[Loaded]) -> list[None]:
    """The manifest is in the table."""
    for item in items:
        own = update(loads).where(loads.c.batch == item.load.batch, loads.c.run_id == item.load.run_id)
        connection.execute(own.values(ended_at=item.load.at, plan=item.plan))
    return [None] * len(items)


def last_read(connection: Connection, batch: Batch) -> str | None:
    """The digest of the manifest that was read last, to its end."""
    query = select(loads.c.digest).where(loads.c.batch == batch, loads.c.ended_at.is_not(None))
    return connection.scalar(query)


def manifests(connection: Connection) -> dict[str, str]:
    """The manifest that each batch was read from last, as it was named; one that can't be used was not."""
    beginning = func.substr(loads.c.plan, 1, _LONGEST)
    found = connection.execute(select(loads.c.batch, beginning).where(loads.c.plan.startswith(_NAMED)))
    names = ((batch, _name_in(plan)) for batch, plan in found)
    return {batch: name for batch, name in names if name is not None and is_utf8(name)}


def _name_in(plan: str) -> str | None:
    """Not by the database's JSON: a name that is no UTF-8 would make the whole table unreadable."""
    try:
        name: str | None = json.JSONDecoder().raw_decode(plan, len(_NAMED))[0]
    except ValueError:
        return None
    return name


def give_up(connection: Connection, items: Sequence[Load]) -> list[None]:
    """It could not be read; the next who wants it need not wait, and the one before it is still the last."""
    for item in items:
        own = loads.c.batch == item.batch, loads.c.run_id == item.run_id
        connection.execute(delete(loads).where(*own, loads.c.plan.is_(None)))
        connection.execute(update(loads).where(*own).values(digest=_NO_DIGEST, ended_at=item.at))
    return [None] * len(items)
