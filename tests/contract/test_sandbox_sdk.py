"""The vendor's own client runs against the sandbox unchanged."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import httpx
import pytest
from magic_hour import AsyncClient, Client
from pictures import landscape

from reelbatch.sandbox import RunningSandbox, start


@pytest.fixture(scope="module")
def sandbox() -> Iterator[RunningSandbox]:
    """A sandbox that renders at once."""
    with start(queue_seconds=0, render_seconds=0, key="mhk_test") as running:
        yield running


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A landscape to upload."""
    return landscape(tmp_path / "field.jpg")


def test_generate_uploads_waits_and_downloads(sandbox: RunningSandbox, image: Path, tmp_path: Path) -> None:
    """`generate` goes from a local image to a playable local video."""
    with httpx.Client(timeout=30) as http:
        client = Client(token=sandbox.key, base_url=sandbox.url, httpx_client=http)
        video = client.v1.image_to_video.generate(
            assets={"image_file_path": str(image)},
            end_seconds=3.0,
            model="kling-3.0",
            resolution="720p",
            style={"prompt": "clouds drift over a field"},
            name="field",
            download_directory=str(tmp_path),
        )
    assert (video.status, video.credits_charged, video.name) == ("complete", 144, "field")
    with av.open((video.downloaded_paths or [""])[0]) as container:
        assert len(list(container.decode(video=0))) == 90


async def test_async_create_and_get(sandbox: RunningSandbox) -> None:
    """The asynchronous client creates and reads videos, several at once."""
    async with httpx.AsyncClient(timeout=30) as http:
        client = AsyncClient(token=sandbox.key, base_url=sandbox.url, httpx_client=http)
        created = await asyncio.gather(
            *(
                client.v1.image_to_video.create(
                    assets={"image_file_path": "https://images.example.com/a.png"}, end_seconds=5.0
                )
                for _ in range(5)
            )
        )
        video = await client.v1.video_projects.get(id=created[0].id)
    assert len({answer.id for answer in created}) == 5
    assert {answer.credits_charged for answer in created} == {240}
    assert video.id == created[0].id
    assert (video.name or "").startswith("Image To Video - ")


SUBSCRIPTION = {"name": "Pro", "current_period_end": "2026-12-24T08:00:00Z", "price": {"amount": 3900}}


@pytest.mark.parametrize("subscription", [None, SUBSCRIPTION])
def test_the_account_is_one_to_the_sdk(subscription: dict[str, Any] | None) -> None:
    """The vendor's client reads id, balance, tier and subscription."""
    with start(balance=640, plan="pro", subscription=subscription) as running, httpx.Client(timeout=30) as http:
        account = Client(token=running.key, base_url=running.url, httpx_client=http).v1.account.list()
    assert (account.id, account.credits, account.tier) == ("sandbox", 640, "pro")
    found = account.subscription
    assert (found and (found.name, found.status, found.price.amount)) == (subscription and ("Pro", "active", 3900))


def test_an_error_carries_the_message(sandbox: RunningSandbox) -> None:
    """The client's error has the sandbox's status and words."""
    with httpx.Client() as http:
        client = Client(token="wrong", base_url=sandbox.url, httpx_client=http)  # noqa: S106 - made up
        with pytest.raises(Exception, match="401") as error:
            client.v1.video_projects.get(id="c1")
    assert "Unauthorized" in str(error.value)
