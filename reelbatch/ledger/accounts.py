"""Accounts: whose keys were used, who pays for a batch, what videos cost in truth, and what all workers share.

A cap is reserved against the prices that were seen, by price class. Workers of one API share its start times, and
those of one account count its unfinished videos together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    bindparam,
    false,
    func,
    not_,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from reelbatch.domain import UNSETTLED, Batch, Request, RowState, RunId, Token
from reelbatch.ledger import budget_counters
from reelbatch.ledger.columns import REQUEST_COLUMNS
from reelbatch.ledger.engine import now
from reelbatch.ledger.schema import accounts, apis, attempts, batches, generations, prices, schema_version
from reelbatch.ledger.transitions import in_states


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenAccount:
    """The account behind a key. `credits_`: its balance, None where the API names none."""

    api: str
    key_hash: str
    account: str
    tier: str | None
    credits_: int | None
    seen_at: datetime
    period_end: datetime | None = None  # of the subscription


def identity(connection: Connection) -> str:
    """What tells this table from any other, however its URL is spelt."""
    found: str | None = connection.scalar(select(schema_version.c.identity))
    return found or ""


def last_seen(connection: Connection, api: str, key_hash: str) -> SeenAccount | None:
    """The account that this key belonged to when the API last said so."""
    a = accounts.c
    query = select(a.api, a.key_hash, a.account, a.tier, a.credits.label("credits_"), a.seen_at, a.period_end)
    found = connection.execute(query.where(a.api == api, a.key_hash == key_hash)).mappings().one_or_none()
    return None if found is None else SeenAccount(**found)


def see(connection: Connection, seen: SeenAccount) -> None:
    """Keep what the API said."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    told = {"account": seen.account, "tier": seen.tier, "credits": seen.credits_, "seen_at": seen.seen_at}
    told |= {"period_end": seen.period_end}
    entry = dialect.insert(accounts).values(api=seen.api, key_hash=seen.key_hash, **told)
    connection.execute(entry.on_conflict_do_update(index_elements=[accounts.c.api, accounts.c.key_hash], set_=told))
    _bind(connection, Payer(seen.api, seen.account, seen.key_hash))


def bind(connection: Connection, batch: Batch, payer: Payer) -> None:
    """A batch that belongs to no account yet belongs to this one, unless another key has sent some of it."""
    _bind(connection, payer, batch)


_SENT = select(attempts.c.token).where(attempts.c.batch == batches.c.batch).exists()


def _bind(connection: Connection, payer: Payer, batch: Batch | None = None) -> None:
    """The batch, or all that were made with the key; what they have cost counts against the account's budget."""
    b = batches.c
    own = b.key_hash == payer.key_hash
    if batch is not None:
        own = and_(b.batch == batch, or_(own, b.key_hash.is_(None), ~_SENT))
    unbound = update(batches).where(b.api == payer.api, b.account.is_(None), own)
    if payer.account is not None and connection.execute(unbound.values(account=payer.account)).rowcount:
        budget_counters.forget(connection, payer.api, payer.account)


def is_of_another_key(connection: Connection, batch: Batch, payer: Payer) -> bool:
    """Whether it was sent with another key than this one, and no one knows whose that is."""
    b = batches.c
    unbound = and_(b.batch == batch, b.account.is_(None), b.key_hash != payer.key_hash)
    return connection.scalar(select(b.batch).where(unbound, _SENT)) is not None


class Payer(NamedTuple):
    """Who pays for a batch. `key_hash` stands for the account where that is not known."""

    api: str
    account: str | None = None
    key_hash: str | None = None

    @property
    def name(self) -> str:
        """Its account, else what stands for that."""
        return self.account or self.key_hash or ""

    def surely_paid(self, bound: Payer) -> bool:
        """Whether a batch that is bound so is this account's: only then does the API know all of its videos."""
        if self.api != bound.api:
            return False
        if bound.account:
            return self.account == bound.account
        return self.key_hash is not None and self.key_hash == bound.key_hash


def may_have_paid(payer: Payer) -> ColumnElement[bool]:
    """The batches that this account may have paid for; what is not known does not tell accounts apart."""
    b = batches.c
    same_key = true() if payer.key_hash is None else or_(b.key_hash.is_(None), b.key_hash == payer.key_hash)
    if payer.account is None:
        return and_(b.api == payer.api, same_key)
    return and_(b.api == payer.api, or_(b.account == payer.account, and_(b.account.is_(None), same_key)))


