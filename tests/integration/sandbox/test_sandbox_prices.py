"""The sandbox's own price list: what it charges, how that changes, and what a create says of it."""

from collections.abc import Callable, Mapping
from typing import Any

import httpx
import pytest

from reelbatch.domain import Request
from reelbatch.errors import SettingsError
from reelbatch.model_table import load_models
from reelbatch.sandbox import RunningSandbox, start
from reelbatch.sandbox.config import build_config
from reelbatch.sandbox.prices import ChargeSays, PriceList

CREATE = "/v1/image-to-video"
Connect = Callable[[RunningSandbox], httpx.Client]
RATES: Mapping[str, Mapping[str, int]] = {  # the vendor's public pages of August 2026
    "ltx-2.3": {"480p": 24, "720p": 48, "1080p": 72},
    "wan-2.2": {"480p": 24, "720p": 48, "1080p": 72},
    "minimax-h3": {"480p": 24, "720p": 48, "1080p": 72},
    "kling-2.6": {"720p": 36, "1080p": 72},
    "kling-2.5": {"720p": 36, "1080p": 72},
    "kling-3.0": {"720p": 48, "1080p": 72, "4k": 240},
    "veo3.1-lite": {"720p": 48, "1080p": 72},
    "veo3.1": {"720p": 96, "1080p": 120},
    "seedance-1.5": {"480p": 30, "720p": 60, "1080p": 90},
    "seedance-2.0-mini": {"480p": 96, "720p": 192},
    "seedance-2.0": {"480p": 144, "720p": 288},
    "seedance-2.5": {"480p": 288, "720p": 576},
    "sora-2": {"720p": 120},
}


def wanted(**fields: Any) -> Request:
    return Request("a.png", None, 10.0)._replace(**fields)


def listed(tier: str = "business", **options: Any) -> PriceList:
    return PriceList(tier=tier, unknown_rate=60, **options)


@pytest.mark.parametrize(
    ("model", "resolution", "rate"),
    [(model, resolution, rate) for model, rates in RATES.items() for resolution, rate in rates.items()],
)
def test_public_rates_are_charged(model: str, resolution: str, rate: int) -> None:
    """Ten seconds of each model at each resolution with a public rate."""
    assert listed().credits(wanted(model=model, resolution=resolution)) == 10 * rate


@pytest.mark.parametrize(
    ("model", "resolution", "rate"),
    [
        ("kling-3.0", "720p", 48 + 24),
        ("kling-3.0", "4k", 240 + 48),
        ("veo3.1", "1080p", 120 + 24),
        ("veo3.1-lite", "720p", 48 + 24),
        ("seedance-1.5", "480p", 30 * 2),
        ("seedance-2.0", "720p", 288),
        ("sora-2", "720p", 120),
        ("wan-3.0", "720p", 60),
    ],
)
def test_audio_costs_what_the_model_asks_for_it(model: str, resolution: str, rate: int) -> None:
    """A surcharge, a factor, or nothing; the stand-in for an unknown rate has no surcharge."""
    assert listed().credits(wanted(model=model, resolution=resolution, audio=True)) == 10 * rate


@pytest.mark.parametrize(
    ("tier", "fields", "rate"),
    [
        ("pro", {}, 48),  # kling-3.0 at 720p
        ("pro", {"model": "default", "audio": True}, 72),
        ("pro", {"resolution": "480p"}, 30),  # seedance-1.5
        ("pro", {"resolution": "480p", "end_seconds": 20.0}, 24),  # ltx-2.3
        ("pro", {"end_seconds": 20.0}, 48),
        ("pro", {"resolution": "4k", "end_seconds": 20.0}, 60),  # which ltx-2.3 does not offer
        ("free", {}, 60),  # ltx-2.5 at 480p, without a public rate
        ("pro", {"model": "veo3.1-audio", "end_seconds": 8.0}, 96 + 24),
        ("pro", {"model": "ltx-2.3"}, 48),
        ("free", {"model": "ltx-2.3"}, 24),
        ("pro", {"model": "nova-1"}, 60),
    ],
)
def test_what_a_request_leaves_open_is_chosen_by_plan_resolution_and_length(
    tier: str, fields: dict[str, Any], rate: int
) -> None:
    """Model and resolution as the vendor chooses them; old names are models with audio."""
    request = wanted(**fields)
    assert listed(tier).credits(request) == rate * (request.end_seconds or 0)


def test_the_older_table_knows_no_models() -> None:
    """Profile `legacy`: by resolution only, and 24 frames a second at 480p."""
    legacy = listed(profile="legacy")
    found = [legacy.credits(wanted(model="veo3.1", resolution=size)) for size in ("480p", "720p", "1080p")]
    assert found == [240, 600, 1200]
    assert [legacy.frame_rate(wanted(resolution=size)) for size in ("480p", "720p")] == [24, 30]
    assert listed().frame_rate(wanted(resolution="480p")) is None


def test_fractions_are_rounded_up_once() -> None:
    """1.1 seconds at 100 credits are 110, not 111; a part of a credit is a whole one."""
    list_ = listed(overrides={"ltx-2.3": {"720p": 100}})
    assert list_.credits(wanted(model="ltx-2.3", end_seconds=1.1)) == 110
    assert list_.credits(wanted(model="ltx-2.3", end_seconds=1.111)) == 112


