"""Answers that are larger than anything the API says: their id is found, and memory is not filled."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from raw_server import Connect, Serve, answer, keeping, packed, read_request

from reelbatch.client import UploadSlot
from reelbatch.client.outcome import Kind, classify
from reelbatch.client.salvage import ANSWER_LIMIT

BODY = {"assets": {"image_file_path": "https://images.example.com/a.png"}, "end_seconds": 5}
START = b'{"id":"clx7uu86w","credits_charged":450,"padding":"'


async def test_the_id_in_a_packed_answer_of_any_length_is_kept(serve: Serve, connect: Connect) -> None:
    """Two hundred kilobytes would be two hundred megabytes; five are unpacked, and the video is not lost."""
    server, _ = await keeping(serve, answer(packed(START), "200 OK", "Content-Encoding: gzip"))
    async with connect(server.url) as client:
        exchange = await client.send_create(BODY)
    assert len(exchange.body) <= ANSWER_LIMIT
    outcome = classify(exchange)
    assert (outcome.kind, outcome.video_id) == (Kind.SUBMITTED, "clx7uu86w")


async def test_the_id_in_an_answer_without_an_end_is_kept(serve: Serve, connect: Connect) -> None:
    """What is read of it is bounded, and the wait for the rest is not."""

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + START)
        while True:
            writer.write(b"x" * (1 << 20))
            await writer.drain()

    server = await serve(pour)
    async with connect(server.url, timeout_s=20.0) as client:
        exchange = await client.send_create(BODY)
    assert len(exchange.body) <= ANSWER_LIMIT + (1 << 20)
    outcome = classify(exchange)
    assert (outcome.kind, outcome.video_id) == (Kind.SUBMITTED, "clx7uu86w")


_UPLOAD = textwrap.dedent("""
    import asyncio, json, resource, sys
    import httpx
    from reelbatch.client import Client, ClientOptions, UploadSlot

    async def main(url, way):
        transport = httpx.AsyncHTTPTransport() if way == "httpx" else None
        async with Client("mhk_test", ClientOptions(base_url=url, transport=transport)) as client:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            for number in range(3):
                await client.put_bytes(UploadSlot(f"{url}/{number}", "api-assets/1.png", None), b"image")
            print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before))

    asyncio.run(main(*sys.argv[1:]))
""")


@pytest.mark.parametrize("way", ["own connections", "httpx"])
async def test_what_a_storage_says_to_an_upload_is_not_unpacked(serve: Serve, tmp_path: Path, way: str) -> None:
    """Only its status is of interest: three such answers, and the process grows by less than 60 MB."""
    server, _ = await keeping(serve, answer(packed(START), "200 OK", "Content-Encoding: gzip"))
    script = tmp_path / "upload.py"
    script.write_text(_UPLOAD)
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(script), server.url, way, stdout=subprocess.PIPE
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0
    assert json.loads(printed) < 60_000


async def test_an_upload_is_over_though_its_answer_has_no_end(serve: Serve, connect: Connect) -> None:
    """The storage has the bytes; what it goes on to say holds nothing up."""

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * (1 << 20))
            await writer.drain()

    server = await serve(pour)
    async with connect(server.url, timeout_s=20.0) as client:
        await client.put_bytes(UploadSlot(f"{server.url}/1", "api-assets/1.png", None), b"image")
    await server.until_open(0)
