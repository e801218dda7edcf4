"""Finished videos into their folder: fetched, named, and written down; one file for a row, whatever happens."""

from __future__ import annotations

import asyncio
import os
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, Protocol

from reelbatch.client import Client, Video
from reelbatch.domain import VideoId
from reelbatch.errors import ApiError, DownloadRefused, ReelbatchError
from reelbatch.failpoints import point
from reelbatch.ledger import Ledger, settlements, utc_now
from reelbatch.ledger.due import Rendered
from reelbatch.ledger.settlements import Filed, VideoFile
from reelbatch.ledger.transactions import write
from reelbatch.retry import RetryPolicy, on_error, retry
from reelbatch.settle.file_names import marked_name, part_name, plain_name
from reelbatch.settle.video_check import MARKS, look_at
from reelbatch.storage.target import DownloadTarget, Part, PartGone, TargetProblem, is_full, reason

_TRIES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How a download reaches the API: the GET of a video, and a wait that ends when everything stops.

    `largest`: bytes of a video at most.
    """

    get: Callable[[VideoId], Awaitable[Video]]
    sleep: Callable[[float], Awaitable[None]]
    wait_s: float
    largest: int


class Downloads:
    """Brings finished videos into `folder`; `marks` counts those of them that someone should look at."""

    def __init__(self, ledger: Ledger, client: Client, folder: DownloadTarget, access: Access) -> None:
        self._ledger = ledger
        self._client = client
        self._folder = folder
        self._access = access
        self.marks: Counter[str] = Counter()
        self._looks = ThreadPoolExecutor(2, "reelbatch-video")
        self._placing: set[str] = set()
        self._variants: asyncio.Task[frozenset[str]] | None = None

    async def fetch(self, row: Rendered, video: Video | None, instead_of: str | None = None) -> bool:
        """Download the row's video and write down where it lies; `video` is the last answer about it, if at hand.

        `instead_of`: where it lay, and is not any more.

        Returns:
            Whether the row has this file now; False where it has another one, or another video, by now.

        Raises:
            ApiError: it could not be fetched in several tries, or is refused.
            TargetProblem: it could not be written.
        """
        policy = RetryPolicy(attempts=_TRIES, wait_s=self._access.wait_s)
        part = self._folder.part(part_name(row.batch, row.row_key, row.video_id))
        address = _Address(self._access, row.video_id, video)
        once = partial(self._once, address, part)
        size = await retry(once, policy, on_error(_may_work_again), self._access.sleep)
        try:
            return await self._file(row, Part(part, size), instead_of)
        except PartGone:
            return False

    async def _once(self, address: _Address, part: Path) -> int:
        try:
            url, largest = await address.current(), self._access.largest
            return await transfer(self._client, url, part, resume=address.resume, largest=largest)
        except DownloadRefused:
            await asyncio.to_thread(part.unlink, missing_ok=True)
            raise
        except AddressExpired:
            address.forget()
            raise
        except Unfit:
            address.resume = False
            raise
        except OSError as error:
            if is_full(error):
                await asyncio.to_thread(part.unlink, missing_ok=True)
            raise TargetProblem(f"{part.parent}: {reason(error)}") from error
        except ReelbatchError:
            raise
        except Exception as error:  # an address that is none, for example
            raise ApiError(f"the download failed ({type(error).__name__}: {error})") from error

    async def _file(self, row: Rendered, part: Part, instead_of: str | None) -> bool:
        """Give the video its name, then write it down; a file that turns out to be one too many goes again."""
        file = await self._look(part.path)
        name = await self._place(row, part)
        try:
            filed = Filed(row, self._folder.path(name), instead_of, file)
            written = await write(self._ledger, settlements.record_files, filed)
        finally:
            self._placing.discard(name.lower())
        if not written:
            await asyncio.to_thread(self._folder.remove, name)
        elif file.check in MARKS:
            self.marks[file.check] += 1
        return written

    async def _look(self, path: Path) -> VideoFile:
        """What the file shows, found in threads of its own: those that the results table needs stay free."""
        return await asyncio.get_running_loop().run_in_executor(self._looks, look_at, path)

    def close(self) -> None:
        """Let go of its threads."""
        self._looks.shutdown(wait=False)

    async def _place(self, row: Rendered, part: Part) -> str:
        plain = plain_name(row.row_key) if row.generation == 1 else None
        if plain is not None and not await self._spelled_twice(row) and await self._is_placed(row, part, plain):
            return plain
        marked = marked_name(row.batch, row.row_key, row.generation)
        if await self._is_placed(row, part, marked):
            return marked
        # It is a row's of the same name in another table: no two videos have this one.
        name = marked_name(row.batch, row.row_key, row.generation, row.video_id)
        await asyncio.to_thread(partial(self._folder.place, part, name, replace=True))
        return name

    async def _is_placed(self, row: Rendered, part: Part, name: str) -> bool:
        """Whether the video has this name now; False where someone else's file has it."""
        if name.lower() in self._placing:  # nothing is awaited before it is taken
            return False
        self._placing.add(name.lower())
        is_placed = False
        try:
            is_placed = await asyncio.to_thread(self._take, Filed(row, self._folder.path(name)), part, name)
        finally:
            if not is_placed:
                self._placing.discard(name.lower())
        return is_placed

    def _take(self, filed: Filed, part: Part, name: str) -> bool:
        """The same; blocks."""
        same = self._folder.holds(part, name)
        if same is not None and not self._is_ours(filed, same=same):
            return False
        try:
            self._folder.place(part, name, replace=same is not None)
        except FileExistsError:
            return False
        return True

    def _is_ours(self, filed: Filed, *, same: bool) -> bool:
        """A file that is there already is this row's if it is the video, or the row had a video before."""
        if self._ledger.read(lambda connection: settlements.owned_elsewhere(connection, filed)):
            return False
        return same or self._ledger.read(lambda connection: settlements.had_earlier_video(connection, filed.row))

    async def _spelled_twice(self, row: Rendered) -> bool:
        """Whether the table has the row's key in another spelling too: on some file systems both are one name."""
        if self._variants is None:
            self._variants = asyncio.create_task(asyncio.to_thread(self._ledger.read, settlements.case_variants))
        return row.row_key.lower() in await asyncio.shield(self._variants)


