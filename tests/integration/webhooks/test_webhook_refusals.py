"""What is not signed, not whole or no event is refused, and nothing of it reaches the table."""

import hmac
import json
import logging
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.routing import Mount
from webhook_stories import ESTIMATE, SECRET, Receiving, entry, event, everything, in_doubt, signed, submit

from reelbatch.errors import SettingsError
from reelbatch.ledger import Ledger
from reelbatch.ledger.admission import Intent
from reelbatch.webhooks import webhook_app
from reelbatch.webhooks.signature import Seal

TIMESTAMP, SIGNATURE = "magic-hour-event-timestamp", "magic-hour-event-signature"
Headers = dict[str, str]


Receive = Callable[..., Receiving]


@pytest.fixture
def body(ledger: Ledger) -> bytes:
    """An event that would change the table, if it were believed."""
    return json.dumps(event("video.completed", submit(ledger))).encode()


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Ledger, Intent]]:
    """One table for all tests here that must not change it, and the row that their events are about."""
    with Ledger(f"sqlite:///{tmp_path_factory.mktemp('untouched') / 'results.db'}") as ledger:
        yield ledger, submit(ledger)


@pytest.fixture
def refusing(receive: Receive, untouched: tuple[Ledger, Intent]) -> Iterator[tuple[Receiving, Intent]]:
    """A receiver whose table is the same when the test ends."""
    ledger, intent = untouched
    before = everything(ledger)
    yield receive(ledger), intent
    assert everything(ledger) == before


def test_a_signed_event_is_taken(receiving: Receiving, body: bytes) -> None:
    """The API's own signature is right: what it says is in the table when it gets its answer."""
    assert receiving.post(body, signed(body)) == 200
    assert entry(receiving.ledger)["state"] == "complete"
    assert receiving.counts.applied == 1


def _without(name: str) -> Callable[[bytes], Headers]:
    return lambda body: {key: value for key, value in signed(body).items() if key != name}


def _with(name: str, value: str) -> Callable[[bytes], Headers]:
    return lambda body: signed(body) | {name: value}


def _stamped(timestamp: str) -> Callable[[bytes], Headers]:
    """The signature is right for this odd time."""

    def headers(body: bytes) -> Headers:
        signature = hmac.new(SECRET.encode(), f"{timestamp}.".encode() + body, "sha256").hexdigest()
        return {TIMESTAMP: timestamp, SIGNATURE: signature}

    return headers


@pytest.mark.parametrize(
    "headers",
    [
        lambda _: {},
        _without(SIGNATURE),
        _without(TIMESTAMP),
        _with(SIGNATURE, ""),
        _with(SIGNATURE, "0" * 64),
        _with(SIGNATURE, "naïve".encode().decode("latin-1")),
        _with(TIMESTAMP, "1"),
        lambda body: signed(body, secret="another"),  # noqa: S106 - made up
        lambda body: signed(body + b" "),
        lambda body: signed(body, at=time.time() - 330),
        lambda body: signed(body, at=time.time() + 330),
        _stamped("soon"),
        _stamped(""),
        _stamped("-1"),
        _stamped(f"{time.time():.1f}"),
        _stamped("9" * 5000),
        _stamped("١٢٣".encode().decode("latin-1")),
    ],
    ids=["none", "no signature", "no time", "empty", "zeros", "not ascii", "other time", "other secret",
         "other body", "old", "early", "words", "empty time", "negative", "fraction", "endless", "digits"],
)  # fmt: skip
def test_what_is_not_signed_is_refused(
    refusing: tuple[Receiving, Intent], headers: Callable[[bytes], Headers]
) -> None:
    """Anyone who does not know the secret, or repeats an old event, changes nothing and learns nothing."""
    receiving, intent = refusing
    body = json.dumps(event("video.completed", intent)).encode()
    stated = {name: value.encode("latin-1") for name, value in headers(body).items()}
    answer = receiving.http.post(receiving.url, content=body, headers=stated)
    assert (answer.status_code, answer.content) == (401, b"")
    assert (receiving.counts.received, receiving.counts.refused) == (1, 1)


@pytest.mark.parametrize(("age", "status"), [(299, 200), (301, 401), (-299, 200), (-301, 401)])
def test_the_age_is_by_the_receivers_clock(
    receive: Callable[..., Receiving], body: bytes, age: int, status: int
) -> None:
    """Five minutes either way are accepted, and not a second more."""
    assert receive(clock=lambda: 1_000_000.0).post(body, signed(body, at=1_000_000 - age)) == status


def test_the_comparison_takes_the_same_time_for_all() -> None:
    """Signatures are compared in constant time, so that no one can guess one byte after the other."""
    assert "compare_digest" in Seal.genuine.__code__.co_names


@pytest.mark.parametrize("secret", ["", None])
def test_without_a_secret_nothing_is_served(ledger: Ledger, secret: str | None) -> None:
    """An empty secret would let everybody sign."""
    with pytest.raises(SettingsError, match="REELBATCH_WEBHOOK_SECRET"):
        webhook_app(ledger, SecretStr(secret or ""))


def _chunks(body: bytes) -> Iterator[bytes]:
    for start in range(0, len(body), 1000):
        yield body[start : start + 1000]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_long_is_refused(receive: Callable[..., Receiving], body: bytes, *, chunked: bool) -> None:
    """More than the limit is not kept, whether or not its length was stated; just the limit is."""
    receiving = receive(max_body=len(body) + 10)
    before = everything(receiving.ledger)
    for longer, status in ((b" " * 5000, 413), (b" " * 11, 413)):
        content = body + longer
        assert receiving.post(_chunks(content) if chunked else content, signed(content)) == status
    assert everything(receiving.ledger) == before
    content = body + b" " * 10
    assert receiving.post(_chunks(content) if chunked else content, signed(content)) == 200


