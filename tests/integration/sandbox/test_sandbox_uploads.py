"""Upload URLs and the PUTs that use them."""

import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from reelbatch.sandbox import RunningSandbox, start

CREATE = "/v1/image-to-video"
Connect = Callable[[RunningSandbox], httpx.Client]
URLS = "/v1/files/upload-urls"
Upload = Callable[..., str]


def test_gives_urls_in_the_order_asked(api: httpx.Client) -> None:
    """The n-th URL is for the n-th file: extensions come back in the order of the question."""
    extensions = ["png", "webp", "jpg", "heic", "png"]
    items = [{"type": "image", "extension": extension} for extension in extensions]
    given = api.post(URLS, json={"items": items}).json()["items"]
    assert [item["file_path"].rpartition(".")[2] for item in given] == extensions
    assert len({item["file_path"] for item in given}) == 5
    assert all(item.keys() == {"upload_url", "expires_at", "file_path"} for item in given)
    assert all(item["file_path"].startswith("api-assets/") for item in given)


@pytest.mark.parametrize(
    ("items", "status", "field"),
    [
        (None, 400, "items"),
        ([], 400, "items"),
        (["png"], 400, "items[0]"),
        ([{"extension": "png"}], 400, "items[0].type"),
        ([{"type": "image", "extension": "png"}, {"type": "image"}], 400, "items[1].extension"),
        ([{"type": "image", "extension": ".png"}], 400, "items[0].extension"),
        ([{"type": "image", "extension": "mp4"}], 422, "items[0].extension"),
        ([{"type": "book", "extension": "png"}], 400, "items[0].type"),
    ],
)
def test_refuses_items_and_names_the_one(api: httpx.Client, items: Any, status: int, field: str) -> None:
    """An item that is wrong is named by its place."""
    answer = api.post(URLS, json={"items": items})
    assert answer.status_code == status
    assert answer.json()["message"].startswith(f"{field}: ")


def test_an_upload_can_be_used(http: httpx.Client, api: httpx.Client, body: dict[str, Any], upload: Upload) -> None:
    """A file path is accepted by a create once its bytes have arrived, and not before."""
    item = api.post(URLS, json={"items": [{"type": "image", "extension": "png"}]}).json()["items"][0]
    early = {**body, "assets": {"image_file_path": item["file_path"]}}
    assert api.post(CREATE, json=early).status_code == 404
    http.put(item["upload_url"], content=b"bytes").raise_for_status()
    assert api.post(CREATE, json=early).status_code == 200
    late = {**body, "assets": {"image_file_path": upload(api)}}
    assert api.post(CREATE, json=late).status_code == 200


@pytest.mark.parametrize(("settings", "status"), [({}, 404), ({"upload_expired_status": 400}, 400)])
def test_an_upload_lasts_seven_days(
    connect: Connect, body: dict[str, Any], upload: Upload, settings: Any, status: int
) -> None:
    """Then a create that names it is refused and names the field; the same bytes sent again are a new upload."""
    with start(**settings) as sandbox:
        api = connect(sandbox)
        old = {**body, "assets": {"image_file_path": upload(api)}}
        assert sandbox.age_uploads(days=6.9) == {"aged": 1}
        assert api.post(CREATE, json=old).status_code == 200
        sandbox.age_uploads(days=0.2)
        fresh = {**body, "assets": {"image_file_path": upload(api)}}
        refused, accepted = api.post(CREATE, json=old), api.post(CREATE, json=fresh)
        both = {"image_file_path": "https://a.example/a.png", "end_image_file_path": old["assets"]["image_file_path"]}
        end_refused = api.post(CREATE, json={**body, "assets": both})
        books = sandbox.books(summary=True)
    assert (refused.status_code, accepted.status_code, end_refused.status_code) == (status, 200, status)
    assert refused.json()["message"].startswith("assets.image_file_path: ")
    assert end_refused.json()["message"].startswith("assets.end_image_file_path: ")
    assert books["creates"] == 2


def test_how_long_uploads_last_can_be_set(connect: Connect, body: dict[str, Any], upload: Upload) -> None:
    """In days, and in parts of one."""
    with start(upload_days=0.5) as sandbox:
        api = connect(sandbox)
        old = {**body, "assets": {"image_file_path": upload(api)}}
        sandbox.age_uploads(days=0.6)
        assert api.post(CREATE, json=old).status_code == 404


@pytest.mark.parametrize("stated", [{}, {"days": "many"}, {"days": -1}, {"weeks": 1}])
def test_uploads_age_by_days_only(http: httpx.Client, sandbox: RunningSandbox, stated: Any) -> None:
    """Anything else is refused with the name of what is wrong."""
    assert http.post(f"{sandbox.url}/sandbox/uploads/age", json=stated).status_code == 400


