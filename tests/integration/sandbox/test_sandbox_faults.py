"""Every fault of a create as a client meets it, and what the books say about it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest
from waiting import wait_until

from reelbatch.sandbox import RunningSandbox, SandboxConfig, start
from reelbatch.sandbox.answers import faulty
from reelbatch.sandbox.config import FaultSettings
from reelbatch.sandbox.faults import CREATE_KINDS, FAULTS, Call, Ending, FaultKind

CREATE = "/v1/image-to-video"
REFUSALS = {
    "rate_limited": 429,
    "server_error": 500,
    "bad_gateway": 502,
    "unavailable": 503,
    "gateway_timeout": 504,
    **{f"cloudflare_{code}": code for code in range(520, 528)},
    "request_timeout": 408,
    "redirect": 307,
    "unauthorized": 401,
    "payment_required": 402,
    "insufficient_credits": 402,
    "subscription_required": 402,
    "plan_upgrade_required": 402,
    "forbidden": 403,
    "invalid": 422,
}
BREAKS = {
    "lost_before": (httpx.RemoteProtocolError, 0),
    "lost_after": (httpx.RemoteProtocolError, 1),
    "reset_before": (httpx.ReadError, 0),
    "reset_after": (httpx.ReadError, 1),
    "stall_before": (httpx.RemoteProtocolError, 0),
    "stall_after": (httpx.RemoteProtocolError, 1),
    "truncated_json": (httpx.RemoteProtocolError, 1),
}
ODD = {"garbled_json", "no_id"}
CHARGES: dict[str, dict[str, Any]] = {
    "charge_null": {"credits_charged": None},
    "charge_absent": {},
    "charge_text": {"credits_charged": "forty-eight"},
    "charge_zero": {"credits_charged": 0},
    "charge_negative": {"credits_charged": -48},
    "charge_fractional": {"credits_charged": 48.5},
    "charge_huge": {"credits_charged": 48 * 10**18},
}


def charged(sandbox: RunningSandbox, row: str) -> int:
    """How often the row was charged."""
    return sum(charge["row"] == row for charge in sandbox.books()["charges"])


def test_every_kind_is_tested_and_defined() -> None:
    """A kind can't be added without a line in the table, and one for creates not without a test here."""
    assert set(FAULTS) == set(FaultKind)
    assert set(CREATE_KINDS) == {*REFUSALS, *BREAKS, *ODD, *CHARGES, "render_error"}


@pytest.mark.parametrize("kind", FaultKind)
def test_every_kind_has_an_answer(kind: FaultKind) -> None:
    """No kind falls through: each gives an answer, or (breaking ones) something that ends the connection."""
    answer = faulty(kind, FaultSettings(), {"id": "c1", "credits_charged": 1})
    assert answer.status_code == FAULTS[kind].status or FAULTS[kind].ending is not Ending.STATUS


@pytest.mark.parametrize(("kind", "status"), REFUSALS.items())
def test_error_answers_charge_nothing(
    sandbox: RunningSandbox, api: httpx.Client, body: dict[str, Any], kind: str, status: int
) -> None:
    """An error answer has its status and leaves no charge; the next create goes through."""
    sandbox.set_faults(script=[kind])
    assert api.post(CREATE, json=body).status_code == status
    assert charged(sandbox, body["name"]) == 0
    assert api.post(CREATE, json=body).status_code == 200


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("insufficient_credits", "insufficient_credits"),
        ("subscription_required", "subscription_required"),
        ("plan_upgrade_required", "plan_upgrade_required"),
        ("payment_required", None),
        ("unauthorized", "unauthorized"),
        ("invalid", "unprocessable_entity"),
        ("server_error", "internal_server_error"),
        ("forbidden", None),
        ("rate_limited", None),
    ],
)
def test_error_answers_have_the_documented_codes(
    sandbox: RunningSandbox, api: httpx.Client, body: dict[str, Any], kind: str, code: str | None
) -> None:
    """Three sorts of 402, one without a code; where the vendor documents no code there is none."""
    sandbox.set_faults(script=[kind])
    said = api.post(CREATE, json=body).json()
    assert (said.get("code"), bool(said["message"])) == (code, True)


