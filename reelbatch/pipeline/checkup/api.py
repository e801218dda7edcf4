"""The key, the account behind it, and the API's clock."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from reelbatch.client import Account
from reelbatch.client.plain_questions import ask_plainly
from reelbatch.errors import ApiError
from reelbatch.pipeline.account import is_bad_key
from reelbatch.pipeline.checkup.checks import Check, ok, problem, warning
from reelbatch.pipeline.resources import open_client
from reelbatch.settings import Settings

_PATIENCE_S = 10.0
_SKEW_S, _TOO_MUCH_S = 30, 300
"""A webhook's event is accepted for five minutes."""
_KEY = "Set the environment variable MAGIC_HOUR_API_KEY, or try things out with --sandbox."


def key(settings: Settings) -> Iterator[Check]:
    """Whether there is one. It is never shown."""
    if settings.api_key is None:
        yield problem("key", "none", _KEY)
    else:
        yield ok("key", "set")


def account(settings: Settings) -> Iterator[Check]:
    """Whose key it is, and what it can spend."""
    if settings.api_key is None:
        return
    try:
        found = asyncio.run(_asked(settings))
    except ApiError as error:
        if is_bad_key(error):
            yield problem("account", "the API refuses the key", "Check MAGIC_HOUR_API_KEY.")
            return
        yield problem(
            "account", f"{settings.base_url}: {error}", "See whether the API can be reached, past a proxy too."
        )
    except TimeoutError:
        found_ = f"{settings.base_url} did not answer within {_PATIENCE_S:.0f} s"
        yield problem("account", found_, "See whether the API can be reached, past a proxy too.")
    else:
        yield from _standing(found, settings)


async def _asked(settings: Settings) -> Account:
    async with open_client(settings) as client, asyncio.timeout(_PATIENCE_S):
        return await client.get_account()


def _standing(found: Account, settings: Settings) -> Iterator[Check]:
    balance = "no balance stated" if found.credits is None else f"{found.credits:,} credits"
    who = f"{found.id}, tier {found.tier or 'not stated'}, {balance}"
    if found.credits == 0:
        yield warning("account", who, "Top it up: no create would be accepted.")
    elif settings.tier is not None and found.tier is not None and settings.tier != found.tier:
        yield warning("account", f"{who}; the settings say tier {settings.tier}", "Correct `tier`, or leave it out.")
    else:
        yield ok("account", who)
    if found.subscription is not None and found.subscription.status == "past_due":
        yield warning("account", "the subscription's payment is overdue", "Pay it: until then the tier is free.")


def clock(settings: Settings) -> Iterator[Check]:
    """This machine's clock against the API's; the key does not go along."""
    try:
        ahead_s = ask_plainly(f"{settings.base_url}/v1/account", timeout_s=_PATIENCE_S).ahead_s
    except ApiError as error:
        yield problem("clock", f"the API can't be asked: {error}", "See whether it can be reached, past a proxy too.")
        return
    if ahead_s is None:
        yield warning("clock", "the API names no time to compare with", "Compare this machine's clock with another.")
    elif abs(ahead_s) > _SKEW_S:
        found = f"this machine is {abs(ahead_s):,.0f} s {'behind' if ahead_s > 0 else 'ahead of'} the API"
        judged = problem if abs(ahead_s) > _TOO_MUCH_S else warning
        yield judged("clock", found, "Set the clock, by NTP: budgets and webhooks go by it.")
    else:
        yield ok("clock", "agrees with the API's")
