"""Who runs: start, heartbeat, end, and telling a dead worker from a slow one."""

from __future__ import annotations

import getpass
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from weakref import WeakKeyDictionary

from sqlalchemy import URL, ColumnElement, Connection, Engine, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from reelbatch.domain import HELD, Batch, RunId, Token, VideoId
from reelbatch.errors import LedgerUnusable
from reelbatch.ledger import budget_counters
from reelbatch.ledger.accounts import Payer, bind, is_of_another_key
from reelbatch.ledger.engine import now
from reelbatch.ledger.process_liveness import is_dead, this_machine
from reelbatch.ledger.schema import accounts, attempts, batches, generations, runs
from reelbatch.ledger.transitions import in_states
from reelbatch.machine import machine
from reelbatch.typed_options import command

DIED = "died"
"""Why a run ended that could not say so itself."""


@dataclass(frozen=True, slots=True)
class Run:
    """One process at work on one batch."""

    run_id: RunId
    batch: Batch
    command: str
    max_credits: int | None
    started_at: datetime


@dataclass(frozen=True, slots=True)
class End:
    """Why a run ended."""

    run_id: RunId
    at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A sign of life."""

    run_id: RunId
    at: datetime


_begun: WeakKeyDictionary[Engine, dict[RunId, str]] = WeakKeyDictionary()
_left: set[tuple[URL, RunId]] = set()


def leave(engine: Engine) -> None:
    """No one works through `engine` any more: its runs are over, even where the table would not take their end."""
    _left.update((engine.url, run_id) for run_id in _begun.pop(engine, {}))


def secret_of(engine: Engine, run_id: RunId) -> str | None:
    """What signs the answers of a run that began through `engine`; None for any other."""
    return _begun.get(engine, {}).get(run_id)


def user_name() -> str:
    """Who runs this process."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        return str(os.getuid()) if hasattr(os, "getuid") else "unknown"


def start(connection: Connection, items: Sequence[Run]) -> list[None]:
    """Record that runs began."""
    process = machine.get().own_process()
    begun = _begun.setdefault(connection.engine, {})
    for run in items:
        begun[run.run_id] = secrets.token_hex(32)
        values = {
            "run_id": run.run_id,
            "batch": run.batch,
            "command": run.command,
            "host": this_machine(),
            "pid": process.pid,
            "pid_started": process.started,
            "user_name": user_name(),
            "started_at": run.started_at,
            "heartbeat_at": _sign_of_life(connection, run.started_at),
            "max_credits": run.max_credits,
            "secret": begun[run.run_id],
        }
        connection.execute(insert(runs).values(values))
    return [None] * len(items)


def _sign_of_life(connection: Connection, at: datetime) -> ColumnElement[datetime] | datetime:
    """By the database's clock where there is one: those of two machines may differ by more than a lease."""
    return at if connection.dialect.name == "sqlite" else func.clock_timestamp()


def beat(connection: Connection, items: Sequence[Heartbeat]) -> list[None]:
    """Push the lease's end back; a run that was taken for dead is at work again."""
    for item in items:
        own = update(runs).where(runs.c.run_id == item.run_id)
        connection.execute(own.values(heartbeat_at=_sign_of_life(connection, item.at)))
        connection.execute(own.where(runs.c.exit_reason == DIED).values(ended_at=None, exit_reason=None))
    return [None] * len(items)


def end(connection: Connection, items: Sequence[End]) -> list[None]:
    """Record that runs ended, and why."""
    for item in items:
        ended = {"ended_at": item.at, "heartbeat_at": item.at, "exit_reason": item.reason}
        connection.execute(update(runs).where(runs.c.run_id == item.run_id).values(ended))
    return [None] * len(items)


def withdraw(connection: Connection, items: Sequence[End]) -> list[None]:
    """Forget runs that changed nothing and sent nothing, since another one does their work from its start."""
    connection.execute(delete(runs).where(runs.c.run_id.in_([item.run_id for item in items])))
    return [None] * len(items)


@dataclass(frozen=True, slots=True)
class Payment:
    """A run, and the key that pays for what it sends."""

    run_id: RunId
    api: str
    key_hash: str | None


def note_balance(connection: Connection, items: Sequence[Payment]) -> list[None]:
    """Keep the account of runs as the API said it last, with the time at which it did."""
    for item in items:
        a = accounts.c
        query = select(a.account, a.credits.label("balance"), a.seen_at.label("balance_at"), a.period_end)
        found = (
            connection.execute(query.where(a.api == item.api, a.key_hash == item.key_hash)).mappings().one_or_none()
        )
        if found is not None:
            connection.execute(update(runs).where(runs.c.run_id == item.run_id).values(dict(found)))
    return [None] * len(items)


def lost(connection: Connection, at: datetime, lease: timedelta, *, locked: bool = True) -> list[RunId]:
    """Runs that hold rows, or never ended, although no one is at work for them any more.

    That is: they ended, their process is gone, or their lease has run out. On this machine the process itself is
    asked, so a slow worker is never taken for a dead one and a killed one is found at once. `locked`: no one else may
    change them meanwhile, which needs the right to write.
    """
    columns = (runs.c.run_id, runs.c.host, runs.c.pid, runs.c.pid_started, runs.c.heartbeat_at)
    # In this order: who held rows before, and is not open afterwards, has really ended and has not just begun.
    holders = connection.scalars(select(generations.c.run_id).where(in_states(HELD)).distinct()).all()
    not_ended = select(*columns).where(runs.c.ended_at.is_(None))
    unended = connection.execute(not_ended.with_for_update() if locked else not_ended).all()
    if locked and any(row.heartbeat_at > at for row in unended):
        # Of a clock that was ahead, before a restart perhaps: it counts as one of now, so a lease goes by at most.
        ahead = update(runs).where(runs.c.ended_at.is_(None), runs.c.heartbeat_at > at)
        connection.execute(ahead.values(heartbeat_at=at))
    open_runs = {row.run_id for row in unended}
    ended = [RunId(run_id) for run_id in holders if run_id not in open_runs]
    return ended + [
        RunId(run_id)
        for run_id, host, pid, pid_started, heartbeat_at in unended
        if (connection.engine.url, run_id) in _left
        or is_dead(host, pid, pid_started, expired=at - heartbeat_at > lease)
    ]


