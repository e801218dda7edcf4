"""Whether a key is accepted, and whether the batch is its account's: asked once, before anything else is begun."""

from __future__ import annotations

import asyncio

from reelbatch.client import Account
from reelbatch.domain import Batch
from reelbatch.errors import ApiError
from reelbatch.ledger import Ledger, runs, utc_now
from reelbatch.ledger.accounts import Payer
from reelbatch.pipeline.account import KeyRefused, hash_of_key, is_bad_key
from reelbatch.pipeline.asking_once import Said, keep
from reelbatch.pipeline.resources import open_client, table_is_new
from reelbatch.settings import Settings, api_of

PATIENCE_S = 5.0
"""After silence a run asks again, with more patience, and decides what it means."""


def check_key(settings: Settings, batch: Batch | None) -> None:
    """Ask the API whose key it is. Where it does not say, nothing is wrong yet.

    Raises:
        SettingsError: there is no key.
        KeyRefused: the API does not accept it.
        LedgerUnusable: the batch belongs to another account, or to another API.
    """
    account = asyncio.run(_account(settings))
    if batch is None or table_is_new(settings):
        return
    with Ledger.to_read(settings.results) as ledger:
        who = Payer(api_of(settings.base_url), None if account is None else account.id, hash_of_key(ledger, settings))
        ledger.read(lambda connection: runs.check_batch(connection, batch, who))


async def _account(settings: Settings) -> Account | None:
    async with open_client(settings) as client:
        try:
            async with asyncio.timeout(PATIENCE_S):
                return keep(settings, Said(await client.get_account(), utc_now())).account
        except ApiError as error:
            if is_bad_key(error):
                raise KeyRefused(str(error), status=error.status) from error
        except TimeoutError:
            pass
        return None
