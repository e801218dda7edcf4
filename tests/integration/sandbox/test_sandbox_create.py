"""POST /v1/image-to-video: what it accepts, what it refuses and with which words."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from reelbatch.sandbox import RunningSandbox, start

CREATE = "/v1/image-to-video"
Connect = Callable[[RunningSandbox], httpx.Client]


def charges(sandbox: RunningSandbox, row: str) -> list[dict[str, Any]]:
    return [charge for charge in sandbox.books()["charges"] if charge["row"] == row]


def test_charges_and_returns_an_id(
    sandbox: RunningSandbox, api: httpx.Client, body: dict[str, Any], row: str
) -> None:
    """An accepted create returns id and cost, and the books show the same charge."""
    answer = api.post(CREATE, json=body)
    assert answer.status_code == 200
    created = answer.json()
    assert created["credits_charged"] == created["estimated_frame_cost"] == 48
    assert [(c["video_id"], c["credits"]) for c in charges(sandbox, row)] == [(created["id"], 48)]


@pytest.mark.parametrize(
    ("change", "cost"),
    [
        ({"model": "kling-3.0", "resolution": "720p", "end_seconds": 5}, 240),
        ({"model": "kling-3.0", "resolution": "720p", "end_seconds": 5, "audio": True}, 360),
        ({"model": "veo3.1-audio", "resolution": "1080p", "end_seconds": 4}, 576),
        ({"model": "default", "resolution": "720p", "end_seconds": 3}, 144),
        ({"model": "wan-3.0", "end_seconds": 2}, 120),
    ],
)
def test_costs_what_the_model_costs(
    api: httpx.Client, body: dict[str, Any], change: dict[str, Any], cost: int
) -> None:
    """The charge is rate x seconds of the model that is really used; an unknown rate has a stand-in."""
    assert api.post(CREATE, json={**body, **change}).json()["credits_charged"] == cost


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"end_seconds": None}, 400, "end_seconds"),
        ({"end_seconds": "5"}, 400, "end_seconds"),
        ({"end_seconds": True}, 400, "end_seconds"),
        ({"end_seconds": 0.5}, 400, "end_seconds"),
        ({"end_seconds": 61}, 400, "end_seconds"),
        ({"end_seconds": 13}, 422, "end_seconds"),
        ({"resolution": "2k"}, 400, "resolution"),
        ({"resolution": None}, 400, "resolution"),
        ({"resolution": "4k"}, 422, "resolution"),
        ({"model": "dreamer-9"}, 400, "model"),
        ({"model": None}, 400, "model"),
        ({"name": None}, 400, "name"),
        ({"name": "\ud800"}, 400, "name"),
        ({"audio": "yes"}, 400, "audio"),
        ({"model": "wan-2.2", "end_seconds": 3, "audio": True}, 422, "audio"),
        ({"style": {"prompt": None}}, 400, "style.prompt"),
        ({"style": "slow"}, 400, "style"),
        ({"width": "wide"}, 400, "width"),
        ({"assets": None}, 400, "assets"),
        ({"assets": {}}, 400, "assets.image_file_path"),
        ({"assets": {"image_file_path": ""}}, 400, "assets.image_file_path"),
        ({"assets": {"image_file_path": "chair.png"}}, 400, "assets.image_file_path"),
        ({"assets": {"image_file_path": "ftp://example.com/a.png"}}, 400, "assets.image_file_path"),
        ({"assets": {"image_file_path": "https://example.com/a"}}, 400, "assets.image_file_path"),
        ({"assets": {"image_file_path": "https://example.com/a.mp4"}}, 400, "assets.image_file_path"),
        ({"assets": {"image_file_path": "https://magichour.ai/my-library"}}, 400, "assets.image_file_path"),
        ({"assets": {"image_file_path": "api-assets/../books.db"}}, 404, "assets.image_file_path"),
        (
            {"assets": {"image_file_path": f"api-assets/sandbox/{'0' * 32}.png"}},
            404,
            "assets.image_file_path",
        ),
        (
            {"assets": {"image_file_path": "https://a.example/a.png", "end_image_file_path": "b"}},
            400,
            "assets.end_image_file_path",
        ),
        (
            {
                "model": "wan-2.2",
                "end_seconds": 3,
                "assets": {
                    "image_file_path": "https://a.example/a.png",
                    "end_image_file_path": "https://a.example/b.png",
                },
            },
            422,
            "assets.end_image_file_path",
        ),
    ],
)
def test_refuses_and_names_the_field(
    api: httpx.Client, body: dict[str, Any], change: dict[str, Any], status: int, field: str
) -> None:
    """A field that is wrong is named in the message."""
    answer = api.post(CREATE, content=json.dumps({**body, **change}))
    assert answer.status_code == status
    assert answer.json()["message"].startswith(f"{field}: ")
    assert answer.json()["code"] == {400: "invalid_request", 404: "not_found", 422: "unprocessable_entity"}[status]


def test_an_account_that_is_dry_says_so(connect: Connect, body: dict[str, Any]) -> None:
    """402 with its code and the cost, once the balance does not cover the video; a cheaper one still goes through."""
    with start(balance=100) as sandbox:
        api = connect(sandbox)
        answers = [api.post(CREATE, json={**body, "end_seconds": seconds}) for seconds in (3, 2, 1)]
    assert [answer.status_code for answer in answers] == [200, 402, 200]
    said = {"code": "insufficient_credits", "message": "Not enough credits: this video costs 48, and 28 are left"}
    assert answers[1].json() == said


def test_what_is_refused_is_not_charged(
    sandbox: RunningSandbox, api: httpx.Client, body: dict[str, Any], row: str
) -> None:
    """No refusal of a create leaves a charge in the books."""
    for change in ({"end_seconds": 99}, {"resolution": "4k"}, {"assets": {"image_file_path": "api-assets/x"}}):
        assert api.post(CREATE, json={**body, **change}).is_client_error
    assert charges(sandbox, row) == []


@pytest.mark.parametrize("missing", ["assets", "end_seconds"])
def test_refuses_what_lacks_a_required_field(api: httpx.Client, body: dict[str, Any], missing: str) -> None:
    """A required field that is missing is named."""
    del body[missing]
    answer = api.post(CREATE, json=body)
    said = {"code": "invalid_request", "message": f"{missing}: is required"}
    assert (answer.status_code, answer.json()) == (400, said)


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"[]", b"\xff\xfe", b'"text"', b"[" * 100_000], ids=lambda raw: raw[:6].decode("latin-1")
)
def test_refuses_a_body_that_is_no_object(api: httpx.Client, raw: bytes) -> None:
    """A body that is no JSON object is refused with a message, not with a server error."""
    answer = api.post(CREATE, content=raw)
    assert answer.status_code == 400
    assert answer.json()["message"].startswith("The request body")


@pytest.mark.parametrize(
    "image", ["https://a.example/b/c.JPEG?size=2", "https://magichour.ai/my-library?imageId=abc"]
)
def test_accepts_urls_of_images(api: httpx.Client, body: dict[str, Any], image: str) -> None:
    """A direct URL of an image and one of the vendor's library both do."""
    assert api.post(CREATE, json={**body, "assets": {"image_file_path": image}}).status_code == 200