def mark_dead(connection: Connection, run_ids: Sequence[RunId], at: datetime) -> None:
    """Close the runs of dead workers that could not do so themselves."""
    if run_ids:
        unended = update(runs).where(runs.c.run_id.in_(run_ids), runs.c.ended_at.is_(None))
        connection.execute(unended.values(ended_at=at, exit_reason=DIED))


def open_batch(connection: Connection, batch: Batch, payer: Payer, base: str) -> None:
    """Make the batch's entry where there is none, or note who pays for it; it is archived no longer.

    `base`: where relative image paths start.

    Raises:
        LedgerUnusable: it belongs to another API or account.
    """
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    values = {"batch": batch, "base": base, "created_at": now(connection), **payer._asdict()}
    entry = dialect.insert(batches).values(values)
    connection.execute(entry.on_conflict_do_nothing(index_elements=[batches.c.batch]))
    lock_batch(connection, batch)
    check_batch(connection, batch, payer)  # afterwards: another worker may just have made the entry
    bind(connection, batch, payer)
    known = {name: value for name, value in payer._asdict().items() if value is not None and name != "api"}
    own = update(batches).where(batches.c.batch == batch)
    if known:
        connection.execute(own.values(known))
    connection.execute(own.where(batches.c.archived_at.is_not(None)).values(archived_at=None))


def set_base(connection: Connection, batch: Batch, base: str) -> None:
    """Where the images of the rows that the manifest has start, now that it is in the table."""
    connection.execute(update(batches).where(batches.c.batch == batch, batches.c.base != base).values(base=base))


def archive(connection: Connection, batch: Batch, at: datetime | None) -> bool:
    """Take a batch out of what a command means that names none, or (`at` None) back in; False: it was so already."""
    before = batches.c.archived_at.is_(None) if at else batches.c.archived_at.is_not(None)
    change = update(batches).where(batches.c.batch == batch, before).values(archived_at=at)
    return connection.execute(change).rowcount == 1


def lock_batch(connection: Connection, batch: Batch) -> None:
    """No one else changes the batch's entry until the commit."""
    connection.execute(select(batches.c.batch).where(batches.c.batch == batch).with_for_update())


def base_of(connection: Connection, batch: Batch) -> str | None:
    """Where the batch's relative image paths start; None for an unknown batch."""
    base: str | None = connection.scalar(select(batches.c.base).where(batches.c.batch == batch))
    return base


def live_batches(connection: Connection) -> list[tuple[str, str]]:
    """Batches whose videos are not of this machine, each with its API."""
    query = select(batches.c.batch, batches.c.api).where(batches.c.api != "local").order_by(batches.c.batch)
    return [(batch, api) for batch, api in connection.execute(query)]


def check_batch(connection: Connection, batch: Batch, payer: Payer) -> None:
    """A batch belongs to one account of one API; to the key that it was sent with while its account is not known.

    Raises:
        LedgerUnusable: its videos were made by another one, so their ids and costs would be mixed.
    """
    known = connection.execute(select(batches.c.api, batches.c.account).where(batches.c.batch == batch)).one_or_none()
    remedy = "Choose another name with --batch, or another table with --results."
    if known is None:
        return
    if known.api != payer.api:
        raise LedgerUnusable(
            f'batch "{batch}" was generated with {known.api}, and this run would use {payer.api}. {remedy}'
        )
    if known.account and payer.account and known.account != payer.account:
        raise LedgerUnusable(
            f'batch "{batch}" belongs to account {known.account}, and this key is of account {payer.account}. '
            f"Use the key of {known.account}. {remedy}"
        )
    if is_of_another_key(connection, batch, payer):
        raise LedgerUnusable(
            f'batch "{batch}" was sent with another key, and the API has not said whose account that is. '
            "Use the key that it was sent with; where that is gone, "
            f"`{command('settle', batch=batch)}` asks about one of its videos by this key. {remedy}"
        )


def last_videos(connection: Connection, batch: Batch, limit: int) -> list[tuple[Token, VideoId]]:
    """Its videos that were made last, each with the mark that its name ends in."""
    a = attempts.c
    own = (a.batch == batch, a.video_id.is_not(None), a.same_as.is_(None))
    query = select(a.token, a.video_id).where(*own).order_by(a.started_at.desc()).limit(limit)
    return [(Token(token), VideoId(video_id)) for token, video_id in connection.execute(query)]


def is_of(connection: Connection, batch: Batch, payer: Payer) -> None:
    """A batch whose account no one named is this one's: by its key the API knows the batch's videos."""
    unbound = update(batches).where(batches.c.batch == batch, batches.c.account.is_(None))
    connection.execute(unbound.values(account=payer.account, key_hash=payer.key_hash))
    if payer.account is not None:
        budget_counters.forget(connection, payer.api, payer.account)
