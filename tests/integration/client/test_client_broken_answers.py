"""Answers in which the id is hard to find: behind answers that only announce it, or behind a head that is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from raw_server import KEY, Serve, answer, read_request

from reelbatch.client import Client, ClientOptions
from reelbatch.client.outcome import Exchange, Kind, Outcome, classify

BODY = {"assets": {"image_file_path": "https://images.example.com/a.png"}, "end_seconds": 5}
GOOD = b'{"id":"clx7uu86w","credits_charged":450}'
TWICE = b"HTTP/1.1 200 OK\r\nContent-Length: 40\r\nContent-Length: 40\r\n\r\n" + GOOD
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
EARLY = b"HTTP/1.1 103 Early Hints\r\nConnection: close\r\n\r\n"
STREAMS = {
    "a hint that speaks of closing": EARLY + answer(GOOD),
    "a continue of the old protocol": b"HTTP/1.0 100 Continue\r\n\r\n" + answer(GOOD),
    "three of them": EARLY + b"HTTP/1.0 100 Continue\r\n\r\n" + EARLY + answer(GOOD),
    "a hint with a length": b"HTTP/1.1 103 Early Hints\r\nContent-Length: 9\r\n\r\n" + answer(GOOD),
    "a hint longer than the answer": b"HTTP/1.1 103 Early Hints\r\nContent-Length: 999\r\n\r\n" + answer(GOOD),
    "the length twice": TWICE,
    "the length twice, after a hint": EARLY + TWICE,
    "a header without a colon": b"HTTP/1.1 201 Created\r\nserved by 7\r\nContent-Length: 40\r\n\r\n" + GOOD,
    "a header without a name": b"HTTP/1.1 200 OK\r\n: x\r\n\r\n" + GOOD,
    "two blanks before the status": b"HTTP/1.1  200 OK\r\nContent-Length: 40\r\n\r\n" + GOOD,
    "a length that is no number": b"HTTP/1.1 200 OK\r\nContent-Length: 4O\r\n\r\n" + GOOD,
    "a chunk's length that is no number": CHUNKED + b"zz\r\n" + GOOD + b"\r\n0\r\n\r\n",
    "a second chunk's length that is no number": CHUNKED + b"14\r\n" + GOOD[:20] + b"\r\nzz\r\n" + GOOD[20:],
    "chunks after the length twice": TWICE[: -len(GOOD) - 2]
    + CHUNKED[17:]
    + b"14\r\n%b\r\n14\r\n%b\r\n0\r\n\r\n" % (GOOD[:20], GOOD[20:]),
}


async def answered_in_two(serve: Serve, raw: bytes, cuts: Sequence[int], *, closes: bool) -> list[Exchange]:
    """What creates end in whose answer `raw` comes in two pieces: one create for each of `cuts`."""
    places = iter(cuts)

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        cut = next(places)
        await read_request(reader)
        writer.write(raw[:cut])
        await asyncio.sleep(0.001)  # so that the pieces are read one by one
        writer.write(raw[cut:])
        if not closes:
            await reader.read()

    server = await serve(behave)
    limit_s = 30 if closes else 0.6  # where the server leaves it open, only the time limit ends an answer
    async with Client(KEY, ClientOptions(base_url=server.url, concurrency=1, timeout_s=limit_s)) as client:
        return [await client.send_create(BODY) for _ in cuts]


@pytest.mark.parametrize("raw", STREAMS.values(), ids=STREAMS)
async def test_an_id_is_found_wherever_the_answer_is_cut(serve: Serve, raw: bytes) -> None:
    """Each place at which a stream of bytes can be cut in two, and not cut at all; the server closes behind it."""
    exchanges = await answered_in_two(serve, raw, range(1, len(raw) + 1), closes=True)
    assert {_found(classify(exchange)) for exchange in exchanges} == {(Kind.SUBMITTED, "clx7uu86w")}


def _found(outcome: Outcome) -> tuple[Kind, str | None]:
    return outcome.kind, outcome.video_id


@pytest.mark.parametrize("raw", STREAMS.values(), ids=STREAMS)
async def test_an_id_is_found_though_the_server_leaves_the_connection_open(serve: Serve, raw: bytes) -> None:
    """Where nothing says how long the answer is, what came within the time limit counts."""
    cut = raw.index(GOOD[:9])
    (exchange,) = await answered_in_two(serve, raw, [cut], closes=False)
    assert _found(classify(exchange)) == (Kind.SUBMITTED, "clx7uu86w")


async def test_a_refusal_whose_head_can_t_be_read_is_in_doubt_with_its_body(serve: Serve) -> None:
    """Its status is not certain, and what it says is kept."""
    raw = TWICE.replace(b"200 OK", b"409 Conflict")
    (exchange,) = await answered_in_two(serve, raw, [len(raw)], closes=False)
    assert (exchange.status, exchange.body) == (None, GOOD)
    assert classify(exchange).kind is Kind.IN_DOUBT


@pytest.mark.parametrize("raw", [b"SSH-2.0-OpenSSH_9.6\r\n", b"HTTP/1.1 banana\r\n\r\n", b"HTTP/9\r\n"])
async def test_what_is_no_answer_is_not_waited_for(serve: Serve, raw: bytes) -> None:
    """The wait ends with the first line, not with the time limit."""
    (exchange,) = await answered_in_two(serve, raw, [3], closes=False)
    assert "can't be read" in str(exchange.error)
