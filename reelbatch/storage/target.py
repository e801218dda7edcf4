"""Where downloaded videos go: a local folder, or any URL that fsspec knows."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from reelbatch.errors import ReelbatchError, SettingsError
from reelbatch.failpoints import point
from reelbatch.home_folder import at_home
from reelbatch.storage import files
from reelbatch.storage.files import CloudProblem, redact_url, scheme_of

_LOCAL_SCHEMES = ("file://", "local://")
_PROBE = ".reelbatch-probe"
_PIECE = 1 << 20


class TargetProblem(ReelbatchError):  # noqa: N818 - it is about the folder, and the message says what
    """A video could not be put into the folder."""


@dataclass(frozen=True, slots=True)
class Part:
    """A whole video that has no name yet."""

    path: Path
    size: int


class PartGone(TargetProblem):
    """Another settle was faster: it has taken the video away under its name."""


class DownloadTarget(Protocol):
    """A place for finished videos. Its methods block; they are called in threads."""

    def prepare(self) -> None:
        """Make it, and see that it can be written to.

        Raises:
            SettingsError: it can't.
        """

    def part(self, name: str) -> Path:
        """The local file that a video is streamed into until it is whole."""

    def path(self, name: str) -> str:
        """What the results table says about the file `name`."""

    def holds(self, part: Part, name: str) -> bool | None:
        """Whether the file `name` is this very video, byte by byte; None where there is none.

        Raises:
            PartGone: another settle has put the video into place.
            TargetProblem: it can't be found out.
        """

    def place(self, part: Part, name: str, *, replace: bool) -> None:
        """Give a whole video its name, all at once.

        Raises:
            FileExistsError: another file has the name, and `replace` is off.
            PartGone: another settle has put it into place.
            TargetProblem: it can't be written.
        """

    def remove(self, name: str) -> None:
        """Take a file away again."""

    def close(self) -> None:
        """Clear up what was only needed on the way."""


def open_target(stated: str) -> DownloadTarget:
    """The folder behind a path or URL.

    Raises:
        SettingsError: the URL's kind is unknown or its driver is missing.
    """
    for scheme in _LOCAL_SCHEMES:
        if stated.startswith(scheme):
            return LocalTarget(stated.removeprefix(scheme))
    return LocalTarget(stated) if scheme_of(stated) is None else RemoteTarget(stated)


class LocalTarget:
    """A folder of this machine."""

    def __init__(self, stated: str) -> None:
        self._root = Path(os.path.abspath(at_home(stated)))  # noqa: PTH100 - links stay as they are

    def prepare(self) -> None:
        """Make it, and write and remove an empty file."""
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            probe = self._root / f"{_PROBE}-{uuid.uuid4().hex}"
            point("folder.write")
            probe.touch(exist_ok=False)
            point("folder.written")
            probe.unlink()
        except OSError as error:
            raise _unusable(str(self._root), reason(error)) from error

    def part(self, name: str) -> Path:
        """Beside the finished files, so that giving it its name is one step."""
        return self._root / name

    def path(self, name: str) -> str:
        """The absolute path."""
        return str(self._root / name)

    def holds(self, part: Part, name: str) -> bool | None:
        """By size, then by content: two videos may well be of one size."""
        target = self._root / name
        try:
            if target.stat().st_size != part.size:
                return False
        except FileNotFoundError:
            return None
        except OSError as error:
            raise TargetProblem(f"{target}: {reason(error)}") from error
        try:
            video = part.path.open("rb")
        except FileNotFoundError as error:
            raise PartGone(f"{target}: another settle has this video") from error
        with video:
            try:
                with target.open("rb") as file:
                    return _is_alike(video, file)
            except OSError:  # what may not be read is someone else's
                return False

    def place(self, part: Part, name: str, *, replace: bool) -> None:
        """To disk, then renamed: the name never stands for half a video, whatever happens."""
        target = self._root / name
        try:
            _sync(part)
            if replace or not _linked(part.path, target):
                point("video.rename")
                _rename(part.path, target)
                point("video.renamed")
            _sync_folder(self._root)
        except FileExistsError:
            raise
        except OSError as error:
            if isinstance(error, FileNotFoundError) and self._root.is_dir():
                raise PartGone(f"{target}: another settle has this video") from error
            raise TargetProblem(f"{target}: {reason(error)}") from error

    def remove(self, name: str) -> None:
        """Gone is gone."""
        (self._root / name).unlink(missing_ok=True)

    def close(self) -> None:
        """Parts stay for the next run."""


class RemoteTarget:
    """A folder behind an fsspec URL; videos are collected in a temporary folder of this machine first."""

    def __init__(self, stated: str) -> None:
        self._root = stated.rstrip("/")
        try:
            files.check(self._root)
        except CloudProblem as problem:
            raise _unusable(redact_url(stated), str(problem)) from problem
        self._spool = tempfile.TemporaryDirectory(prefix="reelbatch-videos-")

    def prepare(self) -> None:
        """Write and remove a small file; a storage that only takes files keeps this one."""
        try:
            probe = Path(self._spool.name) / _PROBE
            probe.write_bytes(b"reelbatch")
            files.put(probe, self._at(_PROBE))
        except (CloudProblem, OSError) as error:
            self.close()
            raise _unusable(redact_url(self._root), reason(error)) from error
        with contextlib.suppress(CloudProblem):
            files.remove(self._at(_PROBE))

    def part(self, name: str) -> Path:
        """In the temporary folder."""
        return Path(self._spool.name) / name

    def path(self, name: str) -> str:
        """The URL, without a password that may be in it."""
        return redact_url(self._at(name))

    def holds(self, part: Part, name: str) -> bool | None:
        """By size, as the storage says, then by content."""
        try:
            size = files.size(self._at(name))
            if size != part.size:
                return None if size is None else False
            with part.path.open("rb") as video, files.open_remote(self._at(name)) as file:
                return _is_alike(video, file)
        except (CloudProblem, OSError) as error:
            raise TargetProblem(f"{self.path(name)}: {reason(error)}") from error

    def place(self, part: Part, name: str, *, replace: bool) -> None:
        """Under its name only when all of it is there."""
        del replace  # no storage takes a file only where there is none; the name was looked up just before
        try:
            files.put(part.path, self._at(name))
            part.path.unlink()
        except (CloudProblem, OSError) as error:
            raise TargetProblem(f"{self.path(name)}: {reason(error)}") from error

    def remove(self, name: str) -> None:
        """Gone is gone."""
        try:
            files.remove(self._at(name))
        except CloudProblem as problem:
            raise TargetProblem(f"{self.path(name)}: {problem}") from problem

    def close(self) -> None:
        """Drop the temporary folder."""
        self._spool.cleanup()

    def _at(self, name: str) -> str:
        return f"{self._root}/{name}"


def _unusable(stated: str, reason: str) -> SettingsError:
    remedy = "Choose another place with --download."
    return SettingsError(f"The videos can't be put into {stated}: {reason.rstrip('.')}. {remedy}")


_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG} if hasattr(errno, "EDQUOT") else {errno.ENOSPC, errno.EFBIG}


def is_full(error: OSError) -> bool:
    """Whether there was no room left."""
    return error.errno in _NO_ROOM


def reason(error: Exception) -> str:
    """What is wrong, in the user's words."""
    if isinstance(error, OSError) and is_full(error):
        return "the disk is full"
    if isinstance(error, PermissionError):
        return "it may not be written to"
    stated = str(error) if isinstance(error, CloudProblem) else getattr(error, "strerror", None)
    return stated or f"{type(error).__name__}: {error}"


