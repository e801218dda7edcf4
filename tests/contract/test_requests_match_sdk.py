"""The same calls through the vendor's own client and through ours leave the same requests on the wire."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import httpx
import pytest
from magic_hour import AsyncClient as SdkAsyncClient
from magic_hour import Client as SdkClient

from reelbatch.client import Client, ClientOptions

KEY = "mhk_live_0123456789abcdef"
NO_CAS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # nothing here speaks TLS, and loading the usual ones takes long
IMAGE = "https://images.example.com/chair.png"
EVERYTHING: dict[str, Any] = {
    "image_path": IMAGE,
    "end_image_path": "api-assets/id/1234.png",
    "prompt": 'Slow pan "over" a chair - été 🎬',
    "end_seconds": 5.5,
    "resolution": "720p",
    "model": "kling-3.0",
    "audio": True,
    "name": "chair 17",
    "width": 1280,
    "height": 720,
}
CREATES = {
    "everything": EVERYTHING,
    "the least": {"image_path": IMAGE, "end_seconds": 5},
    "audio off": {"image_path": IMAGE, "end_seconds": 5, "audio": False},
    "only a prompt": {"image_path": "api-assets/id/1.png", "end_seconds": 5.0, "prompt": "Zoom"},
    "an empty prompt": {"image_path": IMAGE, "end_seconds": 5, "prompt": ""},
    **{
        f"only {name}": {"image_path": IMAGE, "end_seconds": 5, name: EVERYTHING[name]}
        for name in ("end_image_path", "resolution", "model", "name", "width", "height")
    },
}
ANSWERS: dict[str, Any] = {
    "/v1/image-to-video": {"id": "c1", "credits_charged": 450, "estimated_frame_cost": 450},
    "/v1/files/upload-urls": {
        "items": [
            {"upload_url": "https://storage.example/1", "expires_at": "2026-11-22T12:00:00Z", "file_path": path}
            for path in ("api-assets/id/1.png", "api-assets/id/2.jpg")
        ]
    },
    "/v1/account": {"id": "a1", "email": None, "credits": 640, "tier": "free", "subscription": None},
    "/v1/video-projects/c1": {
        "id": "c1",
        "name": "chair",
        "status": "complete",
        "type": "IMAGE_TO_VIDEO",
        "created_at": "2026-11-22T12:00:00Z",
        "width": 1280,
        "height": 720,
        "enabled": True,
        "start_seconds": 0.0,
        "end_seconds": 5.0,
        "credits_charged": 450,
        "total_frame_cost": 450,
        "fps": 30.0,
        "error": None,
        "download": None,
        "downloads": [{"url": "https://storage.example/1.mp4", "expires_at": "2026-11-23T12:00:00Z"}],
    },
}


class Sent(NamedTuple):
    """What the two clients must agree on."""

    method: str
    path: str
    body: Any
    authorization: str | None
    content_type: str | None


class Recorder(ThreadingHTTPServer):
    """Answers the calls, and keeps what was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.sent: list[Sent] = []

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Recorder
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = json.loads(raw) if raw else None
        stated = self.headers["Authorization"], self.headers["Content-Type"]
        self.server.sent.append(Sent(self.command, self.path, body, *stated))
        content = json.dumps(ANSWERS[self.path]).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture(scope="module")
def server() -> Iterator[Recorder]:
    """One for all tests here."""
    with Recorder() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def as_sdk_states_it(stated: dict[str, Any]) -> dict[str, Any]:
    """Our arguments in the shape of the vendor's client."""
    rest = dict(stated)
    assets = {"image_file_path": rest.pop("image_path")}
    if end_image := rest.pop("end_image_path", None):
        assets["end_image_file_path"] = end_image
    if (prompt := rest.pop("prompt", None)) is not None:
        rest["style"] = {"prompt": prompt}
    return {"assets": assets, **rest}


def only_request(server: Recorder, call: Callable[[], Any]) -> Sent:
    """The one request that `call` sends."""
    server.sent.clear()
    call()
    (sent,) = server.sent
    return sent


def through_sdk(server: Recorder, call: Callable[[SdkClient], Any]) -> Sent:
    """What the vendor's synchronous client sends."""
    with httpx.Client(verify=NO_CAS) as http:
        return only_request(server, lambda: call(SdkClient(token=KEY, base_url=server.url, httpx_client=http)))


def through_async_sdk(server: Recorder, call: Callable[[SdkAsyncClient], Any]) -> Sent:
    """What the vendor's asynchronous client sends."""

    async def work() -> None:
        async with httpx.AsyncClient(verify=NO_CAS) as http:
            await call(SdkAsyncClient(token=KEY, base_url=server.url, httpx_client=http))

    return only_request(server, lambda: asyncio.run(work()))


def through_ours(server: Recorder, call: Callable[[Client], Any]) -> Sent:
    """What our client sends."""

    async def work() -> None:
        async with Client(KEY, ClientOptions(base_url=server.url, concurrency=1)) as client:
            await call(client)

    return only_request(server, lambda: asyncio.run(work()))


def all_three(server: Recorder, sdk_call: Callable[[Any], Any], our_call: Callable[[Client], Any]) -> list[Sent]:
    """The request as each client sends it."""
    return [through_sdk(server, sdk_call), through_async_sdk(server, sdk_call), through_ours(server, our_call)]


@pytest.mark.parametrize("stated", CREATES.values(), ids=CREATES)
def test_creates_are_the_same(server: Recorder, stated: dict[str, Any]) -> None:
    """Every parameter reaches the API just as the vendor's client would send it."""
    sdk, sdk_async, ours = all_three(
        server,
        lambda client: client.v1.image_to_video.create(**as_sdk_states_it(stated)),
        lambda client: client.create(**stated),
    )
    assert ours == sdk == sdk_async
    assert (ours.method, ours.path) == ("POST", "/v1/image-to-video")
    assert (ours.authorization, ours.content_type) == (f"Bearer {KEY}", "application/json")


@pytest.mark.parametrize("stated", CREATES.values(), ids=CREATES)
def test_what_is_not_set_is_absent(server: Recorder, stated: dict[str, Any]) -> None:
    """No null anywhere, and no field that no one stated."""
    sent = through_ours(server, lambda client: client.create(**stated))
    assert "null" not in json.dumps(sent.body)
    assert sent.body == as_sdk_states_it(stated)


def test_questions_for_upload_addresses_are_the_same(server: Recorder) -> None:
    """The images' kinds go in their order."""
    items = [{"type": "image", "extension": "png"}, {"type": "image", "extension": "jpg"}]
    sdk, sdk_async, ours = all_three(
        server,
        lambda client: client.v1.files.upload_urls.create(items=items),
        lambda client: client.upload_urls(["png", "jpg"]),
    )
    assert ours == sdk == sdk_async


def test_questions_about_a_video_are_the_same(server: Recorder) -> None:
    """Without a body."""
    sdk, sdk_async, ours = all_three(
        server,
        lambda client: client.v1.video_projects.get(id="c1"),
        lambda client: client.get_video("c1"),
    )
    assert ours == sdk == sdk_async
    assert ours.body is None


def test_questions_about_the_account_are_the_same(server: Recorder) -> None:
    """Without a body."""
    sdk, sdk_async, ours = all_three(
        server,
        lambda client: client.v1.account.list(),
        lambda client: client.get_account(),
    )
    assert ours == sdk == sdk_async
    assert (ours.method, ours.path, ours.body) == ("GET", "/v1/account", None)
