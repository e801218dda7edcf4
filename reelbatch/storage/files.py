"""Files behind fsspec URLs: the one place that opens, fetches and puts them, and says what went wrong.

Where credentials and endpoints come from is the storage library's own affair (for s3://: AWS_ACCESS_KEY_ID,
AWS_ENDPOINT_URL, ~/.aws). What addresses carry of them is never shown.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import posixpath
import re
import uuid
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, Self

from reelbatch.errors import ReelbatchError
from reelbatch.storage.addresses import guard_logs
from reelbatch.storage.errors import Bound, Trouble, chained, explain, missing_extra, unknown_scheme

LONGEST_TRANSFER_S = 900.0
"""One file's way from or to a storage, at most: the libraries' own limits hold for single reads only."""
_BLOCK = 4 << 20
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)(::|://)")
_WEB = ("http", "https")
_USER = re.compile(r"((?:^|::)[A-Za-z][A-Za-z0-9+.-]*://)[^/?#]*@")
_QUERY = re.compile(r"\?[^?]*=.*$", re.DOTALL)
_BUCKETS = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oci", "oss"})
"""Storages without folders: an object appears whole or not at all, and making a "folder" would make a bucket."""
_ONE_HOST = frozenset({"s3", "s3a", "gs", "gcs"})  # whose buckets are all reached in the same way
_SURROUNDINGS = ("AWS_", "GOOGLE_", "GCLOUD_", "AZURE_", "FSSPEC_")
_S3_OPTIONS = {"config_kwargs": {"retries": {"total_max_attempts": 2, "mode": "standard"}}}
"""The library above tries five times itself; botocore's own five on top would be minutes in place of seconds."""