def payer_of(connection: Connection, batch: Batch) -> Payer | None:
    """Who pays for a batch, as far as the table knows; None for a batch that it does not have."""
    query = select(batches.c.api, batches.c.account, batches.c.key_hash).where(batches.c.batch == batch)
    found = connection.execute(query).one_or_none()
    return None if found is None else Payer(*found)


def relatives(connection: Connection, batch: Batch, payer: Payer) -> list[Batch]:
    """The other batches that the same account may have paid for."""
    query = select(batches.c.batch).where(batches.c.batch != batch, may_have_paid(payer))
    return [Batch(name) for name in connection.scalars(query)]


KEPT = timedelta(days=30)
"""How long a price counts as seen."""
_REFRESHED = timedelta(hours=1)
"""A price that stays the same is written again after so long, not with each answer."""


class PriceClass(NamedTuple):
    """Requests that cost the same."""

    api: str
    account: str  # its id, or what stands for it while that is not known
    model: str
    resolution: str
    audio: bool
    seconds: float


class Price(NamedTuple):
    """Credits of one video. `charged`: what the last create said; `settled`: what the last finished video cost."""

    charged: int | None = None
    settled: int | None = None
    is_fresh: bool = False

    @property
    def larger(self) -> int:
        """What has to be reckoned with; 0 where nothing was seen."""
        return max(self.charged or 0, self.settled or 0)


UNSEEN = Price()
_CLASS = tuple(prices.c[name] for name in PriceClass._fields)


def class_of(api: str, account: str, request: Request) -> PriceClass:
    """The price class of a request, by what it states."""
    stated = (request.model or "default", request.resolution or "default")
    return PriceClass(api, account, *stated, bool(request.audio), request.end_seconds or 0.0)


def price_of(connection: Connection, wanted: PriceClass) -> Price:
    """What was seen of a class."""
    found = connection.execute(_FIND, {f"b_{name}": value for name, value in wanted._asdict().items()}).one_or_none()
    return UNSEEN if found is None else Price(found[0], found[1], now(connection) - found[2] < KEPT)


class SeenPrice(NamedTuple):
    """What was seen of a class, and when."""

    kind: PriceClass
    price: Price
    seen_at: datetime


def seen_prices(connection: Connection, api: str | None = None) -> list[SeenPrice]:
    """Every class that was charged, of one API or of all."""
    at = now(connection)
    query = select(*_CLASS, prices.c.charged, prices.c.settled, prices.c.seen_at).order_by(*_CLASS)
    found = connection.execute(query if api is None else query.where(prices.c.api == api))
    return [
        SeenPrice(PriceClass(*kind), Price(charged, settled, at - seen_at < KEPT), seen_at)
        for *kind, charged, settled, seen_at in found
    ]


def has_kind(connection: Connection, batch: Batch, kind: PriceClass) -> bool:
    """Whether a row of the batch asks for a video of this class."""
    stated = (func.coalesce(_g.model, "default"), func.coalesce(_g.resolution, "default"))
    asked = (func.coalesce(_g.audio, false()), func.coalesce(_g.end_seconds, 0.0))
    same = (is_ == value for is_, value in zip((*stated, *asked), kind[2:], strict=True))
    return connection.execute(select(_g.batch).where(_g.batch == batch, *same).limit(1)).first() is not None


_FIND = select(prices.c.charged, prices.c.settled, prices.c.seen_at).where(
    and_(*(each == bindparam(f"b_{each.name}", type_=each.type) for each in _CLASS))
)
_g = generations.c
PAYER = func.coalesce(batches.c.account, batches.c.key_hash, "")
_ASKED = (
    select(batches.c.api, PAYER, _g.token, *(_g[name] for name in REQUEST_COLUMNS))
    .select_from(generations.join(batches, batches.c.batch == _g.batch))
    .where(_g.token.in_(bindparam("tokens", expanding=True)))
)


def see_charged(connection: Connection, figures: Mapping[Token, int]) -> None:
    """Keep what creates charged."""
    _see(connection, figures, "charged")


def see_settled(connection: Connection, figures: Mapping[Token, int]) -> None:
    """Keep what finished videos cost."""
    _see(connection, figures, "settled")


def _see(connection: Connection, figures: Mapping[Token, int], column: str) -> None:
    if not figures:
        return
    seen: dict[PriceClass, int] = {}
    for api, account, token, *asked in connection.execute(_ASKED, {"tokens": list(figures)}):
        wanted = class_of(api, account, Request(*asked))
        seen[wanted] = max(seen.get(wanted, 0), figures[token])
    for wanted in sorted(seen):  # everybody locks in this order
        _keep(connection, wanted, column, seen[wanted])


