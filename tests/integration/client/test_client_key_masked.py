"""An answer that repeats the key, in a success too, brings it into no table, file or message."""

from __future__ import annotations

import gzip
import json
import traceback
from urllib.parse import quote

import pytest
from raw_server import KEY, Connect, Serve, answer, keeping

from reelbatch.client import Client, ClientOptions
from reelbatch.client.outcome import Kind, classify
from reelbatch.errors import ApiError

BODY = {"assets": {"image_file_path": "https://images.example.com/a.png"}, "end_seconds": 5}
MASK = "[the API key]"
ESCAPED = "".join(f"\\u{ord(char):04X}" for char in KEY)
SPELT = {
    "plain": f'{{"message": "thanks, {KEY}"}}'.encode(),
    "escaped": f'{{"message": "thanks, {ESCAPED}"}}'.encode(),
    "half escaped": f'{{"message": "thanks, {KEY[:5]}{ESCAPED[30:]}"}}'.encode(),
    "escaped twice": json.dumps({"message": f'{{"key": "{ESCAPED}"}}'}).encode(),
    "in an address": f'{{"message": "see https://x.example/?k={quote(KEY, safe="").replace("_", "%5F")}"}}'.encode(),
    "in UTF-16": json.dumps({"message": f"thanks, {KEY}"}).encode("utf-16"),
    "no JSON": f"<h1>Bearer {KEY}</h1>".encode(),
}


def unescaped(text: str) -> str:
    """`text` as a table or a reader may come to have it."""
    return text.replace("\x00", "") + text.encode().decode("unicode_escape", "replace")


@pytest.mark.parametrize("status", ["200 OK", "202 Accepted", "422 Unprocessable Entity", "504 Gateway Timeout"])
@pytest.mark.parametrize("spelt", SPELT)
async def test_a_kept_body_has_no_key(spelt: str, status: str, serve: Serve, connect: Connect) -> None:
    """Whatever the status and however the key is spelt; what is kept of it goes to the table as it is here."""
    server, seen = await keeping(serve, answer(SPELT[spelt], status))
    async with connect(server.url) as client:
        outcome = classify(await client.send_create(BODY))
    assert KEY.encode() in seen[0]
    for text in (outcome.raw_body or "", outcome.message or ""):
        assert KEY not in unescaped(text)
    if status.startswith("20"):
        assert outcome.kind is Kind.IN_DOUBT
        assert MASK in str(outcome.raw_body).replace("\x00", "")


async def test_an_id_beside_the_key_is_not_lost(serve: Serve, connect: Connect) -> None:
    """The body is read once the key is masked, and is the same JSON but for it."""
    body = json.dumps({"id": "c1", "you": f'Bearer "{KEY}"', "credits_charged": 48}).encode()
    server, _ = await keeping(serve, answer(body))
    async with connect(server.url) as client:
        exchange = await client.send_create(BODY)
    outcome = classify(exchange)
    assert (outcome.kind, outcome.video_id, outcome.credits_charged) == (Kind.SUBMITTED, "c1", 48)
    assert json.loads(exchange.body)["you"] == f'Bearer "{MASK}"'


async def test_a_packed_body_has_no_key(serve: Serve, connect: Connect) -> None:
    """Though we ask for none."""
    body = gzip.compress(f"Bearer {KEY}".encode())
    server, _ = await keeping(serve, answer(body, "200 OK", "Content-Encoding: gzip"))
    async with connect(server.url) as client:
        assert classify(await client.send_create(BODY)).raw_body == f"Bearer {MASK}"


async def test_headers_have_no_key(serve: Serve, connect: Connect) -> None:
    """They are kept nowhere, and still."""
    server, _ = await keeping(serve, answer(b"{}", "200 OK", f"X-Echo: Bearer {KEY}"))
    async with connect(server.url) as client:
        exchange = await client.send_create(BODY)
    assert KEY not in repr(exchange)
    assert any(MASK in value for value in exchange.headers.values())


async def test_an_answer_that_is_no_http_has_no_key(serve: Serve, connect: Connect) -> None:
    """A parser quotes what it can't read, in its own errors and in those behind them."""
    server, _ = await keeping(serve, f"HTTP/1.1 OK {KEY}\r\nBearer {KEY}\r\n\r\n".encode())
    async with connect(server.url) as client:
        exchange = await client.send_create(BODY)
        outcome = classify(exchange)
        with pytest.raises(ApiError) as asked:
            await client.get_video("c1")
    assert KEY not in repr(outcome)
    for error in (exchange.error, asked.value):
        assert error is not None
        assert KEY not in "".join(traceback.format_exception(error))


async def test_a_video_has_no_key(serve: Serve, connect: Connect) -> None:
    """Its error goes to the results table, and its whole answer to callers of the client."""
    said = {"id": "c1", "status": "error", "name": f"n {KEY}", "error": {"code": KEY, "message": f"with {KEY}"}}
    server, _ = await keeping(serve, answer(json.dumps(said).encode()))
    async with connect(server.url) as client:
        video = await client.get_video("c1")
    assert KEY not in repr(video)
    assert video.error_message == f"with {MASK}"


async def test_a_short_key_is_no_secret(serve: Serve) -> None:
    """The sandbox's is an ordinary word; an answer is not worse for it."""
    server, _ = await keeping(serve, answer(b'{"message": "the sandbox thanks"}'))
    async with Client("sandbox", ClientOptions(base_url=server.url, concurrency=1, timeout_s=5)) as client:
        assert "the sandbox thanks" in str(classify(await client.send_create(BODY)).raw_body)
