"""What is known about a create that went wrong, over real sockets: whatever may have left is never sent again."""

from __future__ import annotations

import asyncio
import gzip
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from ports import free_port
from raw_server import KEY, Behaviour, Connect, Serve, answer, keeping, read_request, reset

from reelbatch.client import Client, ClientOptions
from reelbatch.client.outcome import Exchange, Kind, Outcome, classify

BODY = {"assets": {"image_file_path": "https://images.example.com/a.png"}, "end_seconds": 5}
GOOD = b'{"id":"clx7uu86w","credits_charged":450,"estimated_frame_cost":450}'


async def send(connect: Connect, url: str, timeout_s: float = 5.0) -> tuple[Exchange, Outcome]:
    """One create to `url`, and what it ended in."""
    async with connect(url, timeout_s=timeout_s) as client:
        exchange = await client.send_create(BODY)
    return exchange, classify(exchange)


# --- nothing left ---------------------------------------------------------------------------------------------


async def test_a_refused_connection_may_be_tried_again(connect: Connect) -> None:
    """No one listens, so nothing left."""
    exchange, outcome = await send(connect, f"http://127.0.0.1:{free_port()}")
    assert (exchange.request_sent, outcome.kind, outcome.code) == (False, Kind.RETRY, "not_connected")


async def test_a_name_that_is_not_known_may_be_tried_again(connect: Connect) -> None:
    """The name server says no, so nothing left."""
    exchange, outcome = await send(connect, "https://api.reelbatch.invalid")
    assert (exchange.request_sent, outcome.kind, outcome.code) == (False, Kind.RETRY, "not_connected")


@pytest.fixture
def deaf() -> Iterator[int]:
    """A port whose queue of new connections is full: the kernel drops new ones."""
    with ExitStack() as stack:
        listening = stack.enter_context(socket.socket())
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for _ in range(8):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listening.getsockname())
        yield listening.getsockname()[1]


async def test_a_connection_that_never_comes_about_may_be_tried_again(connect: Connect, deaf: int) -> None:
    """The wait for a connection is bounded, and nothing left."""
    exchange, outcome = await send(connect, f"http://127.0.0.1:{deaf}", timeout_s=0.5)
    assert (exchange.request_sent, outcome.kind, outcome.code) == (False, Kind.RETRY, "not_connected")


async def test_a_failed_tls_handshake_may_be_tried_again(connect: Connect, serve: Serve) -> None:
    """A server that speaks plain text where TLS is expected got nothing of the request."""

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")

    server = await serve(plain)
    exchange, outcome = await send(connect, f"https://localhost:{server.port}")
    assert (exchange.request_sent, outcome.kind) == (False, Kind.RETRY)


async def test_a_tls_handshake_that_never_ends_may_be_tried_again(connect: Connect, serve: Serve) -> None:
    """A server that accepts and says nothing: bounded, and nothing of the request left."""
    server = await serve(_silent)
    exchange, outcome = await send(connect, f"https://localhost:{server.port}", timeout_s=0.5)
    assert (exchange.request_sent, outcome.kind) == (False, Kind.RETRY)


async def test_no_free_connection_may_be_tried_again(serve: Serve) -> None:
    """A create that waits too long behind three others never left; those others may have."""
    server = await serve(_silent_after_request)
    async with Client(KEY, ClientOptions(base_url=server.url, concurrency=3, timeout_s=0.5)) as client:
        exchanges = await asyncio.gather(*(client.send_create(BODY) for _ in range(4)))
    ended = sorted((exchange.request_sent, classify(exchange).kind.value) for exchange in exchanges)
    assert ended == [(False, "retry")] + [(True, "in_doubt")] * 3
    assert server.most_open == 3


async def test_a_wait_for_a_connection_does_not_shorten_the_wait_for_the_answer(serve: Serve) -> None:
    """A create that was held up gets the same time for its answer as any other."""

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            await asyncio.sleep(0.7)  # twice that is longer than the client's timeout
            writer.write(answer(GOOD))

    server = await serve(slow)
    async with Client(KEY, ClientOptions(base_url=server.url, concurrency=8, timeout_s=1.0)) as client:
        exchanges = await asyncio.gather(*(client.send_create(BODY) for _ in range(16)))
    assert {classify(exchange).kind for exchange in exchanges} == {Kind.SUBMITTED}


# --- it may have left, and there is no answer -------------------------------------------------------------------


