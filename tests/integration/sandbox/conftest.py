"""One running sandbox for all tests here that need no settings of their own."""

import ssl
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any
from uuid import uuid4

import httpx
import pytest
from PIL import Image

from reelbatch.sandbox import RunningSandbox, start

Body = dict[str, Any]


@pytest.fixture(scope="session")
def running() -> Iterator[RunningSandbox]:
    """A sandbox whose videos are finished at once."""
    with start(queue_seconds=0, render_seconds=0) as running:
        yield running


@pytest.fixture(scope="session")
def waiting() -> Iterator[RunningSandbox]:
    """A sandbox whose videos stay queued."""
    with start(queue_seconds=60) as running:
        yield running


@pytest.fixture(scope="session")
def fleeting() -> Iterator[RunningSandbox]:
    """A sandbox whose URLs have expired when they arrive."""
    times = {"queue_seconds": 0, "render_seconds": 0, "upload_url_ttl_s": 0, "download_url_ttl_s": 0}
    with start(**times, render_video=False) as running:
        yield running


_NO_CAS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # loading the usual ones takes longer than most tests here


@pytest.fixture(scope="session")
def http() -> Iterator[httpx.Client]:
    """A client without a key, as storage and controls want it."""
    with httpx.Client(verify=_NO_CAS, timeout=20) as client:
        yield client


@pytest.fixture
def connect() -> Iterator[Callable[[RunningSandbox], httpx.Client]]:
    """Clients that carry a sandbox's key; closed at the end of the test."""
    clients: list[httpx.Client] = []

    def client_of(sandbox: RunningSandbox) -> httpx.Client:
        key = {"Authorization": f"Bearer {sandbox.key}"}
        clients.append(httpx.Client(base_url=sandbox.url, headers=key, timeout=20, verify=_NO_CAS))
        return clients[-1]

    yield client_of
    for client in clients:
        client.close()


@pytest.fixture
def api(sandbox: RunningSandbox, connect: Callable[[RunningSandbox], httpx.Client]) -> httpx.Client:
    """A client of the shared sandbox."""
    return connect(sandbox)


@pytest.fixture
def row() -> str:
    """The name of a row that no other test uses."""
    return f"row {uuid4().hex}"


@pytest.fixture
def body(row: str) -> Body:
    """A create that is accepted: 2 seconds of a model at 24 credits a second."""
    return {
        "assets": {"image_file_path": "https://images.example.com/chair.png"},
        "end_seconds": 2,
        "model": "ltx-2.3",
        "resolution": "480p",
        "name": row,
    }


@pytest.fixture(scope="session")
def portrait() -> bytes:
    """A PNG, twice as high as wide."""
    content = BytesIO()
    Image.linear_gradient("L").resize((200, 400)).convert("RGB").save(content, "PNG")
    return content.getvalue()


@pytest.fixture
def upload(portrait: bytes, http: httpx.Client) -> Callable[[httpx.Client], str]:
    """Uploads the portrait (or other content) through a client; gives its file path."""

    def put(api: httpx.Client, content: bytes = portrait, extension: str = "png") -> str:
        asked = {"items": [{"type": "image", "extension": extension}]}
        item = api.post("/v1/files/upload-urls", json=asked).raise_for_status().json()["items"][0]
        http.put(item["upload_url"], content=content).raise_for_status()
        path: str = item["file_path"]
        return path

    return put