def test_a_body_without_end_is_cut_off(receive: Callable[..., Receiving], body: bytes) -> None:
    """Someone who never stops sending gets no more than a while."""
    receiving = receive(max_body=1000)
    where = urlsplit(receiving.url)
    with socket.create_connection((where.hostname, where.port), timeout=20) as connection, suppress(OSError):
        connection.sendall(b"POST / HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:  # until the other side cuts the connection
            connection.sendall(b"3e8\r\n" + b"x" * 1000 + b"\r\n")
    assert receiving.counts.refused == 1


def test_a_body_that_breaks_off_is_no_event(receiving: Receiving, body: bytes) -> None:
    """Half an event, and a sender who has gone: nothing is recorded, and the next event is served."""
    where = urlsplit(receiving.url)
    before = everything(receiving.ledger)
    with socket.create_connection((where.hostname, where.port), timeout=20) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 5000\r\n\r\n" + body)
    assert everything(receiving.ledger) == before
    assert receiving.post(body, signed(body)) == 200


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"null",
        b"[1]",
        b'"video.completed"',
        b"{}",
        b"[" * 100_000,
        b'{"type": 5, "payload": {}}',
        b'{"type": null, "payload": {"id": "v"}}',
        b'{"type": "video.completed"}',
        b'{"type": "video.completed", "payload": []}',
    ],
)
def test_what_is_no_event_is_refused(refusing: tuple[Receiving, Intent], content: bytes) -> None:
    """A signed body that is no event is refused with 400."""
    receiving, _ = refusing
    assert receiving.post(content, signed(content)) == 400
    assert receiving.counts.refused == 1


@pytest.mark.parametrize(
    "odd",
    [
        {"id": None},
        {"id": ""},
        {"id": 7.5},
        {"id": True},
        {"id": ["vid-1"]},
        {"id": "vid 1"},
        {"id": "vid\ud83c"},
        {"id": "v" * 1000},
        {"status": None},
        {"status": 5},
        {"name": ["a"]},
        {"name": {}},
    ],
    ids=str,
)
def test_wrong_types_are_refused(refusing: tuple[Receiving, Intent], odd: dict[str, Any]) -> None:
    """A payload with something else where an id, a status or a name belongs is refused, and nothing is written."""
    receiving, intent = refusing
    assert receiving.send("video.completed", intent, **odd) == 400


@pytest.mark.parametrize(
    "odd",
    [
        {"name": "a \ud83c rb_0123456789abcdef0123"},
        {"fps": "fast", "width": "wide", "height": 10**30, "credits_charged": "many"},
        {"credits_charged": 10**30},
        {"credits_charged": -5},
        {"downloads": [{}], "error": "boom"},
        {"downloads": "here", "error": [1]},
        {"downloads": None, "error": {"code": 5, "message": ["\x00", "\udfff"]}},
    ],
    ids=str,
)
def test_odd_figures_do_not_stop_an_event(receiving: Receiving, odd: dict[str, Any]) -> None:
    """Where id and status are plain the event counts; figures that can't be kept are left out."""
    intent = in_doubt(receiving.ledger)
    assert receiving.send("video.completed", intent, **odd) == 200
    found = entry(receiving.ledger)
    assert (found["state"], found["video_id"]) == ("complete", "vid-1")
    assert found["credits_final"] in {38, ESTIMATE}


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_only_post_brings_events(refusing: tuple[Receiving, Intent], method: str) -> None:
    """Any other method is refused, however well it is signed."""
    receiving, intent = refusing
    body = json.dumps(event("video.completed", intent)).encode()
    answer = receiving.http.request(method, receiving.url, content=body, headers=signed(body))
    assert answer.status_code == 405


def test_it_says_that_it_lives(receiving: Receiving) -> None:
    """A watchdog can ask without a signature, and finds no figures there."""
    answer = receiving.http.get(f"{receiving.url}health")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert receiving.http.get(f"{receiving.url}elsewhere").status_code == 404


async def test_it_can_be_mounted(ledger: Ledger, body: bytes) -> None:
    """Under a path of another application it does the same."""
    app = Starlette(routes=[Mount("/events", webhook_app(ledger, SecretStr(SECRET)))])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here") as client:
        assert (await client.post("/events/", content=body, headers=signed(body))).status_code == 200
        assert (await client.get("/events/health")).status_code == 200
    assert entry(ledger)["state"] == "complete"


def test_each_event_is_one_line_of_the_log(
    receiving: Receiving, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Every request leaves one line, which has neither the secret nor a signature nor the body in it."""
    with caplog.at_level(logging.INFO, "reelbatch.webhooks"):
        for headers in (signed(body), signed(body), {}):
            receiving.post(body, headers)
        receiving.post(b"{", signed(b"{"))
        receiving.send("video.completed", video_id="another")
    lines = [record.getMessage() for record in caplog.records if record.name == "reelbatch.webhooks"]
    assert [line.split(":")[0] for line in lines] == ["applied", "repeated", "refused", "refused", "ignored"]
    told = "\n".join(lines)
    assert SECRET not in told
    assert signed(body)[SIGNATURE] not in told
    assert "Holiday" not in told
    counts = receiving.counts
    assert (counts.received, counts.applied, counts.repeated, counts.refused, counts.ignored) == (5, 1, 1, 2, 1)