@pytest.mark.parametrize(("kind", "seen"), BREAKS.items())
def test_broken_connections(
    sandbox: RunningSandbox, api: httpx.Client, body: dict[str, Any], kind: str, seen: tuple[type, int]
) -> None:
    """A broken connection looks the same to a client whether or not it was charged; the books know."""
    error, charges = seen
    sandbox.set_faults(script=[kind], stall_seconds=0.05)
    with pytest.raises(error):
        api.post(CREATE, json=body)
    assert charged(sandbox, body["name"]) == charges
    assert api.post(CREATE, json=body).status_code == 200


@pytest.mark.parametrize(("kind", "charges"), [("stall_before", 0), ("stall_after", 1)])
def test_a_stall_outlasts_a_clients_patience(
    sandbox: RunningSandbox, api: httpx.Client, body: dict[str, Any], kind: str, charges: int
) -> None:
    """A client that gives up on a stalled create sees a time-out, charged or not."""
    sandbox.set_faults(script=[kind], stall_seconds=60)
    with pytest.raises(httpx.ReadTimeout):
        api.post(CREATE, json=body, timeout=httpx.Timeout(20, read=0.5))
    assert charged(sandbox, body["name"]) == charges


def test_a_truncated_answer_ends_within_the_id(
    sandbox: RunningSandbox, api: httpx.Client, body: dict[str, Any]
) -> None:
    """What arrives of a truncated answer is not enough to know the id."""
    sandbox.set_faults(script=["truncated_json"])
    pieces: list[bytes] = []
    with pytest.raises(httpx.RemoteProtocolError), api.stream("POST", CREATE, json=body) as answer:
        pieces.extend(answer.iter_raw())
    received = b"".join(pieces)
    charge = next(c for c in sandbox.books()["charges"] if c["row"] == body["name"])
    assert received.startswith(b'{"id": "')
    assert charge["video_id"].encode() not in received


def test_a_garbled_answer_is_charged(sandbox: RunningSandbox, api: httpx.Client, body: dict[str, Any]) -> None:
    """200 with a body that is no JSON: charged, and the id is lost."""
    sandbox.set_faults(script=["garbled_json"])
    answer = api.post(CREATE, json=body)
    assert answer.status_code == 200
    with pytest.raises(ValueError, match="Expecting"):
        answer.json()
    assert charged(sandbox, body["name"]) == 1


def test_an_answer_without_id_is_charged(sandbox: RunningSandbox, api: httpx.Client, body: dict[str, Any]) -> None:
    """200 and JSON, but no id: charged all the same."""
    sandbox.set_faults(script=["no_id"])
    assert api.post(CREATE, json=body).json() == {"credits_charged": 48, "estimated_frame_cost": 48}
    assert charged(sandbox, body["name"]) == 1


@pytest.mark.parametrize(("kind", "stated"), CHARGES.items())
def test_one_create_can_tell_an_odd_charge(
    sandbox: RunningSandbox, api: httpx.Client, body: dict[str, Any], kind: str, stated: dict[str, Any]
) -> None:
    """Only the create that a rule names: it has its id, and was charged what the books say."""
    sandbox.set_faults(match=[{"text": body["name"], "kind": kind, "times": 1}])
    odd, plain = (api.post(CREATE, json=body).json() for _ in range(2))
    video_id, _ = odd.pop("id"), odd.pop("estimated_frame_cost")
    charge = next(charge for charge in sandbox.books()["charges"] if charge["video_id"] == video_id)
    assert (odd, charge["credits"], plain["credits_charged"]) == (stated, 48, 48)


