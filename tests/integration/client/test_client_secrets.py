"""The key goes to the API and nowhere else: not to storage, not into messages, not into logs."""

from __future__ import annotations

import asyncio
import logging
import traceback
from pathlib import Path

import pytest
from raw_server import KEY, Connect, RawServer, Serve, answer, keeping

from reelbatch.client import Client, ClientOptions, UploadSlot
from reelbatch.client.outcome import classify
from reelbatch.errors import ApiError, CreateError, SettingsError, UploadError

BODY = {"assets": {"image_file_path": "https://images.example.com/a.png"}, "end_seconds": 5}


def client_of(server: RawServer) -> Client:
    """A client of `server`."""
    return Client(KEY, ClientOptions(base_url=server.url, concurrency=1, timeout_s=5))


async def test_an_upload_carries_no_key(serve: Serve, image: Path) -> None:
    """The upload address is its own permission; its host is not the API's."""
    server, seen = await keeping(serve, answer(b""))
    async with client_of(server) as client:
        await client.put_file(UploadSlot(f"{server.url}/up?sig=1", "api-assets/1.png", None), image)
    (request,) = seen
    assert KEY.encode() not in request
    assert b"authorization" not in request.lower()


async def test_a_redirected_upload_is_refused(serve: Serve, image: Path) -> None:
    """The bytes go where the API said and nowhere else."""
    server, seen = await keeping(serve, answer(b"", "307 Temporary Redirect", "Location: /elsewhere"))
    async with client_of(server) as client:
        with pytest.raises(UploadError, match="307"):
            await client.put_file(UploadSlot(f"{server.url}/up", "api-assets/1.png", None), image)
    assert len(seen) == 1


async def test_a_download_carries_no_key_also_where_it_is_redirected(serve: Serve) -> None:
    """Not even a redirect to the API's own address brings the key along."""
    target, seen_there = await keeping(serve, answer(b"film"))
    first, seen_here = await keeping(serve, answer(b"", "302 Found", f"Location: {target.url}/v1/video-projects/1"))
    async with client_of(target) as client, client.download(f"{first.url}/film.mp4") as response:
        assert await response.aread() == b"film"
    for request in (*seen_here, *seen_there):
        assert b"authorization" not in request.lower()
    assert len(seen_there) == 1


async def test_no_message_repeats_the_key(serve: Serve) -> None:
    """Not even where the server itself repeats it in its refusal."""
    server, _ = await keeping(serve, answer(f'{{"message": "no such key: {KEY}"}}'.encode(), "401 Unauthorized"))
    async with client_of(server) as client:
        with pytest.raises(CreateError, match="no such key") as refused:
            await client.create(image_path="https://images.example.com/a.png", end_seconds=5)
        with pytest.raises(ApiError, match="no such key") as unknown:
            await client.get_video("c1")
        outcome = classify(await client.send_create(BODY))
    for error in (refused.value, unknown.value):
        assert KEY not in "".join(traceback.format_exception(error))
        assert KEY not in repr(error)
    assert KEY not in repr(outcome)


async def test_no_representation_shows_the_key(serve: Serve) -> None:
    """Neither the client's nor that of anything it hands out."""
    server, _ = await keeping(serve, answer(b'{"id": "c1"}'))
    async with client_of(server) as client:
        exchange = await client.send_create(BODY)
        shown = [repr(client), str(client), repr(vars(client)), repr(exchange)]
    assert not any(KEY in text for text in shown)


async def test_no_log_shows_the_key(
    serve: Serve, connect: Connect, image: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """At the most talkative level, the HTTP libraries' own loggers included, whether calls succeed or fail."""
    asyncio.get_running_loop().set_debug(True)
    caplog.set_level(logging.DEBUG)
    for name in ("httpx", "httpcore", "asyncio", "reelbatch"):
        caplog.set_level(logging.DEBUG, logger=name)
    server, seen = await keeping(serve, answer(b'{"id": "c1", "status": "queued"}', "200 OK"))
    async with connect(server.url) as client:
        await client.send_create(BODY)
        await client.get_video("c1")
        await client.put_file(UploadSlot(f"{server.url}/up", "api-assets/1.png", None), image)
    async with connect("http://127.0.0.1:9") as client:
        await client.send_create(BODY)
    assert any(KEY.encode() in request for request in seen)
    assert caplog.text  # asyncio or the libraries did log
    assert KEY not in caplog.text


@pytest.mark.parametrize("key", ["", "   ", "mhk_ä", "mhk_1\n", "mhk\x00", "mhk\r\nX-Evil: 1"])
def test_a_key_that_no_header_can_carry_is_refused_at_once(key: str) -> None:
    """Without repeating it, and before anything is sent."""
    with pytest.raises(SettingsError, match="MAGIC_HOUR_API_KEY") as error:
        Client(key)
    assert not key.strip() or key not in str(error.value)


async def test_a_short_key_does_not_spoil_messages(serve: Serve) -> None:
    """The sandbox's key is an ordinary word; no message is worse for it."""
    server, _ = await keeping(serve, answer(b'{"message": "nothing in api-assets/sandbox"}', "404 Not Found"))
    async with Client("sandbox", ClientOptions(base_url=server.url, concurrency=1, timeout_s=5)) as client:
        assert classify(await client.send_create(BODY)).message == "nothing in api-assets/sandbox"
        with pytest.raises(ApiError, match="api-assets/sandbox"):
            await client.get_video("c1")