def _is_alike(one: IO[bytes], other: IO[bytes]) -> bool:
    while piece := one.read(_PIECE):
        if other.read(len(piece)) != piece:
            return False
    return True


def _linked(part: Path, target: Path) -> bool:
    """Take the name only if it is free; False where the file system has no links, so that a rename has to do."""
    try:
        point("video.link")
        target.hardlink_to(part)
        point("video.linked")
    except FileExistsError:
        raise
    except OSError:
        return False
    part.unlink(missing_ok=True)
    return True


def _rename(part: Path, target: Path) -> None:
    """Two names of one file, as a killed process leaves them, a rename lets stand; then the part's goes."""
    if target.exists() and target.samefile(part):
        part.unlink()
    else:
        part.replace(target)


def _sync(part: Part) -> None:
    """To disk.

    Raises:
        FileNotFoundError: another settle took the video away, and maybe a third one has begun to fetch it again.
    """
    with part.path.open("rb+") as file:
        if os.fstat(file.fileno()).st_size != part.size:
            raise FileNotFoundError(errno.ENOENT, "the video was taken away", str(part.path))
        point("video.fsync")
        os.fsync(file.fileno())
        point("video.synced")


def _sync_folder(folder: Path) -> None:
    """The new name is on disk before the results table says so; not every system can be asked for it."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            point("folder.fsync")
            os.fsync(descriptor)
            point("folder.synced")
        finally:
            os.close(descriptor)