class CloudProblem(ReelbatchError):  # noqa: N818 - it is what the errors of the manifest, uploads and exports are made of
    """A file behind a URL can't be read or written: what is wrong and what to do."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(f"{trouble.what}. {trouble.remedy}")
        self.what = trouble.what
        self.remedy = trouble.remedy
        self.is_files_own = trouble.is_files_own
        self.may_pass = trouble.may_pass


def scheme_of(path: str) -> str | None:
    """The scheme of an address in small letters; None: it is a path."""
    found = _SCHEME.match(path)
    return found[1].lower() if found else None


def redact_url(address: str) -> str:
    """The address as it may be printed: without user, password, signature or any other query."""
    if scheme_of(address) is None:
        return address
    return _QUERY.sub("?…", _USER.sub(r"\1", address))


def place_of(address: str) -> str:
    """The bucket or host that an address lies in: `s3://shop` of `s3://shop/a/b.png`."""
    scheme, sign, rest = redact_url(address).rpartition("://")
    return f"{scheme}{sign}{rest.partition('/')[0]}"


def file_part(address: str) -> str:
    """The address up to the file's name: without a web address's query."""
    return re.split(r"[?#]", address, maxsplit=1)[0] if scheme_of(address) in _WEB else address


def beside(folder: str, path: str) -> str:
    """The address of the relative `path` in the `folder` behind a URL; no `..` leads out of its bucket."""
    if not {".", ".."} & set(path.split("/")):
        return f"{folder.rstrip('/')}/{path}"
    scheme, sign, rest = folder.rpartition("://")
    root, _, inside = rest.partition("/")
    return f"{scheme}{sign}{root}{posixpath.normpath(posixpath.join('/', inside, path))}"


def check(address: str) -> None:
    """See that there is a driver for the address; nothing is asked over the network.

    Raises:
        CloudProblem: the scheme is unknown, or its package is not installed, or it is a chain of addresses.
    """
    import fsspec

    scheme = _scheme_of_one(address)
    if scheme not in fsspec.available_protocols():
        raise CloudProblem(unknown_scheme(scheme))
    try:
        fsspec.get_filesystem_class(scheme)
    except ImportError as error:
        raise CloudProblem(missing_extra(scheme, error)) from error


def open_remote(address: str, *, scattered: bool = False) -> IO[bytes]:
    """Open for reading, a few megabytes at a time; `scattered`: only what is asked for is fetched, for Parquet.

    Raises:
        CloudProblem: here, or from any later read.
    """
    with _explained(address):
        files, path = _reach(address)
        options = {"cache_type": "none"} if scattered and scheme_of(address) in _BUCKETS else {}
        return _Guarded(files.open(path, "rb", block_size=_BLOCK, **options), address)  # type: ignore[return-value]  # it reads as one does


async def fetch(address: str, target: Path, bound: Bound) -> None:
    """Copy to a local file; blocks no event loop, and ends at once when it is cancelled.

    Raises:
        CloudProblem: it could not be fetched, or has more bytes than `bound`; then no more of it was fetched.
    """
    with _explained(address):
        files, path = await asyncio.to_thread(_reach, address)
        account = _watched(bound)
        if not getattr(files, "async_impl", False):
            await asyncio.to_thread(_copy, files, path, target, account)
            return
        getting = files._get_file(path, str(target), callback=account)  # noqa: SLF001 - fsspec's asynchronous API
        copying = asyncio.run_coroutine_threadsafe(getting, files.loop)
        async with asyncio.timeout(LONGEST_TRANSFER_S):
            await asyncio.wrap_future(copying)
        account.absolute_update(await asyncio.to_thread(os.path.getsize, target))  # for a library that keeps none


def put(source: Path, address: str) -> None:
    """Copy a local file to `address`; what was there before stays until all of the new one is there.

    Raises:
        CloudProblem: it could not be written; what was there before is still there.
    """
    with _explained(address):
        files, path = _reach(address)
        if scheme_of(address) in _BUCKETS:
            files.put_file(str(source), path, **_limit(files))
            return
        passing = f"{posixpath.dirname(path)}/.{uuid.uuid4().hex}.part"
        files.makedirs(posixpath.dirname(path), exist_ok=True)
        try:
            files.put_file(str(source), passing, **_limit(files))
            files.mv(passing, path)
        except BaseException:
            with contextlib.suppress(Exception):
                files.rm_file(passing)
            raise


def size(address: str) -> int | None:
    """Bytes of the file; None where there is none.

    Raises:
        CloudProblem: it can't be found out.
    """
    with _explained(address):
        files, path = _reach(address)
        files.invalidate_cache()
        try:
            return int(files.info(path, **_limit(files))["size"] or 0)
        except FileNotFoundError:
            return None


def facts(address: str) -> dict[str, Any]:
    """What its storage says of a file without giving it away: size, ETag, time of change, as far as it says so.

    Raises:
        CloudProblem: it can't be found out.
    """
    with _explained(address):
        files, path = _reach(address)
        known: dict[str, Any] = files.info(path)
        return known


def names(address: str) -> set[str]:
    """The names of what lies in the folder behind `address`; none where there is no such folder.

    Raises:
        CloudProblem: it can't be found out.
    """
    with _explained(address):
        files, path = _reach(address)
        files.invalidate_cache()
        try:
            return {
                posixpath.basename(str(each).rstrip("/")) for each in files.ls(path, detail=False, **_limit(files))
            }
        except FileNotFoundError:
            return set()


def remove(address: str) -> None:
    """Take a file away; gone is gone.

    Raises:
        CloudProblem: it can't be removed.
    """
    with _explained(address), contextlib.suppress(FileNotFoundError):
        files, path = _reach(address)
        files.rm_file(path, **_limit(files))


def _watched(bound: Bound) -> Any:
    """An account of a transfer as fsspec keeps it; keeping it raises as soon as the transfer comes to too much."""
    from fsspec.callbacks import Callback

    def check(size: int | None, had: int | None, **_: object) -> None:
        if max(size or 0, had or 0) > bound.size:
            raise CloudProblem(bound.trouble)

    return Callback(hooks={"bound": check})


def _copy(files: Any, path: str, target: Path, account: Any) -> None:
    """A piece at a time, since not every library keeps an account of its own copying."""
    with files.open(path, "rb") as source, target.open("wb") as copy:
        while piece := source.read(_BLOCK):
            account.relative_update(len(piece))
            copy.write(piece)


def _scheme_of_one(address: str) -> str:
    """The scheme of an address.

    Raises:
        CloudProblem: it is a chain of addresses, in which each link is opened by whatever the one before says.
    """
    scheme = scheme_of(address) or "file"
    if "::" in address:
        raise CloudProblem(chained(scheme))
    return scheme


def _reach(address: str) -> tuple[Any, str]:
    """The file system behind an address, and the path in it."""
    import fsspec

    scheme = _scheme_of_one(address)
    address = _SCHEME.sub(lambda found: found[0].lower(), address, count=1)
    if scheme not in _BUCKETS:
        files, path = fsspec.core.url_to_fs(address)
        guard_logs()  # the driver's own loggers exist by now
        return files, path
    surroundings = tuple(sorted(item for item in os.environ.items() if item[0].startswith(_SURROUNDINGS)))
    root = f"{scheme}://" if scheme in _ONE_HOST else re.split(r"(?<![:/])/", address, maxsplit=1)[0]
    return _storage(root, scheme, os.getpid(), surroundings), fsspec.core.strip_protocol(address)


@lru_cache(maxsize=32)
def _storage(root: str, scheme: str, *_: object) -> Any:
    """One connection for all threads; a new one where the process or its credentials are others than before."""
    import fsspec

    options: dict[str, Any] = {"skip_instance_cache": True, "use_listings_cache": False}
    if scheme.startswith("s3") and "config_kwargs" not in fsspec.config.conf.get(scheme, {}):
        options |= _S3_OPTIONS
    files = fsspec.core.url_to_fs(root, **{scheme: options})[0]
    guard_logs()
    return files


def _limit(files: Any) -> dict[str, float]:
    return {"timeout": LONGEST_TRANSFER_S} if getattr(files, "async_impl", False) else {}


class _explained:  # noqa: N801 - used like a function
    """Turns whatever a storage library raises into a CloudProblem."""

    def __init__(self, address: str) -> None:
        self._address = address

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, Exception) or isinstance(error, CloudProblem):
            return
        trouble = explain(error, self._address, redact_url(self._address))
        # A traceback shows what the library said, with the whole address in it.
        raise CloudProblem(trouble) from (error if redact_url(self._address) == self._address else None)


class _Guarded:
    """An open file whose reads fail in our words."""

    def __init__(self, file: Any, address: str) -> None:
        self._file = file
        self._explained = _explained(address)

    @property
    def closed(self) -> bool:
        return bool(self._file.closed)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, length: int = -1) -> bytes:
        with self._explained:
            return bytes(self._file.read(length))

    def seek(self, offset: int, whence: int = 0) -> int:
        with self._explained:
            return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
