"""Accounts whose keys were used: what was last seen of each."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select
from sqlalchemy.dialects import postgresql, sqlite

from reelbatch.ledger.schema import accounts, schema_version


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenAccount:
    """The account behind a key. `credits_`: its balance, None where the API names none."""

    api: str
    key_hash: str
    account: str
    tier: str | None
    credits_: int | None
    seen_at: datetime


def identity(connection: Connection) -> str:
    """What tells this table from any other, however its URL is spelt."""
    found: str | None = connection.scalar(select(schema_version.c.identity))
    return found or ""


def last_seen(connection: Connection, api: str, key_hash: str) -> SeenAccount | None:
    """The account that this key belonged to when the API last said so."""
    a = accounts.c
    query = select(a.api, a.key_hash, a.account, a.tier, a.credits.label("credits_"), a.seen_at)
    found = connection.execute(query.where(a.api == api, a.key_hash == key_hash)).mappings().one_or_none()
    return None if found is None else SeenAccount(**found)


def see(connection: Connection, seen: SeenAccount) -> None:
    """Keep what the API said."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    told = {"account": seen.account, "tier": seen.tier, "credits": seen.credits_, "seen_at": seen.seen_at}
    entry = dialect.insert(accounts).values(api=seen.api, key_hash=seen.key_hash, **told)
    connection.execute(entry.on_conflict_do_update(index_elements=[accounts.c.api, accounts.c.key_hash], set_=told))