class _Address:
    """A video's download address, asked for when there is none or it has expired."""

    def __init__(self, access: Access, video_id: VideoId, video: Video | None) -> None:
        self.resume = True
        self._get = access.get
        self._video_id = video_id
        self._video = video

    def forget(self) -> None:
        """Ask for a fresh one next time."""
        self._video = None

    async def current(self) -> str:
        """An address that should work.

        Raises:
            ApiError: the API gives none.
        """
        if self._video is None or _expired(self._video):
            self._video = await self._get(self._video_id)
        if not self._video.downloads:
            raise ApiError(f"the API gives no download address for video {self._video_id}")
        return self._video.downloads[0].url


def _may_work_again(error: Exception) -> bool:
    return isinstance(error, ApiError) and not isinstance(error, DownloadRefused)


def _expired(video: Video) -> bool:
    """Whether an answer that was at hand is too old; a fresh one is believed whatever this machine's clock says."""
    times = [download.expires_at for download in video.downloads]
    return not times or (times[0] is not None and times[0].tzinfo is not None and times[0] <= utc_now())


LARGEST_VIDEO = 4 << 30
"""Bytes of a video at most: a minute in 4k has a tenth of that."""
_OVERLAP = 1 << 14
_EXPIRED = frozenset({400, 401, 403, 404, 410})
_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+)")


class AddressExpired(ApiError):  # noqa: N818 - the address is at fault, not the transfer
    """The storage does not accept this address any more; asking the API gives a fresh one."""


class Unfit(ApiError):  # noqa: N818 - what is on disk and what the storage has do not fit together
    """The transfer can't go on where the last one ended; it has to begin again."""


class Downloader(Protocol):
    """What streams a video: the client."""

    def download(self, url: str, *, offset: int = 0) -> AbstractAsyncContextManager[Any]:
        """The answer to a GET of `url` from `offset` bytes on."""


async def transfer(
    source: Downloader, url: str, part: Path, *, resume: bool = True, largest: int = LARGEST_VIDEO
) -> int:
    """Stream `url` into `part`. Returns the video's bytes.

    With `resume`, what is in `part` already is not asked for, but for its end, which shows if it is of this video.

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
        offset = max(0, os.fstat(file.fileno()).st_size - _OVERLAP) if resume else 0
        async with source.download(url, offset=offset) as response:
            start = _start(response, offset)
            total = _total(response, start)
            _check_size(total or 0, largest)
            file.seek(start)
            known = file.read(_OVERLAP) if start else b""
            end = await _write(file, _checked(response.aiter_bytes(), known), start, largest)
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
        if response.headers.get("content-type", "").lower().startswith("text/html"):  # a proxy's, mostly
            raise ApiError(f"a web page came in place of the video, with status {status}", status=status)
    if status == 200:  # noqa: PLR2004 - HTTP
        return 0
    if status == 206 and response.headers.get("content-range", "").startswith(f"bytes {had}-"):  # noqa: PLR2004 - HTTP
        return had
    if status in {206, 416}:
        raise Unfit("the storage has other bytes than those that are asked for", status=status)
    if status in _EXPIRED:
        raise AddressExpired(f"the storage returned status {status}", status=status)
    raise ApiError(f"the storage returned status {status}", status=status)


async def _checked(chunks: AsyncIterator[bytes], known: bytes) -> AsyncIterator[bytes]:
    """The chunks; the first bytes of them are `known`, or the video is another one by now."""
    async for chunk in chunks:
        if known[: len(chunk)] != chunk[: len(known)]:
            raise Unfit("the storage has another video than the one of which a part is here")
        known = known[len(chunk) :]
        yield chunk


async def _write(file: IO[bytes], chunks: AsyncIterator[bytes], position: int, largest: int) -> int:
    file.seek(position)
    async for chunk in chunks:
        position += len(chunk)
        _check_size(position, largest)
        point("video.write")
        await asyncio.to_thread(write_all, file, chunk)
    return position


def write_all(file: IO[bytes], chunk: bytes) -> None:
    """All of it: a disk that is nearly full takes a part without an error, and says so with the next bytes."""
    left = memoryview(chunk)
    while left:
        left = left[file.write(left) :]


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