def test_the_sandbox_may_charge_something_else_than_the_estimate(connect: Connect, body: dict[str, Any]) -> None:
    """Its prices are its own: the estimate of the table of models can be wrong, and a new model can have a price."""
    prices = {"ltx-2.3": {"480p": 31}, "nova-1": {"480p": 7}, "wan-3.0": {"480p": 5}}
    with start(prices=prices) as sandbox:
        api = connect(sandbox)
        found = {model: api.post(CREATE, json={**body, "model": model}).json()["credits_charged"] for model in prices}
        elsewhere = api.post(CREATE, json={**body, "resolution": "720p"}).json()["credits_charged"]
    estimate = load_models().estimate(wanted(model="ltx-2.3", resolution="480p", end_seconds=2.0))
    assert (estimate, found["ltx-2.3"], elsewhere) == (48, 62, 96)
    assert (found["nova-1"], found["wan-3.0"]) == (14, 10)


def test_prices_change_after_a_number_of_creates(connect: Connect, body: dict[str, Any]) -> None:
    """Two at the old price, then a quarter more; a refusal is no create."""
    with start(price_change={"after_creates": 2, "factor": 1.25}) as sandbox:
        api = connect(sandbox)
        assert api.post(CREATE, json={**body, "end_seconds": 99}).status_code == 400
        found = [api.post(CREATE, json=body).json()["credits_charged"] for _ in range(4)]
        books = sandbox.books(summary=True)
    assert found == [48, 48, 60, 60]
    assert (books["charged"], books["balance"]) == (216, 10_000_000 - 216)


@pytest.mark.parametrize(
    ("says", "stated"),
    [
        ("charged", {"credits_charged": 48}),
        ("null", {"credits_charged": None}),
        (None, {"credits_charged": None}),
        ("absent", {}),
        ("text", {"credits_charged": "forty-eight"}),
        ("zero", {"credits_charged": 0}),
        ("negative", {"credits_charged": -48}),
        ("fractional", {"credits_charged": 48.5}),
        ("huge", {"credits_charged": 48 * 10**18}),
    ],
)
def test_what_a_create_says_need_not_be_what_it_charges(
    waiting: RunningSandbox, connect: Connect, body: dict[str, Any], says: str | None, stated: dict[str, Any]
) -> None:
    """The answer's figure may be odd; the books and a later question have the true one."""
    waiting.set_prices(charge_says=says)
    api = connect(waiting)
    created = api.post(CREATE, json=body).json()
    waiting.set_prices()
    video = api.get(f"/v1/video-projects/{created.pop('id')}").json()
    del created["estimated_frame_cost"]
    assert created == stated
    assert video["credits_charged"] == 48
    assert waiting.books()["charges"][-1]["credits"] == 48


def test_every_way_to_say_it_is_tested() -> None:
    """A new one needs a line above."""
    assert set(ChargeSays) == {"charged", "null", "absent", "text", "zero", "negative", "fractional", "huge"}


def test_prices_can_be_replaced_in_mid_run(connect: Connect, body: dict[str, Any]) -> None:
    """By the control; without anything the list is the public one again."""
    with start() as sandbox:
        api = connect(sandbox)
        found = [api.post(CREATE, json=body).json()["credits_charged"]]
        sandbox.set_prices(prices={"ltx-2.3": {"480p": 30}}, price_change={"after_creates": 2, "factor": 0.5})
        found += [api.post(CREATE, json=body).json()["credits_charged"] for _ in range(2)]
        assert sandbox.set_prices() == {"prices": {}, "price_change": None, "charge_says": "charged"}
        found.append(api.post(CREATE, json=body).json()["credits_charged"])
    assert found == [48, 60, 30, 48]


def test_wrong_prices_are_refused_by_the_control(http: httpx.Client, sandbox: RunningSandbox) -> None:
    """With the setting's name; those in force stay."""
    answer = http.post(f"{sandbox.url}/sandbox/prices", json={"prices": {"ltx-2.3": {"2k": 1}}})
    assert answer.status_code == 400
    assert "prices.ltx-2.3.2k" in answer.json()["message"]
    assert http.get(f"{sandbox.url}/sandbox/prices").json()["prices"] == {}


@pytest.mark.parametrize(
    ("stated", "named"),
    [
        ({"prices": {"ltx-2.3": {"720": 60}}}, "prices.ltx-2.3.720"),
        ({"prices": {"ltx-2.3": {"720p": -1}}}, "prices.ltx-2.3.720p"),
        ({"prices": {"ltx-2.3": 60}}, "prices.ltx-2.3"),
        ({"price_change": {"factor": 2}}, "price_change.after_creates"),
        ({"price_change": {"after_creates": 1, "factor": -1}}, "price_change.factor"),
        ({"charge_says": "nothing"}, "charge_says"),
    ],
)
def test_wrong_prices_are_named(stated: dict[str, Any], named: str) -> None:
    """With their path."""
    with pytest.raises(SettingsError, match=named):
        build_config(stated)
