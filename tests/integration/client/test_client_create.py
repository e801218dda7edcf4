"""One create from Python: asynchronous, synchronous, and inside a notebook's running event loop."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pictures import landscape
from raw_server import RawServer, Serve, answer, keeping

import reelbatch
from reelbatch.client import Client, ClientOptions
from reelbatch.errors import CreateError, SettingsError, UploadError
from reelbatch.sandbox import RunningSandbox, start

KEY = "mhk_live_0123456789abcdef"
URL = "https://images.example.com/chair.png"
WHOLE = {"id": "c1", "credits_charged": 450, "estimated_frame_cost": 450}


@pytest.fixture(scope="module")
def running() -> Iterator[RunningSandbox]:
    """One sandbox for all tests here."""
    with start(queue_seconds=60) as sandbox:
        yield sandbox


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A landscape to upload."""
    return landscape(tmp_path / "Field.PNG")


async def answering(serve: Serve, content: Any) -> RawServer:
    """A server that answers everything with `content`."""
    server, _ = await keeping(serve, answer(json.dumps(content).encode()))
    return server


def connect(url: str, key: str = KEY) -> Client:
    """A client of `url`."""
    return Client(key, ClientOptions(base_url=url, concurrency=1, timeout_s=10))


async def test_the_whole_answer_comes_back(serve: Serve) -> None:
    """Its three fields, and whatever else the API has learned to say."""
    content = {**WHOLE, "queue": {"position": 3}, "new": None}
    server = await answering(serve, content)
    async with connect(server.url) as client:
        created = await client.create(image_path=URL, end_seconds=5, prompt="Slow pan")
    assert (created.id, created.credits_charged, created.estimated_frame_cost) == ("c1", 450, 450)
    assert created.raw == content


@pytest.mark.parametrize(
    ("content", "charged", "cost"),
    [
        ({"id": "c1", "credits_charged": 450}, 450, None),
        ({"id": "c1"}, None, None),
        ({"id": "c1", "credits_charged": "450", "estimated_frame_cost": 450.0}, 450, 450),
        ({"id": "c1", "credits_charged": {}, "estimated_frame_cost": "?"}, None, None),
    ],
)
async def test_an_answer_with_an_id_is_never_thrown_away(
    serve: Serve, content: Any, charged: int | None, cost: int | None
) -> None:
    """The deprecated frame cost may be missing, and figures may be odd."""
    server = await answering(serve, content)
    async with connect(server.url) as client:
        created = await client.create(image_path=URL, end_seconds=5)
    assert (created.id, created.credits_charged, created.estimated_frame_cost) == ("c1", charged, cost)


async def test_a_local_image_is_uploaded_first(sandbox: RunningSandbox, image: Path) -> None:
    """Both images, and the create names the uploaded paths."""
    async with connect(sandbox.url, sandbox.key) as client:
        created = await client.create(
            image_path=image, end_image_path=str(image), end_seconds=5, model="kling-3.0", name="one"
        )
    (charge,) = (charge for charge in sandbox.books()["charges"] if charge["video_id"] == created.id)
    assert (charge["name"], charge["credits"]) == ("one", created.credits_charged)


async def test_a_saved_item_is_named_as_it_stands(sandbox: RunningSandbox) -> None:
    """Nothing is uploaded for it."""
    before = sandbox.books()["requests"]["upload_urls"]
    async with connect(sandbox.url, sandbox.key) as client:
        assert (await client.create(image_path="saved-items/references/1", end_seconds=5)).id
    assert sandbox.books()["requests"]["upload_urls"] == before


async def test_an_image_that_is_not_there_costs_nothing(sandbox: RunningSandbox, tmp_path: Path) -> None:
    """Nothing is sent at all."""
    before = sandbox.books()["requests"]
    async with connect(sandbox.url, sandbox.key) as client:
        with pytest.raises(UploadError, match=r"gone\.png"):
            await client.create(image_path=tmp_path / "gone.png", end_seconds=5)
    assert sandbox.books()["requests"] == before


async def test_an_image_for_which_there_is_no_address_was_not_uploaded(sandbox: RunningSandbox, image: Path) -> None:
    """The API is not there: an UploadError, as when the storage fails."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        async with connect(f"http://127.0.0.1:{free.getsockname()[1]}", sandbox.key) as client:
            with pytest.raises(UploadError, match="no address to upload it to") as raised:
                await client.create(image_path=image, end_seconds=5)
    assert raised.value.status is None


async def test_a_key_that_is_refused_is_the_same_error_for_every_image(sandbox: RunningSandbox, image: Path) -> None:
    """Whether the API says so of the create, or of the upload that comes before it."""
    async with connect(sandbox.url, "another") as client:
        for path in ("https://images.example.com/a.png", image):
            with pytest.raises(CreateError, match="Unauthorized") as raised:
                await client.create(image_path=path, end_seconds=5)
            assert (raised.value.status, raised.value.outcome) == (401, "halt")


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        ("invalid", "rejected"),
        ("forbidden", "rejected"),
        ("unauthorized", "halt"),
        ("payment_required", "halt"),
        ("rate_limited", "retry"),
        ("unavailable", "retry"),
        ("gateway_timeout", "in_doubt"),
        ("lost_after", "in_doubt"),
        ("reset_before", "in_doubt"),
        ("garbled_json", "in_doubt"),
        ("no_id", "in_doubt"),
    ],
)
async def test_what_goes_wrong_says_whether_it_may_have_cost(
    sandbox: RunningSandbox, fault: str, outcome: str
) -> None:
    """One request each; sent again by no one."""
    sandbox.set_faults(script=[fault])
    before = sandbox.books()["requests"]["create"]
    async with connect(sandbox.url, sandbox.key) as client:
        with pytest.raises(CreateError) as error:
            await client.create(image_path=URL, end_seconds=5, prompt="Slow pan")
    assert error.value.outcome == outcome
    assert sandbox.books()["requests"]["create"] == before + 1


def test_from_a_script(sandbox: RunningSandbox, image: Path) -> None:
    """No event loop in sight."""
    created = reelbatch.create(image_path=image, end_seconds=5, api_key=sandbox.key, base_url=sandbox.url)
    assert created.id
    assert created.raw["id"] == created.id


async def test_from_a_notebook(sandbox: RunningSandbox, image: Path) -> None:
    """Where an event loop runs already; errors come through as they are."""
    created = reelbatch.create(image_path=image, end_seconds=5, api_key=sandbox.key, base_url=sandbox.url)
    assert created.id
    sandbox.set_faults(script=["lost_after"])
    with pytest.raises(CreateError) as error:
        reelbatch.create(image_path=URL, end_seconds=5, api_key=sandbox.key, base_url=sandbox.url)
    assert error.value.outcome == "in_doubt"


def test_without_a_key_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the variable to set."""
    monkeypatch.delenv("MAGIC_HOUR_API_KEY", raising=False)
    with pytest.raises(SettingsError, match="MAGIC_HOUR_API_KEY"):
        reelbatch.create(image_path=URL, end_seconds=5)


def test_the_key_never_goes_unencrypted_over_a_network() -> None:
    """Plain HTTP is for this machine only."""
    with pytest.raises(SettingsError, match="https"):
        reelbatch.create(image_path=URL, end_seconds=5, api_key=KEY, base_url="http://api.example.com")


def test_the_client_itself_refuses_plain_http() -> None:
    """Also where it is used directly, without settings."""
    with pytest.raises(SettingsError, match="https"):
        Client(KEY, ClientOptions(base_url="http://api.example.com"))
