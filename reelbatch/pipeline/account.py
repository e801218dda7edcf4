"""Whose account pays for a run: by the API where it says so, else by the key."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar, get_args

from reelbatch.client import Account, Client
from reelbatch.domain import Batch, Tier
from reelbatch.errors import ApiError
from reelbatch.ledger import Ledger, accounts, utc_now
from reelbatch.ledger.accounts import Payer, SeenAccount
from reelbatch.pipeline.asking_once import Said, keep, kept
from reelbatch.pipeline.resources import open_client
from reelbatch.retry import RetryPolicy, on_error, retry
from reelbatch.settings import Settings, api_of

PATIENCE_S = 10.0
"""How long the API may take to say whose key it is."""
_UNAUTHORIZED = 401
Answer = TypeVar("Answer")


class KeyRefused(ApiError):  # noqa: N818 - what the API did
    """The API does not accept the key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identified:
    """Who pays, and what is known of the account.

    Args:
        tier: of the account, as the API says or has said last.
        said: what the API says now; None: it did not answer.
        refusal: why the API does not accept the key.
    """

    payer: Payer
    tier: Tier | None = None
    said: Account | None = None
    refusal: str | None = None

    def applied_to(self, settings: Settings) -> Settings:
        """The settings with the account's tier, where they state none."""
        return settings if self.tier is None else settings.of_account(self.tier)


async def identify(ledger: Ledger, client: Client, settings: Settings) -> Identified:
    """Who pays: the account that the API names, else the one that it named last for this key."""
    said = await _said(client, settings)
    return await asyncio.to_thread(_identified, ledger, settings, said)


def ask(ledger: Ledger, settings: Settings) -> Identified:
    """The same outside of a run: for a plan, or before a question.

    Raises:
        KeyRefused: the API does not accept the key.
        SettingsError: there is no key.
    """

    async def asked() -> Said | KeyRefused | None:
        async with open_client(settings) as client:
            return await _said(client, settings)

    said = asyncio.run(asked())
    if isinstance(said, KeyRefused):
        raise said
    return _identified(ledger, settings, said)


def _identified(ledger: Ledger, settings: Settings, heard: Said | KeyRefused | None) -> Identified:
    """What the API said beside what the table knows, which keeps it. None: it said nothing."""
    seen, known = _last_seen(ledger, settings), payer(ledger, settings)
    if isinstance(heard, KeyRefused):
        return Identified(payer=known, refusal=str(heard))
    if heard is None:
        return Identified(payer=known, tier=_tier(None if seen is None else seen.tier))
    said = heard.account
    if known.key_hash is not None:
        told = SeenAccount(
            api=known.api,
            key_hash=known.key_hash,
            account=said.id,
            tier=said.tier,
            credits_=said.credits,
            seen_at=heard.at,
            period_end=None if said.subscription is None else said.subscription.current_period_end,
        )
        ledger.change(partial(accounts.see, seen=told))
    return Identified(payer=known._replace(account=said.id), tier=_tier(said.tier), said=said)


def as_last_seen(ledger: Ledger, settings: Settings) -> Settings:
    """The settings with the account's tier, where they state none, by the table alone."""
    return _identified(ledger, settings, None).applied_to(settings)


def needs_account(settings: Settings, bound: Payer | None, batch: Batch) -> str | None:
    """Why nothing is sent while no one knows whose account it is."""
    if bound is not None and bound.account:
        return f'batch "{batch}" belongs to account {bound.account}'
    return None if settings.budget is None else "a budget is set, which is counted by account"


async def _said(client: Client, settings: Settings) -> Said | KeyRefused | None:
    """The account; None where the API did not name it in time."""
    if (known := kept(settings)) is not None:
        return known
    try:
        return keep(settings, Said(await patiently(client.get_account, settings), utc_now()))
    except ApiError as error:
        return KeyRefused(str(error), status=error.status) if is_bad_key(error) else None


async def patiently(ask: Callable[[], Awaitable[Answer]], settings: Settings) -> Answer:
    """The answer to a question that costs nothing, asked again for a while where the API is away or too busy.

    Raises:
        ApiError: there was none.
    """
    policy = RetryPolicy(attempts=settings.retry_attempts, wait_s=settings.retry_wait_s, max_wait_s=PATIENCE_S / 4)
    try:
        async with asyncio.timeout(PATIENCE_S):
            return await retry(ask, policy, on_error(_may_pass))
    except TimeoutError as error:
        raise ApiError(f"no answer within {PATIENCE_S:g} s") from error


def is_bad_key(error: ApiError) -> bool:
    """Whether the API does not accept the key."""
    return error.status == _UNAUTHORIZED


def _may_pass(error: Exception) -> bool:
    """An API that is away or too busy is asked again; one that does not know the question is not."""
    return isinstance(error, ApiError) and (error.status is None or error.status >= 500 or error.status == 429)  # noqa: PLR2004 - HTTP


def _tier(said: str | None) -> Tier | None:
    """A tier that we know; what another word allows is not known."""
    return next((tier for tier in get_args(Tier) if tier == said), None)


def payer(ledger: Ledger, settings: Settings) -> Payer:
    """Who pays for a run with these settings, as far as the table knows; the API is not asked."""
    seen = _last_seen(ledger, settings)
    return Payer(api_of(settings.base_url), None if seen is None else seen.account, hash_of_key(ledger, settings))


def _last_seen(ledger: Ledger, settings: Settings) -> SeenAccount | None:
    api, key_hash = api_of(settings.base_url), hash_of_key(ledger, settings)
    if key_hash is None:
        return None
    return ledger.read(lambda connection: accounts.last_seen(connection, api, key_hash))


def hash_of_key(ledger: Ledger, settings: Settings) -> str | None:
    """What stands for the key in the table; None where there is no key. The table's own identity is the salt."""
    if settings.api_key is None:
        return None
    salt = ledger.read(accounts.identity)
    return hashlib.sha256(f"{salt}\n{settings.api_key.get_secret_value()}".encode()).hexdigest()
