"""Uploads: streamed, with their length stated, and every trouble an error of ours."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from raw_server import Serve, answer, keeping, read_request, reset

from reelbatch.client import Client, ClientOptions, UploadSlot
from reelbatch.errors import ApiError, UploadError

KEY = "mhk_live_0123456789abcdef"
GIGABYTE = 1 << 30
SIZE = 12 << 20  # more than fits into the buffers between client and server

_BIG_UPLOAD = textwrap.dedent("""
    import asyncio, json, resource, sys
    from reelbatch.client import Client, ClientOptions, UploadSlot

    async def main(url, path):
        async with Client("mhk_test", ClientOptions(base_url=url)) as client:
            await client.put_file(UploadSlot(url + "/small", "api-assets/1.png", None), __file__)
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            await client.put_file(UploadSlot(url + "/big", "api-assets/2.png", None), path)
            print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before))

    asyncio.run(main(*sys.argv[1:]))
""")


async def test_a_gigabyte_is_uploaded_without_being_held_in_memory(tmp_path: Path) -> None:
    """The process grows by less than 60 MB; the length is stated, and every byte arrives."""
    heads: list[bytes] = []
    received: list[int] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        discarding = asyncio.create_task(asyncio.to_thread(_discard_uploads, listening, heads, received))
        big, script = tmp_path / "big.png", tmp_path / "upload.py"
        script.write_text(_BIG_UPLOAD)
        big.touch()
        os.truncate(big, GIGABYTE)
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(script), url, str(big), stdout=subprocess.PIPE
        )
        printed, _ = await process.communicate()
        await discarding
    assert process.returncode == 0
    assert received[1] == GIGABYTE
    assert not any(b"transfer-encoding" in head for head in heads)
    assert json.loads(printed) < 60_000


def _discard_uploads(listening: socket.socket, heads: list[bytes], received: list[int]) -> None:
    """Two uploads on one connection; in a thread, for the speed of it."""
    buffer = memoryview(bytearray(1 << 20))
    connection, _ = listening.accept()
    with connection:
        for _ in range(2):
            head = b""
            while b"\r\n\r\n" not in head:
                head += connection.recv(1)
            heads.append(head.lower())
            length = left = int(heads[-1].split(b"content-length: ")[1].split(b"\r\n")[0])
            while left and (got := connection.recv_into(buffer[:left])):
                left -= got
            received.append(length - left)
            connection.sendall(answer(b""))


async def upload(url: str, path: Path) -> None:
    """One upload to `url`."""
    async with Client(KEY, ClientOptions(base_url="http://127.0.0.1:9", timeout_s=2)) as client:
        await client.put_file(UploadSlot(url, "api-assets/1.png", None), path)


async def test_more_uploads_than_connections_wait_their_turn(serve: Serve, image: Path) -> None:
    """A slow line is no error: a file may wait longer for those before it than an answer may take."""

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(1.6)  # longer than the client's timeout
        await reader.readexactly(SIZE)
        writer.write(answer(b""))
        await writer.drain()

    os.truncate(image, SIZE)
    server = await serve(slow)
    slot = UploadSlot(server.url, "api-assets/1.png", None)
    async with Client(KEY, ClientOptions(base_url=server.url, timeout_s=1.2)) as client:
        await asyncio.gather(*(client.put_file(slot, image) for _ in range(20)))
    assert server.most_open <= 16


@pytest.mark.parametrize("status", ["301 Moved", "403 Forbidden", "413 Too Large", "500 Oh", "503 Busy"])
async def test_a_storage_that_refuses_is_an_upload_error(serve: Serve, image: Path, status: str) -> None:
    """With its status."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(answer(b"<xml/>", status))
        await writer.drain()

    server = await serve(refuse)
    with pytest.raises(UploadError) as error:
        await upload(server.url, image)
    assert error.value.status == int(status[:3])


async def test_a_storage_that_hangs_up_is_an_upload_error(serve: Serve, image: Path) -> None:
    """Wherever in the upload."""

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        reset(writer)

    server = await serve(hang_up)
    with pytest.raises(UploadError, match="broke off"):
        await upload(server.url, image)


@pytest.mark.parametrize(
    "url", ["", "nonsense", "ftp://a/b", "http://a:port/b", "http://[::1/b", "http://127.0.0.1:9/"]
)
async def test_an_address_that_cannot_be_used_is_an_upload_error(image: Path, url: str) -> None:
    """Whatever the API calls an address."""
    with pytest.raises(UploadError):
        await upload(url, image)


async def test_a_file_that_is_gone_is_an_upload_error(serve: Serve, tmp_path: Path) -> None:
    """And so is one that may not be read; never a bare error of the operating system."""
    server = await serve(_accept)
    with pytest.raises(UploadError, match=r"gone\.png"):
        await upload(server.url, tmp_path / "gone.png")
    with pytest.raises(UploadError, match="can't be read"):
        await upload(server.url, tmp_path)


async def _accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_request(reader)
    writer.write(answer(b""))
    await writer.drain()


@pytest.mark.parametrize("size", [0, 500_000, 50_000_000], ids=["emptied", "shorter", "longer"])
async def test_a_file_that_changes_its_length_meanwhile_is_an_upload_error(
    serve: Serve, image: Path, size: int
) -> None:
    """A half image is not taken for a whole one."""

    async def change(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        os.truncate(image, size)
        await reader.read()

    os.truncate(image, 40_000_000)  # more than fits into the buffers between here and there
    server = await serve(change)
    with pytest.raises(UploadError, match="changed while"):
        await upload(server.url, image)


ODD_ANSWERS = [
    b"",
    b"null",
    b"[]",
    b"{}",
    b'{"items": null}',
    b'{"items": 5}',
    b'{"items": ["x", "y"]}',
    b'{"items": [{"upload_url": "https://a/b"}]}',
    b'{"items": [{"upload_url": "https://a/b", "file_path": "api-assets/1"}]}',
]


@pytest.mark.parametrize("body", ODD_ANSWERS, ids=lambda body: body.decode() or "empty")
async def test_odd_upload_addresses_are_an_api_error(serve: Serve, body: bytes) -> None:
    """Two were asked for; anything but two addresses is of no use."""
    server, _ = await keeping(serve, answer(body))
    async with Client(KEY, ClientOptions(base_url=server.url, concurrency=1, timeout_s=5)) as client:
        with pytest.raises(ApiError):
            await client.upload_urls(["png", "jpg"])