async def _silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    while await reader.read(1000):
        pass


async def _silent_after_request(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await read_request(reader)
    await reader.read()


async def _close_at_once(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def _close_after_headers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.close()


async def _close_after_everything(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_request(reader)
    writer.close()


async def _close_within_headers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_request(reader)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Le")
    await writer.drain()


async def _reset_at_once(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    reset(writer)


async def _reset_after_headers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    reset(writer)


async def _reset_after_everything(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_request(reader)
    reset(writer)


async def _reset_within_headers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_request(reader)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Le")
    await writer.drain()
    await asyncio.sleep(0.05)  # so that the piece is read before the reset, which would take it away
    reset(writer)


async def _garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_request(reader)
    writer.write(b"\x15\x03\x01 220 mail.example.com ESMTP\r\n\r\n")
    await writer.drain()


async def _continues_for_ever(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_request(reader)
    await _for_ever(writer, b"HTTP/1.1 100 Continue\r\n\r\n")


async def _headers_for_ever(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_request(reader)
    writer.write(b"HTTP/1.1 200 OK\r\n")
    await _for_ever(writer, b"X-More: 1\r\n")


async def _for_ever(writer: asyncio.StreamWriter, piece: bytes) -> None:
    while True:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0.05)  # each in time


async def _switches_protocols(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_request(reader)
    writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
    await writer.drain()
    await reader.read()


UNANSWERED: list[Behaviour] = [
    _silent,
    _close_at_once,
    _close_after_headers,
    _close_after_everything,
    _close_within_headers,
    _reset_at_once,
    _reset_after_headers,
    _reset_after_everything,
    _reset_within_headers,
    _garbage,
    _continues_for_ever,
    _headers_for_ever,
    _switches_protocols,
]


@pytest.mark.parametrize("behaviour", UNANSWERED, ids=lambda behaviour: behaviour.__name__.strip("_"))
async def test_a_request_that_began_to_leave_is_in_doubt(
    connect: Connect, serve: Serve, behaviour: Behaviour
) -> None:
    """However the connection ends without an answer, and however long that takes: bounded, and never sent again."""
    server = await serve(behaviour)
    async with asyncio.timeout(20):
        exchange, outcome = await send(connect, server.url, timeout_s=0.6)
    assert exchange.request_sent
    assert outcome.kind is Kind.IN_DOUBT
    assert server.connections == 1


async def test_a_connection_closed_just_as_it_is_used_again_is_in_doubt(connect: Connect, serve: Serve) -> None:
    """The second create went out on a kept connection, and no one can say whether it arrived."""

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(answer(GOOD))
        await reader.readexactly(1)  # closes when the next request has begun to arrive

    server = await serve(once)
    async with connect(server.url, timeout_s=5) as client:
        first, second = await client.send_create(BODY), await client.send_create(BODY)
    assert classify(first).kind is Kind.SUBMITTED
    assert (second.request_sent, classify(second).kind) == (True, Kind.IN_DOUBT)
    assert server.connections == 1


async def test_a_connection_that_was_closed_while_idle_is_not_used_again(connect: Connect, serve: Serve) -> None:
    """A server that closes after each answer leaves nothing in doubt."""

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(answer(GOOD))
        await writer.drain()

    server = await serve(once)
    async with connect(server.url, timeout_s=5) as client:
        kinds = []
        for _ in range(3):
            kinds.append(classify(await client.send_create(BODY)).kind)
            await server.until_open(0)
    assert kinds == [Kind.SUBMITTED] * 3
    assert server.connections == 3


# --- there is an answer, or part of one -------------------------------------------------------------------------


async def answered(connect: Connect, serve: Serve, raw: bytes, timeout_s: float = 5.0) -> Outcome:
    """The outcome when the server returns `raw` and closes."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(raw)
        await writer.drain()

    server = await serve(behave)
    exchange, outcome = await send(connect, server.url, timeout_s)
    assert exchange.request_sent
    return outcome


CUT_OFF = [
    pytest.param(b"", Kind.IN_DOUBT, id="before the body"),
    pytest.param(GOOD[:9], Kind.IN_DOUBT, id="within the id"),
    pytest.param(GOOD[:18], Kind.SUBMITTED, id="after the id"),
    pytest.param(GOOD[:-1], Kind.SUBMITTED, id="before the last byte"),
]


@pytest.mark.parametrize(("kept", "kind"), CUT_OFF)
async def test_a_success_that_breaks_off_is_never_sent_again(
    connect: Connect, serve: Serve, kept: bytes, kind: Kind
) -> None:
    """With the id already there it is submitted, else in doubt."""
    raw = answer(GOOD)[: -len(GOOD)] + kept
    outcome = await answered(connect, serve, raw)
    assert outcome.kind is kind
    assert outcome.video_id == ("clx7uu86w" if kind is Kind.SUBMITTED else None)


async def test_a_success_that_stalls_after_its_id_is_submitted(connect: Connect, serve: Serve) -> None:
    """Time running out does not throw an id away."""

    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(answer(GOOD)[:-1])
        await reader.read()

    server = await serve(stall)
    _, outcome = await send(connect, server.url, timeout_s=0.4)
    assert (outcome.kind, outcome.video_id) == (Kind.SUBMITTED, "clx7uu86w")


@pytest.mark.parametrize("rest", [b" " * 10_000, b""], ids=["for ever", "to its end"])
async def test_a_body_that_dribbles_is_waited_for_within_bounds(connect: Connect, serve: Serve, rest: bytes) -> None:
    """Byte after byte, each in time: the whole has its limit as well, and the id is kept."""

    async def dribble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        content = GOOD + rest
        writer.write(answer(content)[: -len(content)])
        for byte in content:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.005)  # each in time

    server = await serve(dribble)
    async with asyncio.timeout(15):
        _, outcome = await send(connect, server.url, timeout_s=1.5)
    assert (outcome.kind, outcome.video_id) == (Kind.SUBMITTED, "clx7uu86w")


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
ANSWERED: dict[str, tuple[bytes, Kind]] = {
    "whole": (answer(GOOD), Kind.SUBMITTED),
    "continue first": (b"HTTP/1.1 100 Continue\r\n\r\n" + answer(GOOD), Kind.SUBMITTED),
    "early hints first": (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + answer(GOOD), Kind.SUBMITTED),
    "no length": (b"HTTP/1.1 200 OK\r\n\r\n" + GOOD, Kind.SUBMITTED),
    "old protocol": (b"HTTP/1.0 200 OK\r\n\r\n" + GOOD, Kind.SUBMITTED),
    "in chunks": (CHUNKED + b"%x\r\n%b\r\n0\r\n\r\n" % (len(GOOD), GOOD), Kind.SUBMITTED),
    "chunks cut off": (CHUNKED + b"%x\r\n%b" % (len(GOOD), GOOD[:30]), Kind.SUBMITTED),
    "in chunks, with a trailer": (CHUNKED + b"%x\r\n%b\r\n0\r\nX-Id: 1\r\n\r\n" % (len(GOOD), GOOD), Kind.SUBMITTED),
    "in chunks, with a length": (
        CHUNKED[:-2] + b"Content-Length: 5\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(GOOD), GOOD),
        Kind.SUBMITTED,
    ),
    "the length twice": (answer(GOOD, "200 OK", f"Content-Length: {len(GOOD)}"), Kind.SUBMITTED),
    "the length twice in one line": (answer(GOOD).replace(b"68", b"68, 68", 1), Kind.SUBMITTED),
    "lines without carriage returns": (answer(GOOD).replace(b"\r\n", b"\n"), Kind.SUBMITTED),
    "a header over two lines": (answer(GOOD, "200 OK", "X-Note: first\r\n second"), Kind.SUBMITTED),
    "no reason phrase": (answer(GOOD, "200"), Kind.SUBMITTED),
    "another protocol from here": (
        answer(b"", "101 Switching Protocols", "Upgrade: x", "Connection: upgrade"),
        Kind.IN_DOUBT,
    ),
    "a later protocol": (answer(GOOD).replace(b"/1.1", b"/1.2", 1), Kind.SUBMITTED),
    "no HTTP": (b"SSH-2.0-OpenSSH_9.6\r\n", Kind.IN_DOUBT),
    "compressed": (answer(gzip.compress(GOOD), "200 OK", "Content-Encoding: gzip"), Kind.SUBMITTED),
    "said to be compressed": (answer(GOOD, "200 OK", "Content-Encoding: gzip"), Kind.SUBMITTED),
    "said to be brotli": (answer(GOOD, "200 OK", "Content-Encoding: br"), Kind.SUBMITTED),
    "compression cut off": (
        answer(gzip.compress(GOOD)[:-12], "200 OK", "Content-Encoding: gzip"),
        Kind.SUBMITTED,
    ),
    "compression broken": (
        answer(gzip.compress(GOOD)[:11] + b"\xff" * 30, "200 OK", "Content-Encoding: gzip"),
        Kind.IN_DOUBT,
    ),
    "longer than stated": (answer(GOOD) + b"and more", Kind.SUBMITTED),
    "created, empty": (answer(b"", "201 Created"), Kind.IN_DOUBT),
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", Kind.IN_DOUBT),
    "a web page": (answer(b"<html>welcome to the hotel's network</html>"), Kind.IN_DOUBT),
    "nested without end": (answer(b'{"id":"clx7uu86w","x":' + b"[" * 100_000), Kind.SUBMITTED),
    "huge, id first": (answer(GOOD[:-1] + b',"x":"' + b"a" * 8_000_000 + b'"}'), Kind.SUBMITTED),
    "trailers without end": (
        CHUNKED + b"%x\r\n%b\r\n0\r\nX-Long: " % (len(GOOD), GOOD) + b"a" * 15_000_000,
        Kind.SUBMITTED,
    ),
    "huge, no id": (answer(b'{"x":"' + b"a" * 8_000_000 + b'"}'), Kind.IN_DOUBT),
    "redirect": (answer(b"", "307 Temporary Redirect", "Location: /v1/image-to-video?again=1"), Kind.REJECTED),
    "too fast, absurd date": (
        answer(b"", "429 Too Many Requests", "Retry-After: Mon, 01 Jan 99999999999999999999 00:00:00 GMT"),
        Kind.RETRY,
    ),
    "server error with an id, cut off": (
        b"HTTP/1.1 500 Oh\r\nContent-Length: 999\r\n\r\n" + GOOD[:30],
        Kind.IN_DOUBT,
    ),
    "an unknown status": (answer(GOOD, "799 Odd"), Kind.IN_DOUBT),
}


@pytest.mark.parametrize(("raw", "kind"), ANSWERED.values(), ids=ANSWERED)
async def test_odd_answers(connect: Connect, serve: Serve, raw: bytes, kind: Kind) -> None:
    """An id that came is kept, and without one only a refusal is certain."""
    outcome = await answered(connect, serve, raw)
    assert outcome.kind is kind
    assert outcome.video_id == ("clx7uu86w" if kind is Kind.SUBMITTED else None)


async def test_an_answer_before_the_request_was_read_counts(connect: Connect, serve: Serve) -> None:
    """A refusal that comes early, with the connection closed behind it, is a refusal and not a lost connection."""

    async def impatient(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer(b'{"message": "Unauthorized"}', "401 Unauthorized", "Connection: close"))
        await writer.drain()
        await reader.read()

    server = await serve(impatient)
    _, outcome = await send(connect, server.url)
    assert (outcome.kind, outcome.message) == (Kind.HALT, "Unauthorized")


async def test_a_redirect_is_not_followed(connect: Connect, serve: Serve) -> None:
    """Neither to the same host nor to another: one request arrives."""
    moved = answer(b"", "308 Permanent Redirect", "Location: /v1/image-to-video")
    server, seen = await keeping(serve, moved)
    _, outcome = await send(connect, server.url)
    assert outcome.kind is Kind.REJECTED
    assert len(seen) == 1


async def test_cancelling_a_create_leaves_nothing_running(connect: Connect, serve: Serve) -> None:
    """Anyone who is cancelled in mid-request is told of it, and the connection goes too."""
    server = await serve(_silent_after_request)
    async with connect(server.url) as client:
        sending: asyncio.Task[Any] = asyncio.create_task(client.send_create(BODY))
        await server.until_open(1)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        async with asyncio.timeout(5):
            await server.until_open(0)


async def test_closing_waits_for_answers_under_way(connect: Connect, serve: Serve) -> None:
    """A client that is closed in mid-create still brings the id."""

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        await asyncio.sleep(0.3)  # the answer comes while the client is being closed
        writer.write(answer(GOOD))
        await writer.drain()

    server = await serve(slow)
    client = connect(server.url)
    sending = asyncio.create_task(client.send_create(BODY))
    await server.until_open(1)
    await client.close()
    assert classify(await sending).video_id == "clx7uu86w"