def _keep(connection: Connection, wanted: PriceClass, column: str, credits_: int) -> None:
    at = now(connection)
    own = and_(*(each == value for each, value in zip(_CLASS, wanted, strict=True)))
    query = select(prices.c[column], prices.c.seen_at).where(own)
    known = connection.execute(query).one_or_none()
    if known is not None and known[0] == credits_ and at - known[1] < _REFRESHED:
        return
    told: dict[str, Any] = {column: credits_, "seen_at": at}
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    entry = dialect.insert(prices).values(**wanted._asdict(), **told)
    connection.execute(entry.on_conflict_do_update(index_elements=list(_CLASS), set_=told))


@dataclass(frozen=True, slots=True)
class Lot:
    """A number of creates at one API, one every `spacing_s` seconds."""

    api: str
    creates: int
    spacing_s: float


def take_lots(connection: Connection, items: Sequence[Lot]) -> list[float]:
    """Hand out time: no two lots of one API overlap, for any caller. Return the seconds until each lot begins."""
    return [_take_lot(connection, item) for item in items]


def _take_lot(connection: Connection, item: Lot) -> float:
    next_start = lock(connection, item.api)
    at = now(connection)
    taken_at = connection.scalar(select(apis.c.taken_at).where(apis.c.api == item.api))
    if taken_at is None or taken_at > at:  # the clock was ahead then: only what was handed out beyond it counts
        next_start = at + (next_start - taken_at if taken_at else timedelta())
    start = max(next_start, at)
    end = start + timedelta(seconds=item.creates * item.spacing_s)
    connection.execute(update(apis).where(apis.c.api == item.api).values(next_start=end, taken_at=at))
    return (start - at).total_seconds()


def lock(connection: Connection, api: str) -> datetime:
    """No one else hands out or counts until the commit. Return when the next create may start."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    entry = select(apis.c.next_start).where(apis.c.api == api).with_for_update()
    while (found := connection.scalar(entry)) is None:
        new = dialect.insert(apis).values(api=api, next_start=now(connection))
        connection.execute(new.on_conflict_do_nothing())
    next_start: datetime = found
    return next_start


_KNOWN = or_(generations.c.error_code.is_(None), not_(generations.c.error_code.startswith("http_4")))


def unfinished(connection: Connection, payer: Payer) -> int:
    """Videos that this account may have made and that are queued or rendering, as far as the API says so.

    One of which it says something else, or that it does not know (yet), counts until `waited_until`.
    """
    g = generations.c
    hoped_for = or_(g.waited_until.is_(None), g.waited_until > now(connection))
    query = select(func.count()).select_from(generations.join(batches, batches.c.batch == g.batch))
    return connection.scalar(query.where(may_have_paid(payer), in_states(UNSETTLED), hoped_for)) or 0


def unfinished_elsewhere(connection: Connection, api: str) -> dict[str, int]:
    """The same for every API but this one, where there are any."""
    query = select(batches.c.api, func.count()).join(generations, batches.c.batch == generations.c.batch)
    query = query.where(batches.c.api != api, in_states(UNSETTLED), _KNOWN).group_by(batches.c.api)
    return dict(connection.execute(query.order_by(batches.c.api)).all())


def unfinished_of_others(connection: Connection, payer: Payer) -> dict[Batch, int]:
    """The same by batch for those of this API that another account, or another key, has made."""
    b = batches.c
    others = and_(b.api == payer.api, b.batch.not_in(select(b.batch).where(may_have_paid(payer))))
    query = select(b.batch, func.count()).join(generations, b.batch == generations.c.batch)
    query = query.where(others, b.archived_at.is_(None), in_states(UNSETTLED), _KNOWN).group_by(b.batch)
    return dict(connection.execute(query.order_by(b.batch)).all())


def leaving(connection: Connection, payer: Payer, besides: RunId | None = None) -> int:
    """Creates under way that this account may pay for: each may be a video in a moment. Not those of `besides`."""
    query = select(func.count()).select_from(generations.join(batches, batches.c.batch == generations.c.batch))
    query = query.where(may_have_paid(payer), in_states({RowState.SENDING}))
    if besides is not None:
        query = query.where(generations.c.run_id != besides)
    return connection.scalar(query) or 0


def occupied(connection: Connection, payer: Payer, besides: RunId) -> int:
    """Places in the render window that are taken, besides those of the creates that a run has under way."""
    return unfinished(connection, payer) + leaving(connection, payer, besides)
