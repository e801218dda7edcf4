"""One try to bring a video's bytes into a local file, going on where an earlier try broke off."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import IO, Any, Protocol

from reelbatch.errors import ApiError, DownloadRefused
from reelbatch.failpoints import point

LARGEST_VIDEO = 4 << 30
"""Bytes of a video at most: a minute in 4k has a tenth of that."""
_EXPIRED = frozenset({400, 401, 403, 404, 410})
_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+)")


class AddressExpired(ApiError):  # noqa: N818 - the address is at fault, not the transfer
    """The storage does not accept this address any more; asking the API gives a fresh one."""


class Unfit(ApiError):  # noqa: N818 - what is on disk and what the storage has do not fit together
    """The transfer can't go on where the last one ended; it has to begin again."""


class Source(Protocol):
    """What streams a video: the client."""

    def download(self, url: str, *, offset: int = 0) -> AbstractAsyncContextManager[Any]:
        """The answer to a GET of `url` from `offset` bytes on."""


async def transfer(source: Source, url: str, part: Path, *, resume: bool = True, largest: int = LARGEST_VIDEO) -> int:
    """Stream `url` into `part`; with `resume`, what is in it already is not asked for. Returns the video's bytes.

    Every byte is written at its own position and nothing is cut off before the end is known, so two that stream the
    same video into the same file do each other no harm.

    Raises:
        Unfit: try again without `resume`.
        AddressExpired: the address does not work (any more).
        DownloadRefused: it has more than `largest` bytes, or comes packed; no more of it was taken.
        ApiError: the transfer broke off or came out too short; the next try goes on from there.
        OSError: the file can't be written.
    """
    point("video.open")
    with await asyncio.to_thread(_open, part) as file:
        had = os.fstat(file.fileno()).st_size if resume else 0
        async with source.download(url, offset=had) as response:
            if response.status_code == 416 and _size(response.headers) == had:  # noqa: PLR2004 - nothing is missing
                return had
            start = _start(response, had)
            total = _total(response, start)
            _check_size(total or 0, largest)
            end = await _write(file, response, start, largest)
        if (total is not None and end != total) or not end:
            raise ApiError(f"the download broke off after {end} of {total or 'an unknown number of'} bytes")
        await asyncio.to_thread(file.truncate, end)
        point("video.written")
        return end


def _open(part: Path) -> IO[bytes]:
    return os.fdopen(os.open(part, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666), "rb+", buffering=0)


def _start(response: Any, had: int) -> int:
    """The position of the first byte that comes: 0 where the storage sends the whole in spite of the question."""
    status: int = response.status_code
    if status in {200, 206}:
        _check_unpacked(response.headers)
    if status == 200:  # noqa: PLR2004 - HTTP
        return 0
    if status == 206 and response.headers.get("content-range", "").startswith(f"bytes {had}-"):  # noqa: PLR2004 - HTTP
        return had
    if status in {206, 416}:
        raise Unfit("the storage has other bytes than those that are asked for", status=status)
    if status in _EXPIRED:
        raise AddressExpired(f"the storage answered with status {status}", status=status)
    raise ApiError(f"the storage answered with status {status}", status=status)


async def _write(file: IO[bytes], response: Any, position: int, largest: int) -> int:
    file.seek(position)
    async for chunk in response.aiter_bytes():
        position += len(chunk)
        _check_size(position, largest)
        point("video.write")
        await asyncio.to_thread(file.write, chunk)
    return position


def _check_size(size: int, largest: int) -> None:
    if size > largest:
        raise DownloadRefused(f"the download is refused: it has more than {largest:,} bytes, which no video has")


def _check_unpacked(headers: Mapping[str, str]) -> None:
    """A video comes as it is, as it was asked for: a few kilobytes that unpack to gigabytes are not unpacked."""
    encoding = headers.get("content-encoding", "").strip().lower()
    if encoding not in {"", "identity"}:
        raise DownloadRefused(f"the download is refused: it comes packed ({encoding[:20]}), which was not asked for")


def _size(headers: Mapping[str, str]) -> int | None:
    """The whole video's bytes by Content-Range."""
    found = _RANGE.match(headers.get("content-range", ""))
    return int(found[2]) if found else None


def _total(response: Any, start: int) -> int | None:
    """The whole video's bytes, where the answer says so in the bytes that are written."""
    if (size := _size(response.headers)) is not None:
        return size
    stated = response.headers.get("content-length", "")
    return start + int(stated) if stated.isdecimal() else None
