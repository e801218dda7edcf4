"""Files that only their owner may read, from their first moment on: prompts, ids and credits stand in them.

A file that is there already keeps its mode: the one who wants to share one says so once, with chmod.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from reelbatch.failpoints import point

_OWNER = 0o600


def make(path: Path) -> None:
    """An empty file where there is none, for a program that would make it for everybody to read.

    What stands in the way is left for that program to tell.
    """
    with contextlib.suppress(OSError):
        point("table_file.open")
        # Where a link leads: O_EXCL does not follow it.
        os.close(os.open(os.path.realpath(path), os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER))


def owner_only(path: str, flags: int) -> int:
    """For `open(…, opener=owner_only)`."""
    return os.open(path, flags, _OWNER)


def try_folder(folder: Path) -> None:
    """Make a file without a name in `folder`, which is gone at once.

    Raises:
        OSError: no file can be made there.
    """
    tempfile.TemporaryFile(dir=folder).close()


@contextlib.contextmanager
def replacing(path: Path, mark: str = "") -> Iterator[IO[bytes]]:
    """A file to write that takes the place of `path`, with its mode, when it is whole; else nothing is changed.

    `mark`: part of its name until then, by which one that a killed process left is known.
    """
    if path.exists() and not path.is_file():  # /dev/null is not to become a file, and a folder can't
        raise OSError(errno.EINVAL, "Is a folder or a device, not a file")
    point("export.open")
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.{mark}", suffix=".part")  # 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            _take_over(path, file.fileno())
            yield file
        point("export.rename")
        Path(name).replace(path)
        point("export.renamed")
    finally:
        Path(name).unlink(missing_ok=True)


@contextlib.contextmanager
def placing(path: Path) -> Iterator[IO[bytes]]:
    """A file to write that is called `path` when it is whole, where nothing has that name.

    Raises:
        FileExistsError: something has; it stays as it is.
    """
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")  # 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
        give_name(Path(name), path)
    finally:
        Path(name).unlink(missing_ok=True)


def give_name(part: Path, path: Path) -> None:
    """A whole file gets its name, where that is free; `part` may be left.

    Raises:
        FileExistsError: something has that name; it stays as it is.
    """
    try:
        path.hardlink_to(part)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if path.exists():
            raise FileExistsError(path) from None
        part.rename(path)


def _take_over(path: Path, descriptor: int) -> None:
    """Mode and group of the file that is replaced; a group that can't be kept loses its rights."""
    if not hasattr(os, "fchown"):
        return
    with contextlib.suppress(FileNotFoundError):
        before = path.stat()
        mode = stat.S_IMODE(before.st_mode) & 0o777
        try:
            os.fchown(descriptor, -1, before.st_gid)
        except PermissionError:
            mode &= ~0o070
        os.fchmod(descriptor, mode)
