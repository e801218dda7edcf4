"""Images: where a stated path points, and what a file really is, whatever its name says."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO, Any
from unicodedata import normalize

from reelbatch import extras
from reelbatch.errors import ReelbatchError
from reelbatch.home_folder import at_home
from reelbatch.images.kinds import (
    ACCEPTED,
    EXTENSIONS,
    START,
    UNREADABLE,
    Budgeted,
    foreign,
    may_be_sound,
    openers,
)
from reelbatch.images.truncation import has_its_end, is_complete
from reelbatch.storage.errors import Bound
from reelbatch.storage.files import CloudProblem, beside, open_remote

UNKNOWN = 0
"""The pixels of an image that could not be read."""
API_PATHS = ("api-assets/", "saved-items/")
"""How the API's own paths begin: of uploads, which it deletes after a week, and of durable images of its web app."""

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+(?:::|://)")
_WEB = re.compile(r"https?://", re.IGNORECASE)
_ORIENTATION = 0x0112
_TURNED = range(5, 9)  # EXIF orientations that exchange width and height
_LARGEST_BOXED = 256 << 20
"""Bytes of a HEIC or AVIF image: their libraries read it whole into memory, whatever is in it."""
_MOUNT_ERRORS = ("EIO", "ENODEV", "ENXIO", "ENOTCONN", "ESTALE", "EHOSTDOWN", "EHOSTUNREACH", "ETIMEDOUT")
_MOUNT_LOST = frozenset(getattr(errno, name) for name in _MOUNT_ERRORS if hasattr(errno, name))
"""What a shared folder that is not connected (any more) says of its files."""


class ImageKind(StrEnum):
    """What a manifest's image path is."""

    LOCAL = "local"  # a path on this machine or beside the manifest
    URL = "url"  # http(s): the API fetches it
    ASSET = "asset"  # api-assets/… or saved-items/…: the API has it already
    CLOUD = "cloud"  # any other fsspec URL


class ImageProblem(ReelbatchError):  # noqa: N818 - it is what a row's Issue is made of
    """An image can't be used: what is wrong and what to do."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what}. {remedy}")
        self.what = what
        self.remedy = remedy


class ImageUnseen(ImageProblem):
    """A local image that this machine can't see or may not read. It says nothing about other machines."""


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """What an image file really is."""

    extension: str  # as an upload states it
    size: int  # bytes
    width: int  # pixels, as displayed: EXIF orientation applied; UNKNOWN of an image that could not be read here
    height: int


class ImageUnread(ImageProblem):
    """An image of a kind that the API takes, and of a sort that no library here opens. It is no damage."""

    def __init__(self, what: str, remedy: str, info: ImageInfo) -> None:
        super().__init__(what, remedy)
        self.info = info


def image_kind(stated: str) -> ImageKind:
    """What the manifest's image path `stated` is; says nothing about whether it exists."""
    if _WEB.match(stated):
        return ImageKind.URL
    if stated.startswith(API_PATHS):
        return ImageKind.ASSET
    return ImageKind.CLOUD if _SCHEME.match(stated) else ImageKind.LOCAL


def resolve_image(stated: str, base: str | Path) -> str:
    """Where the image `stated` is: an absolute local path, or a URL; `base` is the manifest's folder.

    File names that are written with other Unicode code points on disk (é as one or as two) are found.
    """
    folder = str(base)
    if stated.lower().startswith("file://"):
        path = stated[len("file://") :]
        return _as_on_disk(path if _SCHEME.match(folder) else os.path.join(folder, path))  # noqa: PTH118 - as above
    if image_kind(stated) is not ImageKind.LOCAL:
        return stated
    if _SCHEME.match(folder) and not os.path.isabs(stated):  # noqa: PTH117 - a million times
        return beside(folder, stated)
    stated = at_home(stated, folder)
    return _as_on_disk(os.path.abspath(os.path.join(folder, stated)))  # noqa: PTH100, PTH118 - as above


def _as_on_disk(path: str) -> str:
    if path.isascii() or os.path.lexists(path):
        return path
    found = ""
    for name in Path(path).parts:  # each has a form of its own: a folder from Linux with files from a Mac
        forms = (os.path.join(found, form) for form in (name, normalize("NFC", name), normalize("NFD", name)))  # noqa: PTH118 - as above
        found = next((form for form in forms if os.path.lexists(form)), os.path.join(found, name))  # noqa: PTH118 - as above
    return found


def content_mark(stated: str, base: str | Path) -> str | None:
    """What stands for an image when two requests are compared: the SHA-256 of a local file's bytes, else its address.

    None for a local file that can't be read here.
    """
    where = resolve_image(stated, base)
    if image_kind(where) is not ImageKind.LOCAL:
        return where
    try:
        with open(where, "rb") as file:  # noqa: PTH123 - as above
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def inspect_image(path_or_fsspec_url: str, *, bound: Bound | None = None) -> ImageInfo:
    """Find out by its content what the image file is; one of more bytes than `bound` is not looked into.

    Raises:
        ImageUnseen: it is a local file that this machine can't see.
        ImageProblem: it isn't there, can't be read, is cut off, or is no image that the API takes.
    """
    with opened_image(path_or_fsspec_url) as file:
        return inspect_file(file, bound=bound)


def inspect_file(file: IO[bytes], *, bound: Bound | None = None) -> ImageInfo:
    """The same for a file that is open, or in memory.

    Raises:
        ImageProblem: it is cut off, or no image that the API takes.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    if size == 0:
        raise ImageProblem("the file is empty", "Put the image in its place.")
    if bound is not None and size > bound.size:
        raise ImageProblem(f"{size:,} bytes, {bound.trouble.what}", bound.trouble.remedy)
    return _identify(file, size)


@contextmanager
def opened_image(path: str) -> Iterator[IO[bytes]]:
    """An image's file, by its path or fsspec URL.

    Raises:
        ImageUnseen: it is a local file that this machine can't see.
        ImageProblem: it isn't there, or can't be read.
    """
    try:
        with _open(path) as file:
            yield file
    except ImageProblem:
        raise
    except FileNotFoundError as error:
        remedy = "Check the path; it is relative to the manifest's folder."
        if "\\" in path:
            remedy = "Write / where the path has \\."
        if os.path.islink(path):  # noqa: PTH114 - Path's raises where a name is too long
            remedy = "It is a link, and what it leads to is not there."
        raise ImageUnseen("no such file", remedy) from error
    except CloudProblem as problem:
        what = problem.what if problem.is_files_own else f"can't be read: {problem.what}"
        raise ImageProblem(what, problem.remedy) from problem
    except IsADirectoryError as error:
        raise ImageProblem("a directory, not a file", "Name an image file in it.") from error
    except PermissionError as error:
        raise ImageUnseen("may not be read", "Check the file's permissions.") from error
    except OSError as error:
        kind = ImageUnseen if error.errno in _MOUNT_LOST else ImageProblem
        raise kind(f"can't be read: {error.strerror or error}", "Check the path.") from error
    except Exception as error:  # a backend raises what its libraries raise
        raise ImageProblem(f"can't be read: {error or type(error).__name__}", "Check the path.") from error


def _open(path: str) -> IO[bytes]:
    if not _SCHEME.match(path):
        if not os.path.isfile(path) and os.path.exists(path) and not os.path.isdir(path):  # noqa: PTH113, PTH110, PTH112 - a million times
            raise ImageProblem("not a regular file", "Name an image file.")
        return open(path, "rb")  # noqa: PTH123 - the caller closes it
    return open_remote(path)


def _identify(file: IO[bytes], size: int) -> ImageInfo:
    """Open the file as each kind that its first bytes allow; Pillow's own `open` refuses huge images."""
    start = file.read(START)
    is_boxed = start[4:8] == b"ftyp"
    if is_boxed and size > _LARGEST_BOXED:
        raise ImageProblem(f"{size:,} bytes, which no HEIC or AVIF image has", f"Shrink it, or use {ACCEPTED}.")
    source = file if is_boxed else io.BufferedReader(Budgeted(file))
    unread = None
    for kind, accepts, factory in openers():
        if accepts(start) is not True:
            continue
        file.seek(0)
        try:
            image = factory(source, "")
        except UNREADABLE as error:
            unread = kind if may_be_sound(kind, error) else unread
            continue
        if not is_complete(image, file, size):
            raise _cut_off()
        return ImageInfo(EXTENSIONS[kind], size, *_displayed(image))
    raise _no_image(start) if unread is None else _unread(unread, file, size)


def _cut_off() -> ImageProblem:
    return ImageProblem("the image is cut off", "Fetch or export it again.")


def _unread(kind: str, file: IO[bytes], size: int) -> ImageProblem:
    """What no library here opens, though it may be sound."""
    if not has_its_end(kind, file, size):
        return _cut_off()
    name = EXTENSIONS[kind]
    what = f"can't be read here: a {name} of a sort that no library on this machine knows"
    remedy = "Export it again as png or jpg, or let such images through unseen (image_checks: warn)."
    if kind in {"HEIF", "AVIF"} and extras.missing("heic"):
        remedy = f"{extras.remedy('heic')}, or let such images through unseen (image_checks: warn)."
    return ImageUnread(what, remedy, ImageInfo(name, size, UNKNOWN, UNKNOWN))


def _displayed(image: Any) -> tuple[int, int]:
    width, height = image.size
    stored_as_seen = image.format in {"TIFF", "HEIF"}  # already turned by their readers
    if stored_as_seen or (image.format == "PNG" and "exif" not in image.info):
        return width, height
    try:
        turned = image.getexif().get(_ORIENTATION) in _TURNED
    except UNREADABLE:
        turned = False
    return (height, width) if turned else (width, height)


def _no_image(start: bytes) -> ImageProblem:
    what = foreign(start) or "no image, or a damaged one, by its content"
    return ImageProblem(what, f"Use {ACCEPTED}.")