def test_a_saved_item_stands_where_an_upload_may(api: httpx.Client, body: dict[str, Any]) -> None:
    """It is durable and needs no upload; a path without an item is none."""
    saved = "saved-items/characters/chair.png"
    assets = {"image_file_path": saved, "end_image_file_path": saved}
    accepted = api.post(CREATE, json={**body, "assets": assets})
    refused = api.post(CREATE, json={**body, "assets": {"image_file_path": "saved-items/"}})
    assert (accepted.status_code, refused.status_code) == (200, 404)
    assert refused.json()["message"].startswith("assets.image_file_path: ")


def test_a_put_with_the_key_is_refused(api: httpx.Client, body: dict[str, Any]) -> None:
    """A signed URL is the permission: an Authorization header beside it is refused, as by real storage."""
    item = api.post(URLS, json={"items": [{"type": "image", "extension": "png"}]}).json()["items"][0]
    answer = api.put(item["upload_url"], content=b"bytes")
    assert answer.status_code == 400
    assert "Authorization" in answer.json()["message"]
    assert api.post(CREATE, json={**body, "assets": {"image_file_path": item["file_path"]}}).status_code == 404


def test_a_url_that_was_changed_is_refused(http: httpx.Client, api: httpx.Client) -> None:
    """The signature holds for one file and one method only."""
    items = [{"type": "image", "extension": "png"}] * 2
    first, second = (item["upload_url"] for item in api.post(URLS, json={"items": items}).json()["items"])
    mixed = f"{first.partition('?')[0]}?{second.partition('?')[2]}"
    assert http.put(mixed, content=b"x").status_code == 403
    assert http.put(first.partition("?")[0], content=b"x").status_code == 403
    assert http.get(first).status_code == 403


def test_upload_urls_expire(http: httpx.Client, fleeting: RunningSandbox, connect: Connect) -> None:
    """An upload URL that is past its time answers 403."""
    asked = {"items": [{"type": "image", "extension": "png"}]}
    item = connect(fleeting).post(URLS, json=asked).json()["items"][0]
    answer = http.put(item["upload_url"], content=b"x")
    assert (answer.status_code, answer.json()) == (403, {"message": "This URL has expired"})


def test_a_large_upload_arrives_whole(api: httpx.Client, upload: Upload, body: dict[str, Any]) -> None:
    """Forty megabytes in chunks arrive, and the URL can be used again for the same file."""
    chunks = (b"x" * 1_000_000 for _ in range(40))
    path = upload(api, chunks)
    answer = api.post(CREATE, json={**body, "assets": {"image_file_path": path}})
    assert answer.status_code == 200


def test_a_broken_upload_leaves_nothing(api: httpx.Client, body: dict[str, Any]) -> None:
    """An upload whose connection breaks before its end does not count as uploaded."""
    item = api.post(URLS, json={"items": [{"type": "image", "extension": "png"}]}).json()["items"][0]
    url = urlsplit(item["upload_url"])
    with socket.create_connection((url.hostname or "", url.port or 0)) as connection:
        head = f"PUT {url.path}?{url.query} HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Length: 1000\r\n\r\n"
        connection.sendall(head.encode() + b"too little")
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1000)
    answer = api.post(CREATE, json={**body, "assets": {"image_file_path": item["file_path"]}})
    assert answer.status_code == 404


@pytest.mark.parametrize(("kind", "status"), [("upload_fail", 500), ("upload_expired", 403)])
def test_put_faults(http: httpx.Client, sandbox: RunningSandbox, api: httpx.Client, kind: str, status: int) -> None:
    """A PUT can fail or find its URL expired, once; the next one goes through."""
    sandbox.set_faults(first={kind: 1})
    item = api.post(URLS, json={"items": [{"type": "image", "extension": "png"}]}).json()["items"][0]
    assert http.put(item["upload_url"], content=b"x").status_code == status
    assert http.put(item["upload_url"], content=b"x").status_code == 200


def test_upload_slow(http: httpx.Client, sandbox: RunningSandbox, api: httpx.Client, upload: Upload) -> None:
    """A slow storage is late beyond a client's patience, but works for one that waits."""
    sandbox.set_faults(every={"upload_slow": 1}, slow_seconds=0.5)
    item = api.post(URLS, json={"items": [{"type": "image", "extension": "png"}]}).json()["items"][0]
    with pytest.raises(httpx.ReadTimeout):
        http.put(item["upload_url"], content=b"x", timeout=httpx.Timeout(20, read=0.05))
    assert upload(api).endswith(".png")


@pytest.mark.parametrize(("kind", "status"), [("upload_url_fail", 500), ("upload_url_rate_limited", 429)])
def test_upload_url_faults(sandbox: RunningSandbox, api: httpx.Client, kind: str, status: int) -> None:
    """Asking for upload URLs can fail too."""
    sandbox.set_faults(first={kind: 1})
    asked = {"items": [{"type": "image", "extension": "png"}]}
    answer = api.post(URLS, json=asked)
    assert answer.status_code == status
    assert ("Retry-After" in answer.headers) == (status == 429)
    assert api.post(URLS, json=asked).status_code == 200
