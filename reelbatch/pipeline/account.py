"""Whose account pays for a run: by the API where it says so, else by the key."""

from __future__ import annotations

import asyncio
import hashlib
from functools import partial

from reelbatch.client import Account, Client
from reelbatch.errors import ApiError
from reelbatch.ledger import Ledger, accounts, utc_now
from reelbatch.ledger.accounts import Payer, SeenAccount
from reelbatch.retry import RetryPolicy, on_error, retry
from reelbatch.settings import Settings, api_of

PATIENCE_S = 10.0
"""How long the API may take to say whose key it is."""
_UNAUTHORIZED = 401


class KeyRefused(ApiError):  # noqa: N818 - what the API did
    """The API does not accept the key."""


async def identify(ledger: Ledger, client: Client, settings: Settings) -> Payer:
    """Who pays for a run: the account that the API names, else the one that it named last for this key.

    Raises:
        KeyRefused: the API does not accept the key.
    """
    known = await asyncio.to_thread(payer, ledger, settings)
    try:
        account = await _asked(client, settings)
    except ApiError as error:
        if error.status == _UNAUTHORIZED:
            raise KeyRefused(str(error), status=error.status) from error
        return known
    except TimeoutError:
        return known
    if known.key_hash is not None:
        seen = SeenAccount(
            api=known.api,
            key_hash=known.key_hash,
            account=account.id,
            tier=account.tier,
            credits_=account.credits,
            seen_at=utc_now(),
            period_end=None if account.subscription is None else account.subscription.current_period_end,
        )
        await asyncio.to_thread(ledger.change, partial(accounts.see, seen=seen))
    return known._replace(account=account.id)


async def _asked(client: Client, settings: Settings) -> Account:
    policy = RetryPolicy(attempts=settings.retry_attempts, wait_s=settings.retry_wait_s, max_wait_s=PATIENCE_S / 4)
    async with asyncio.timeout(PATIENCE_S):
        return await retry(client.get_account, policy, on_error(_may_pass))


def _may_pass(error: Exception) -> bool:
    """An API that is away or too busy is asked again; one that does not know the question is not."""
    return isinstance(error, ApiError) and (error.status is None or error.status >= 500 or error.status == 429)  # noqa: PLR2004 - HTTP


def payer(ledger: Ledger, settings: Settings) -> Payer:
    """Who pays for a run with these settings, as far as the table knows; the API is not asked."""
    api, key_hash = api_of(settings.base_url), hash_of_key(ledger, settings)
    known = (
        None if key_hash is None else ledger.read(lambda connection: accounts.last_seen(connection, api, key_hash))
    )
    return Payer(api, None if known is None else known.account, key_hash)


def hash_of_key(ledger: Ledger, settings: Settings) -> str | None:
    """What stands for the key in the table; None where there is no key. The table's own identity is the salt."""
    if settings.api_key is None:
        return None
    salt = ledger.read(accounts.identity)
    return hashlib.sha256(f"{salt}\n{settings.api_key.get_secret_value()}".encode()).hexdigest()
