"""Whose account pays for a run: by the API where it says so, else by the key."""

from __future__ import annotations

import hashlib

from reelbatch.ledger import Ledger, accounts
from reelbatch.ledger.paid_requests import Payer
from reelbatch.settings import Settings, api_of


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
