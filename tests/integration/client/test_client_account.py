"""Whose key it is and what it can spend: `GET /v1/account`, also where the answer is odd."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from raw_server import KEY, Connect, Serve, answer, keeping

from reelbatch.client import Account, Price, Subscription
from reelbatch.errors import ApiError

SUBSCRIPTION = {
    "name": "Creator",
    "status": "active",
    "price": {"amount": 1900, "currency": "usd"},
    "billing_interval": "month",
    "current_period_end": "2026-12-24T08:00:00.000Z",
    "cancel_at_period_end": False,
    "discount": None,
}
WHOLE = {
    "id": "acc_1",
    "email": "me@example.com",
    "credits": 11_812,
    "tier": "creator",
    "subscription": SUBSCRIPTION,
}


async def told(serve: Serve, connect: Connect, content: Any) -> Account:
    """What the client makes of an account that the API states as `content`."""
    server, _ = await keeping(serve, answer(json.dumps(content).encode()))
    async with connect(server.url) as client:
        return await client.get_account()


async def test_an_account_is_read_whole(serve: Serve, connect: Connect) -> None:
    """Balance, tier and subscription, by one GET that carries the key."""
    server, seen = await keeping(serve, answer(json.dumps(WHOLE).encode()))
    async with connect(server.url) as client:
        account = await client.get_account()
    assert (account.id, account.email, account.credits, account.tier) == (
        "acc_1",
        "me@example.com",
        11_812,
        "creator",
    )
    assert account.subscription == Subscription(
        name="Creator",
        status="active",
        price=Price(1900, "usd"),
        billing_interval="month",
        current_period_end=datetime(2026, 12, 24, 8, tzinfo=UTC),
        cancel_at_period_end=False,
    )
    (request,) = seen
    assert request.startswith(b"GET /v1/account HTTP/1.1\r\n")
    assert f"Bearer {KEY}".encode() in request


async def test_an_account_without_a_subscription(serve: Serve, connect: Connect) -> None:
    """Free accounts, and those billed by usage."""
    account = await told(serve, connect, {**WHOLE, "tier": "free", "subscription": None})
    assert (account.tier, account.subscription) == ("free", None)


@pytest.mark.parametrize("stated", [None, "many", 0.5, -1, True, [], {}, 10**30])
async def test_a_balance_that_is_none_is_unknown(serve: Serve, connect: Connect, stated: Any) -> None:
    """An odd figure is no balance, and no reason to know nothing of the account."""
    account = await told(serve, connect, {**WHOLE, "credits": stated})
    assert (account.id, account.credits) == ("acc_1", None)


@pytest.mark.parametrize(("stated", "read"), [(0, 0), (5.0, 5), ("640", 640)])
async def test_a_balance_is_a_whole_number(serve: Serve, connect: Connect, stated: Any, read: int) -> None:
    """Zero is a balance; a number may come as text."""
    assert (await told(serve, connect, {**WHOLE, "credits": stated})).credits == read


async def test_only_the_id_is_needed(serve: Serve, connect: Connect) -> None:
    """Every other field may be missing; an unknown one is kept in `raw`."""
    account = await told(serve, connect, {"id": "acc_1", "seats": 3})
    assert (account.email, account.credits, account.tier, account.subscription) == (None, None, None, None)
    assert account.raw["seats"] == 3


@pytest.mark.parametrize("stated", ["yes", [], 7])
async def test_an_odd_subscription_is_none(serve: Serve, connect: Connect, stated: Any) -> None:
    """It says nothing that could be used."""
    assert (await told(serve, connect, {**WHOLE, "subscription": stated})).subscription is None


async def test_odd_parts_of_a_subscription_are_unknown(serve: Serve, connect: Connect) -> None:
    """Each by itself; a time without an offset is UTC."""
    odd = {
        "name": 7,
        "status": "paused",
        "price": {"amount": "?"},
        "billing_interval": None,
        "current_period_end": "2026-12-24",
        "cancel_at_period_end": "no",
    }
    subscription = (await told(serve, connect, {**WHOLE, "subscription": odd})).subscription
    end = datetime(2026, 12, 24, tzinfo=UTC)
    assert subscription == Subscription(None, "paused", Price(None, None), None, end, None)
    odd = {"price": 1900, "current_period_end": 20261224}
    subscription = (await told(serve, connect, {**WHOLE, "subscription": odd})).subscription
    assert subscription == Subscription(None, None, None, None, None, None)


@pytest.mark.parametrize("stated", [None, 7, "", "  ", "a\x00b", "\ud800", {}])
async def test_an_account_without_an_id_is_an_error(serve: Serve, connect: Connect, stated: Any) -> None:
    """A batch belongs to an account id, so an answer without one is of no use."""
    with pytest.raises(ApiError, match="lacks its id"):
        await told(serve, connect, {**WHOLE, "id": stated})


@pytest.mark.parametrize("status", ["401 Unauthorized", "404 Not Found", "503 Service Unavailable"])
async def test_a_refusal_has_its_status(serve: Serve, connect: Connect, status: str) -> None:
    """The caller decides what a wrong key means."""
    server, _ = await keeping(serve, answer(b'{"code": "unauthorized", "message": "No such key"}', status))
    async with connect(server.url) as client:
        with pytest.raises(ApiError, match="No such key") as error:
            await client.get_account()
    assert error.value.status == int(status[:3])


@pytest.mark.parametrize("body", [b"", b"[]", b"<html>", b'{"id": "acc_1"'])
async def test_an_answer_that_is_no_account_is_an_error(serve: Serve, connect: Connect, body: bytes) -> None:
    """Without a status: the API refused nothing."""
    server, _ = await keeping(serve, answer(body))
    async with connect(server.url) as client:
        with pytest.raises(ApiError) as error:
            await client.get_account()
    assert error.value.status is None


async def test_an_account_in_a_log_tells_no_address(serve: Serve, connect: Connect) -> None:
    """The e-mail address is personal and not part of the repr."""
    assert "me@example.com" not in repr(await told(serve, connect, WHOLE))