def test_one_row_s_render_can_fail(sandbox: RunningSandbox, api: httpx.Client, body: dict[str, Any]) -> None:
    """Only the create that a rule names: it is accepted and charged, and its render fails and is refunded."""
    sandbox.set_faults(match=[{"text": body["name"], "kind": "render_error", "times": 1}])
    doomed, sound = (api.post(CREATE, json=body).json()["id"] for _ in range(2))

    def status(video_id: str) -> str:
        return str(api.get(f"/v1/video-projects/{video_id}").json()["status"])

    wait_until(lambda: status(sound) == "complete", "the other video is finished")
    assert status(doomed) == "error"
    charges = {charge["video_id"]: charge for charge in sandbox.books()["charges"]}
    assert (charges[doomed]["credits"], charges[doomed]["refunded"], charges[sound]["refunded"]) == (48, 48, 0)


def test_retry_after_in_each_form(sandbox: RunningSandbox, api: httpx.Client, body: dict[str, Any]) -> None:
    """A 429 states its wait in seconds, as a date, or not at all."""
    found = {}
    for form in ("seconds", "date", "none"):
        sandbox.set_faults(script=["rate_limited"], retry_after=form, retry_after_s=120)
        found[form] = api.post(CREATE, json=body).headers.get("Retry-After")
    assert (found["seconds"], found["none"]) == ("120", None)
    wait = parsedate_to_datetime(found["date"] or "") - datetime.now(UTC)
    assert timedelta(seconds=60) < wait < timedelta(seconds=180)


def test_a_redirect_leads_to_a_second_charge_if_followed(
    sandbox: RunningSandbox, api: httpx.Client, body: dict[str, Any]
) -> None:
    """The redirect itself is free; who follows it makes a create of its own."""
    sandbox.set_faults(script=["redirect"])
    assert api.post(CREATE, json=body, follow_redirects=True).status_code == 200
    assert charged(sandbox, body["name"]) == 1


def test_an_error_can_charge_anyway(sandbox: RunningSandbox, api: httpx.Client, body: dict[str, Any]) -> None:
    """A kind under charge_anyway answers its error after the charge."""
    sandbox.set_faults(script=["gateway_timeout"], charge_anyway=["gateway_timeout"])
    assert api.post(CREATE, json=body).status_code == 504
    assert charged(sandbox, body["name"]) == 1


def test_a_bad_request_is_refused_before_a_fault_charges(
    sandbox: RunningSandbox, api: httpx.Client, body: dict[str, Any]
) -> None:
    """A fault after the charge does not happen to a create that would not have been charged."""
    sandbox.set_faults(script=["lost_after"])
    assert api.post(CREATE, json={**body, "end_seconds": 99}).status_code == 400


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"often": 1}, "often: there is no such setting"),
        ({"script": ["meteor"]}, "script.0"),
        ({"script": ["upload_fail"]}, "upload_fail does not happen to a create"),
        ({"share": {"invalid": 1.5}}, "share.invalid"),
        ({"share": {"invalid": 0.6, "lost_after": 0.6}}, "more than 1"),
        ({"every": {"invalid": 0}}, "every.invalid"),
    ],
)
def test_wrong_fault_settings_are_named(
    http: httpx.Client, sandbox: RunningSandbox, settings: dict[str, Any], named: str
) -> None:
    """Fault settings that can't be used are refused with their name, and the old ones stay."""
    answer = http.post(f"{sandbox.url}/sandbox/faults", json=settings)
    assert answer.status_code == 400
    assert named in answer.json()["message"]
    assert http.get(f"{sandbox.url}/sandbox/faults").json()["script"] == []


def test_shares_hit_about_that_many(connect: Callable[[RunningSandbox], httpx.Client], body: dict[str, Any]) -> None:
    """A share of all creates fails, drawn with the seed, and only the others are charged."""
    with start(faults={"share": {"server_error": 0.3}, "seed": 1}) as sandbox:
        api = connect(sandbox)
        statuses = [api.post(CREATE, json=body).status_code for _ in range(200)]
        books = sandbox.books(summary=True)
    assert 40 <= statuses.count(500) <= 80
    assert statuses.count(200) == books["creates"] == 200 - statuses.count(500)


def test_calls_are_named_in_the_settings() -> None:
    """Each sort of call has at least one fault, and without settings there are none."""
    assert {fault.call for fault in FAULTS.values()} == set(Call)
    assert SandboxConfig().faults == FaultSettings()
