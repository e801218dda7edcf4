"""Images: where a stated path points, and what a file really is, whatever its name says."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import re
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import IO, Any
from unicodedata import normalize

from reelbatch.errors import ReelbatchError
from reelbatch.images.truncation import is_complete
from reelbatch.storage.errors import Bound
from reelbatch.storage.files import CloudProblem, beside, open_remote

EXTENSIONS = {
    "PNG": "png",
    "JPEG": "jpg",
    "MPO": "jpg",  # several JPEGs in one file, as phones write them
    "WEBP": "webp",
    "HEIF": "heic",
    "AVIF": "avif",
    "JPEG2000": "jp2",
    "TIFF": "tiff",
    "BMP": "bmp",
}
"""Pillow's names of the kinds that the API takes, and the extensions it knows them by."""
API_PATHS = ("api-assets/", "saved-items/")
"""How the API's own paths begin: of uploads, which it deletes after a week, and of durable images of its web app."""
ACCEPTED = "png, jpg, webp, heic, avif, jp2, tiff or bmp"

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+(?:::|://)")
_WEB = re.compile(r"https?://", re.IGNORECASE)
_ORIENTATION = 0x0112
_TURNED = range(5, 9)  # EXIF orientations that exchange width and height
_HEADER_BUDGET = 16 << 20
"""Bytes that may be read to find an image's size: a file can claim to be anything and be terabytes long."""
_LARGEST_BOXED = 256 << 20
"""Bytes of a HEIC or AVIF image: their libraries read it whole into memory, whatever is in it."""
_MOUNT_ERRORS = ("EIO", "ENODEV", "ENXIO", "ENOTCONN", "ESTALE", "EHOSTDOWN", "EHOSTUNREACH", "ETIMEDOUT")
_MOUNT_LOST = frozenset(getattr(errno, name) for name in _MOUNT_ERRORS if hasattr(errno, name))
"""What a shared folder that is not connected (any more) says of its files."""
_FOREIGN = {
    b"GIF8": "a GIF",
    b"%PDF": "a PDF",
    b"8BPS": "a Photoshop file",
    b"<svg": "an SVG",
    b"<?xml": "an XML file, perhaps an SVG",
    b"<!DOCTYPE": "a web page",
    b"<html": "a web page",
}


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
    width: int  # pixels, as displayed: EXIF orientation applied
    height: int


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
    if stated.lower().startswith("file://"):
        return _as_on_disk(stated[len("file://") :])
    if image_kind(stated) is not ImageKind.LOCAL:
        return stated
    folder = str(base)
    if _SCHEME.match(folder) and not os.path.isabs(stated):  # noqa: PTH117 - a million times
        return beside(folder, stated)
    return _as_on_disk(os.path.abspath(os.path.join(folder, stated)))  # noqa: PTH100, PTH118 - as above


def _as_on_disk(path: str) -> str:
    if path.isascii() or os.path.lexists(path):
        return path
    forms = (normalize(form, path) for form in ("NFC", "NFD"))
    return next((form for form in forms if os.path.lexists(form)), path)


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
    start = file.read(16)
    is_boxed = start[4:8] == b"ftyp"
    if is_boxed and size > _LARGEST_BOXED:
        raise ImageProblem(f"{size:,} bytes, which no HEIC or AVIF image has", f"Shrink it, or use {ACCEPTED}.")
    source = file if is_boxed else io.BufferedReader(_Budgeted(file))
    for kind, (factory, accepts) in _openers().items():
        if accepts and accepts(start) is not True:
            continue
        file.seek(0)
        try:
            image = factory(source, "")
        except _UNREADABLE:
            continue
        if not is_complete(image, file, size):
            raise ImageProblem("the image is cut off", "Fetch or export it again.")
        width, height = _displayed(image)
        return ImageInfo(EXTENSIONS[kind], size, width, height)
    raise _no_image(start)


_UNREADABLE = (
    SyntaxError,
    IndexError,
    TypeError,
    KeyError,
    ValueError,
    struct.error,
    EOFError,
    OSError,
    RuntimeError,
)
"""What Pillow's plugins raise on content that is not theirs or is damaged."""


class _Budgeted(io.RawIOBase):
    """A file of which only so much may be read."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__()
        self._file = file
        self._left = _HEADER_BUDGET

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return self._file.seek(offset, whence)

    def readinto(self, buffer: Any, /) -> int:
        if self._left <= 0:
            raise OSError("no image header within reach")
        chunk = self._file.read(min(len(buffer), self._left))
        self._left -= len(chunk)
        buffer[: len(chunk)] = chunk
        return len(chunk)


def _displayed(image: Any) -> tuple[int, int]:
    width, height = image.size
    stored_as_seen = image.format in {"TIFF", "HEIF"}  # already turned by their readers
    if stored_as_seen or (image.format == "PNG" and "exif" not in image.info):
        return width, height
    try:
        turned = image.getexif().get(_ORIENTATION) in _TURNED
    except _UNREADABLE:
        turned = False
    return (height, width) if turned else (width, height)


def _no_image(start: bytes) -> ImageProblem:
    remedy = f"Use {ACCEPTED}."
    if start[4:8] == b"ftyp" and start[8:12] in {b"isom", b"mp42", b"mp41", b"qt  ", b"M4V "}:
        return ImageProblem("a video, not an image", remedy)
    for magic, name in _FOREIGN.items():
        if start.lstrip().lower().startswith(magic.lower()):
            return ImageProblem(f"{name}, which the API does not take", remedy)
    return ImageProblem("no image, or a damaged one, by its content", remedy)


@cache
def _openers() -> dict[str, Any]:
    """Pillow's opener and its test of the first bytes, for each accepted kind."""
    from PIL import Image
    from pillow_heif import register_heif_opener

    warnings.filterwarnings("ignore", module=r"PIL\.")  # about odd metadata, which is of no interest here
    Image.init()
    register_heif_opener()
    return {kind: Image.OPEN[kind] for kind in EXTENSIONS if kind in Image.OPEN and kind != "MPO"}