def test_accepts_the_deprecated_and_the_unknown(api: httpx.Client, body: dict[str, Any]) -> None:
    """Width and height may be null or numbers, and fields that no one knows are ignored."""
    change = {"width": None, "height": 512, "mood": "calm"}
    assert api.post(CREATE, json={**body, **change}).status_code == 200


@pytest.mark.parametrize("header", [None, "Bearer wrong", "sandbox", "Basic sandbox", "bearer sandbox2"])
@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", CREATE), ("POST", "/v1/files/upload-urls"), ("GET", "/v1/video-projects/x"), ("GET", "/v1/account")],
)
def test_asks_for_the_key(
    http: httpx.Client, sandbox: RunningSandbox, method: str, path: str, header: str | None
) -> None:
    """Every call of the API answers 401 without the right key."""
    headers = {"Authorization": header} if header else {}
    answer = http.request(method, sandbox.url + path, headers=headers)
    assert (answer.status_code, answer.json()) == (401, {"code": "unauthorized", "message": "Unauthorized"})


def test_unknown_paths_and_methods_answer_in_json(api: httpx.Client) -> None:
    """Whatever is not there says so in the API's own form."""
    assert api.get("/v1/nothing").json() == {"code": "not_found", "message": "Not Found"}
    assert api.get(CREATE).status_code == 405


def test_the_legacy_profile_has_its_own_plans_and_frames(connect: Connect, body: dict[str, Any]) -> None:
    """A resolution outside of the plan answers 403 and is free; 480p has 24 frames a second at its full price."""
    settings = {"plan": "creator", "model_profile": "legacy", "frame_cost_field": False, "render_video": False}
    with start(**settings, queue_seconds=0, render_seconds=0) as sandbox:
        api = connect(sandbox)
        small = {**body, "model": "default", "end_seconds": 5}
        refused = api.post(CREATE, json={**small, "resolution": "1080p"})
        created = api.post(CREATE, json={**small, "resolution": "480p"}).json()
        video = api.get(f"/v1/video-projects/{created['id']}").json()
        books = sandbox.books(summary=True)
    assert refused.status_code == 403
    assert refused.json()["message"].startswith("resolution: ")
    assert created.keys() == {"id", "credits_charged"}
    assert not {"download", "total_frame_cost"} & video.keys()
    assert (video["status"], video["fps"], video["credits_charged"]) == ("complete", 24, 120)
    assert (created["credits_charged"], books["net"], books["creates"]) == (120, 120, 1)
