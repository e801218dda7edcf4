"""Images on their way to the API: each one's bytes are uploaded once for a results table."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import platform
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from io import BufferedReader
from pathlib import Path
from typing import IO, TypeVar, cast

from reelbatch.client import PIECE_BYTES, Client, UploadSlot
from reelbatch.domain import ClaimedRow, RunId
from reelbatch.errors import ApiError, UploadError
from reelbatch.images.bounds import ImageBounds
from reelbatch.images.inspect import (
    ImageInfo,
    ImageKind,
    ImageProblem,
    ImageUnseen,
    image_kind,
    opened_image,
    resolve_image,
)
from reelbatch.ledger import Ledger, uploads, utc_now
from reelbatch.ledger.admission import Asked
from reelbatch.ledger.replaced_images import joined_marks
from reelbatch.retry import RetryPolicy, on_error, retry
from reelbatch.storage.errors import Bound
from reelbatch.storage.files import CloudProblem, fetch, place_of, redact_url
from reelbatch.submit.batching import BatchLoader
from reelbatch.submit.concurrency import Stopped

Result = TypeVar("Result")

_SLOTS_A_CALL = 50
_LOOKUPS_AT_ONCE = 100
_FETCHES_AT_ONCE = 16
_UPLOADS_AT_ONCE = 32
_HASHING = ThreadPoolExecutor(max(2, min(4, os.cpu_count() or 2)), "reelbatch-hashing")
"""One for the process. More threads than cores only hold each other up."""
_FINAL_STATUSES = frozenset({400, 401, 402, 404, 405, 411, 413, 415, 422})


@dataclass(frozen=True, slots=True)
class Asset:
    """What a create is given for an image. `from_cache`: the API got it in an earlier upload."""

    path: str
    sha256: str | None = None
    from_cache: bool = False
    mark: str = ""  # what stands for it where requests are compared: a local file's SHA-256, else its address
    stat: tuple[int, int] | None = None  # a local file's size in bytes and time of change in ns, as it was hashed
    uploaded_at: datetime | None = None  # None: it is no upload

    @property
    def is_old(self) -> bool:
        """Whether the API may have deleted it by the time that the video is rendered."""
        return self.uploaded_at is not None and utc_now() - self.uploaded_at > uploads.KEPT


def asked_of(row: ClaimedRow, assets: list[Asset]) -> Asked:
    """What is sent for `row`, whatever it is called."""
    stats = [asset.stat for asset in assets if asset.stat is not None]
    return Asked(
        request_sha256=row.request.content_sha256(asset.mark for asset in assets),
        image_sha256=joined_marks([asset.mark for asset in assets]) if stats else None,
        image_stat=" ".join(f"{size}:{time_ns}" for size, time_ns in stats) or None,
        image_bytes=sum(size for size, _ in stats) if stats else None,
    )


@dataclass(frozen=True, slots=True)
class _Seen:
    """An image file as it was when its bytes were hashed; the bytes themselves where they are few."""

    info: ImageInfo
    sha256: str
    stamp: tuple[int, int, int]
    content: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadOptions:
    """What uploads need to know.

    Args:
        owner: the API, and the account or key; one account may not be allowed what another has uploaded.
        images: what may be fetched and uploaded. A row may have been checked elsewhere, against other settings.
    """

    owner: str
    run_id: RunId
    attempts: int
    wait_s: float
    max_wait_s: float
    images: ImageBounds


class Uploader:
    """Turns what the manifest states into what a create is given."""

    def __init__(
        self, client: Client, ledger: Ledger, options: UploadOptions, sleep: Callable[[float], Awaitable[None]]
    ) -> None:
        self.bases: dict[str, str] = {}  # where this machine has the images that a row's own base has elsewhere
        self._client = client
        self._ledger = ledger
        self._options = options
        self._sleep = sleep
        self._slots = BatchLoader(self._ask_for_slots, _SLOTS_A_CALL)
        self._known = BatchLoader(self._find, _LOOKUPS_AT_ONCE)
        self._under_way: dict[str, asyncio.Task[Asset]] = {}
        self._saving: dict[str, tuple[Asset, asyncio.Task[None]]] = {}  # uploaded, but not yet in the table
        self._fetching = asyncio.Semaphore(_FETCHES_AT_ONCE)
        self._uploading = asyncio.Semaphore(_UPLOADS_AT_ONCE)
        self._stopped = False

    async def asset(self, stated: str, base: str) -> Asset:
        """The asset for `stated`, uploaded if the API does not have these bytes yet; relative paths start at `base`.

        Raises:
            ImageUnseen: this machine can't see the file; another one may.
            ImageProblem: the file is gone for everybody, is no image any more, or not one that may be fetched.
            UploadError: the storage did not take it, or it could not be fetched from where it lies.
            ApiError: the API gave no upload address.
            Stopped: uploads were broken off, or it had not begun when they were.
        """
        source = resolve_image(stated, self.bases.get(base, base))
        if image_kind(source) in {ImageKind.URL, ImageKind.ASSET}:
            return Asset(source, mark=source)
        self._options.images.refuse(stated, source)
        return await self._once(f"path:{source}", lambda: self._from_file(source))

    def stop(self) -> None:
        """Break off uploads: they cost nothing, and no create will need them now."""
        self._stopped = True
        for task in list(self._under_way.values()):
            task.cancel()

    async def forget(self, asset: Asset) -> None:
        """The API does not know a from_cache path any more: the next call uploads it again.

        Unless another row has done so meanwhile.
        """
        if asset.sha256 is None:
            return
        lookup = uploads.Lookup(self._options.owner, asset.sha256)
        known = await self._ledger.write(uploads.find, lookup)
        if known is not None and known.file_path == asset.path:
            await self._ledger.write(uploads.forget, lookup)

    async def _once(self, key: str, work: Callable[[], Awaitable[Asset]]) -> Asset:
        """Rows that race for the same image share one upload."""
        if self._stopped:
            raise Stopped
        task = self._under_way.get(key)
        if task is None:
            task = asyncio.ensure_future(_as_coroutine(work))
            self._under_way[key] = task
            task.add_done_callback(lambda _: self._under_way.pop(key, None))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled() and self._stopped:  # the upload was, not the one who waits for it
                raise Stopped from None
            raise

    async def _from_file(self, source: str) -> Asset:
        async with self._local(source) as path, self._uploading:
            images = self._options.images
            seen = await asyncio.get_running_loop().run_in_executor(_HASHING, _look_at, path, images)
            asset = await self._once(f"sha:{seen.sha256}", lambda: self._from_bytes(path, seen))
        if image_kind(source) is ImageKind.LOCAL:
            return replace(asset, mark=seen.sha256, stat=seen.stamp[:2])
        return replace(asset, mark=source)

    @asynccontextmanager
    async def _local(self, source: str) -> AsyncIterator[Path]:
        """The file itself, or a copy of one that lies elsewhere."""
        if image_kind(source) is ImageKind.LOCAL:
            yield Path(source)
            return
        with tempfile.TemporaryDirectory(prefix="reelbatch-image-", ignore_cleanup_errors=True) as folder:
            copy = Path(folder) / "image"
            await self._tried(partial(self._fetch_once, source, copy), _may_be_there_later)
            yield copy

    async def _fetch_once(self, source: str, copy: Path) -> None:
        async with self._fetching:
            await _fetch(source, copy, self._options.images.upload)

    async def _from_bytes(self, path: Path, seen: _Seen) -> Asset:
        owner, sha256 = self._options.owner, seen.sha256
        if sha256 in self._saving:
            return self._saving[sha256][0]
        known = await self._known.get(uploads.Lookup(owner, sha256))
        if known is not None:
            from_cache = Asset(known.file_path, sha256, from_cache=True, uploaded_at=known.uploaded_at)
            if not from_cache.is_old:
                return from_cache
        begun = utc_now()
        slot = await self._upload(path, seen)
        asset = Asset(slot.file_path, sha256, uploaded_at=begun)
        self._save(asset, uploads.Upload(owner, sha256, slot.file_path, seen.info.size, begun, self._options.run_id))
        return asset

    def _save(self, asset: Asset, upload: uploads.Upload) -> None:
        """No one waits for it: should it be lost, the image is uploaded once more, which costs nothing."""
        task = asyncio.ensure_future(self._ledger.write(uploads.save, upload))
        self._saving[upload.sha256] = asset, task
        task.add_done_callback(lambda _: self._saving.pop(upload.sha256))
        task.add_done_callback(_retrieved)

    async def _ask_for_slots(self, extensions: Sequence[str]) -> list[UploadSlot]:
        return await self._client.upload_urls(extensions)

    async def _find(self, lookups: Sequence[uploads.Lookup]) -> list[uploads.Known | None]:
        return await asyncio.to_thread(self._ledger.read, partial(uploads.find, items=lookups))

    async def _upload(self, path: Path, seen: _Seen) -> UploadSlot:
        """Each attempt asks for a fresh address, so one that expired while it waited does no harm."""
        return await self._tried(partial(self._upload_once, path, seen), _may_work_later)

    async def _tried(self, work: Callable[[], Awaitable[Result]], is_worth_it: Callable[[Exception], bool]) -> Result:
        options = self._options
        policy = RetryPolicy(attempts=options.attempts, wait_s=options.wait_s, max_wait_s=options.max_wait_s)
        return await retry(work, policy, on_error(is_worth_it), self._sleep)

    async def _upload_once(self, path: Path, seen: _Seen) -> UploadSlot:
        slot = await self._slots.get(seen.info.extension)
        if seen.content is not None:
            await self._client.put_bytes(slot, seen.content)
            return slot
        try:
            await self._client.put_file(slot, path)
        except UploadError:
            await asyncio.to_thread(_check_unchanged, path, seen)
            raise
        await asyncio.to_thread(_check_unchanged, path, seen)
        return slot


def _retrieved(task: asyncio.Task[None]) -> None:
    """What went wrong with the table, the run learns with its next write."""
    if not task.cancelled():
        task.exception()


def _may_work_later(error: Exception) -> bool:
    if not isinstance(error, ApiError):
        return False
    if isinstance(error, UploadError) and error.status in {400, 401, 403, 404}:
        return True  # an address that has expired; the next attempt asks for another
    return error.status not in _FINAL_STATUSES


async def _as_coroutine(work: Callable[[], Awaitable[Asset]]) -> Asset:
    return await work()


class _NotFetchedError(UploadError):
    """An image could not be fetched from where it lies; `may_pass`: trying again in a moment is worth it."""

    def __init__(self, message: str, *, may_pass: bool) -> None:
        super().__init__(message)
        self.may_pass = may_pass


def _may_be_there_later(error: Exception) -> bool:
    return isinstance(error, _NotFetchedError) and error.may_pass


async def _fetch(source: str, copy: Path, bound: Bound) -> None:
    """Copy an image from its storage.

    The error names the bucket, not the image: when a whole bucket fails, that is one failure many times over.
    """
    try:
        await fetch(source, copy, bound)
    except CloudProblem as problem:
        if problem.is_files_own:
            raise ImageProblem(f"{problem.what}: {redact_url(source)}", problem.remedy) from problem
        raise _NotFetchedError(f"images in {place_of(source)}: {problem}", may_pass=problem.may_pass) from problem


def _look_at(path: Path, images: ImageBounds) -> _Seen:
    try:
        with opened_image(str(path)) as file:
            try:
                return _seen(file, images)
            except OSError as error:  # of this machine, not of the image
                raise ImageUnseen(error.strerror or str(error), "") from error
    except ImageUnseen as problem:
        raise _unseen(path, problem.what) from problem


def _seen(file: IO[bytes], images: ImageBounds) -> _Seen:
    """A small file is read once and in one go: each read and each hash hands the interpreter to another thread."""
    stamp = _stamp(os.fstat(file.fileno()))
    if stamp[0] < PIECE_BYTES and len(content := file.read(PIECE_BYTES)) < PIECE_BYTES:
        return _Seen(images.inspect(io.BytesIO(content)), hashlib.sha256(content).hexdigest(), stamp, content)
    info = images.inspect(file)
    file.seek(0)
    digest = hashlib.file_digest(cast("BufferedReader", file), "sha256")
    return _Seen(info, digest.hexdigest(), stamp)


def _unseen(path: Path, reason: str) -> ImageUnseen:
    """The row was checked where its manifest was loaded; that may have been another machine."""
    what = f'this machine ({platform.node()}) can\'t see image "{path}" ({reason})'
    return ImageUnseen(what, "Put images where every worker sees them: a shared folder, s3:// or https://.")


def _check_unchanged(path: Path, seen: _Seen) -> None:
    """Other bytes must not be from_cache under these bytes' hash, nor be tried again as if they were the same.

    Raises:
        ImageProblem: the file is another one by now, or gone.
    """
    try:
        same = _stamp(path.stat()) == seen.stamp
    except OSError:
        same = False
    if not same:
        raise ImageProblem("the file changed, or was removed, while it was uploaded", "Run the same command again.")


def _stamp(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ino
