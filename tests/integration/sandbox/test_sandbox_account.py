"""GET /v1/account: whose account it is and what it can still spend."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from reelbatch.client import Client, ClientOptions
from reelbatch.errors import ApiError, SettingsError
from reelbatch.sandbox import RunningSandbox, start
from reelbatch.sandbox.config import build_config

ACCOUNT, CREATE = "/v1/account", "/v1/image-to-video"
Connect = Callable[[RunningSandbox], httpx.Client]


def test_an_account_as_it_is_by_default(connect: Connect) -> None:
    """Named sandbox, with the starting balance, on the sandbox's plan, without a subscription."""
    with start(balance=640, plan="creator") as sandbox:
        answer = connect(sandbox).get(ACCOUNT)
        requests = sandbox.books(summary=True)["requests"]
    assert answer.json() == {
        "id": "sandbox",
        "email": "sandbox@example.com",
        "credits": 640,
        "tier": "creator",
        "subscription": None,
    }
    assert requests["account"] == 1


def test_credits_are_what_is_left(connect: Connect, body: dict[str, Any]) -> None:
    """The starting balance less charges, plus refunds: of a canceled video, and of a failed one never polled."""
    with start(balance=1000, queue_seconds=60) as sandbox:
        api = connect(sandbox)
        ids = [api.post(CREATE, json=body).json()["id"] for _ in range(3)]
        assert api.get(ACCOUNT).json()["credits"] == 1000 - 144
        sandbox.cancel(ids[0])
        assert api.get(ACCOUNT).json()["credits"] == 1000 - 144 + 48
    with start(balance=1000, queue_seconds=0, render_seconds=0, render_error_share=1) as sandbox:
        api = connect(sandbox)
        assert api.post(CREATE, json=body).status_code == 200
        assert api.get(ACCOUNT).json()["credits"] == 1000


async def test_our_client_reads_it() -> None:
    """With the subscription that the settings state."""
    settings = {"account_id": "acc_7", "account_email": None, "plan": "pro"}
    subscription = {"name": "Pro", "current_period_end": "2026-12-24T08:00:00Z"}
    with start(**settings, subscription=subscription) as sandbox:
        async with Client(sandbox.key, ClientOptions(base_url=sandbox.url)) as client:
            account = await client.get_account()
    assert (account.id, account.email, account.credits, account.tier) == ("acc_7", None, 10_000_000, "pro")
    assert account.subscription is not None
    assert (account.subscription.name, account.subscription.status) == ("Pro", "active")
    assert account.subscription.current_period_end is not None


def test_an_overdue_payment_makes_the_tier_free(connect: Connect, body: dict[str, Any]) -> None:
    """As the vendor does until it is paid: the free plan's defaults hold, too."""
    with start(plan="business", subscription={"status": "past_due"}) as sandbox:
        api = connect(sandbox)
        account = api.get(ACCOUNT).json()
        unstated = {key: value for key, value in body.items() if key not in {"model", "resolution"}}
        charged = api.post(CREATE, json=unstated).json()["credits_charged"]
    assert (account["tier"], account["subscription"]["status"]) == ("free", "past_due")
    assert charged == 2 * 60  # ltx-2.5, of which no rate is known


def test_a_wrong_key_has_no_account(http: httpx.Client, sandbox: RunningSandbox) -> None:
    """401, as for every other call."""
    assert http.get(sandbox.url + ACCOUNT).status_code == 401
    assert http.get(sandbox.url + ACCOUNT, headers={"Authorization": "Bearer wrong"}).status_code == 401


async def test_the_account_can_fail(sandbox: RunningSandbox) -> None:
    """An error, or no answer: early or late; then it is there again."""
    faults = {"account_fail": 1, "account_lost": 2, "account_stall": 3}  # the first that applies wins
    sandbox.set_faults(first=faults, stall_seconds=0.05)
    statuses = []
    async with Client(sandbox.key, ClientOptions(base_url=sandbox.url)) as client:
        for _ in range(3):
            with pytest.raises(ApiError) as error:
                await client.get_account()
            statuses.append(error.value.status)
        assert (await client.get_account()).id == "sandbox"
    assert statuses == [500, None, None]


def test_faults_of_the_account_do_not_hit_creates(
    sandbox: RunningSandbox, api: httpx.Client, body: dict[str, Any]
) -> None:
    """A run that can't learn its balance may still create."""
    sandbox.set_faults(share={"account_fail": 1})
    assert (api.get(ACCOUNT).status_code, api.post(CREATE, json=body).status_code) == (500, 200)


@pytest.mark.parametrize(
    ("stated", "named"),
    [
        ({"account_id": ""}, "account_id"),
        ({"subscription": "pro"}, "subscription"),
        ({"subscription": {"status": "late"}}, "subscription.status"),
        ({"subscription": {"amount": 1900}}, "subscription.amount: there is no such setting"),
    ],
)
def test_wrong_settings_of_the_account_are_named(stated: dict[str, Any], named: str) -> None:
    """With their path."""
    with pytest.raises(SettingsError, match=named):
        build_config(stated)
