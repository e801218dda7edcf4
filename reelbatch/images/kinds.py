"""The kinds of images that the API takes, by their first bytes, and what opens each of them here."""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Callable
from functools import cache
from typing import IO, Any, NamedTuple

from reelbatch.images.webp import WebP, is_webp

EXTENSIONS = {
    "PNG": "png",
    "JPEG": "jpg",
    "MPO": "jpg",  # several JPEGs in one file, as phones write them
    "WEBP": "webp",
    "AVIF": "avif",
    "HEIF": "heic",
    "JPEG2000": "jp2",
    "TIFF": "tiff",
    "BMP": "bmp",
}
"""Pillow's names of the kinds that the API takes, and the extensions it knows them by."""
ACCEPTED = "png, jpg, webp, heic, avif, jp2, tiff or bmp"
START = 32
"""Bytes that tell a kind."""
UNREADABLE = (
    SyntaxError,
    IndexError,
    TypeError,
    KeyError,
    ValueError,
    struct.error,
    EOFError,
    OSError,
    RuntimeError,
    Warning,  # where they are errors
)
"""What Pillow's plugins raise on content that is not theirs, is damaged or is of a sort that they don't know."""
_HEADER_BUDGET = 16 << 20
"""Bytes that may be read to find an image's size: a file can claim to be anything and be terabytes long."""
_READ_WHOLLY = frozenset({"PNG", "WEBP", "JPEG"})
"""Kinds of which the libraries know every sort, but for what they say that they can't handle."""
_BMP_HEADERS = range(12, 125)
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"})
_FOREIGN = {
    b"GIF8": "a GIF",
    b"%PDF": "a PDF",
    b"version https://git-lfs": "a pointer of Git LFS (git lfs pull)",
    b"8BPS": "a Photoshop file",
    b"<svg": "an SVG",
    b"<?xml": "an XML file, perhaps an SVG",
    b"<!DOCTYPE": "a web page",
    b"<html": "a web page",
    b"\xff\x4f\xff\x51": "a bare JPEG 2000 stream",
}


class Opener(NamedTuple):
    """What opens images of one kind; a kind may have several, tried one after the other."""

    kind: str
    accepts: Callable[[bytes], bool | str]
    factory: Callable[[IO[bytes], str], Any]


def quiet_pillow() -> None:
    """Its warnings, about odd metadata and very large pictures, are of no interest to who runs a command."""
    warnings.filterwarnings("ignore", module=r"PIL\.")


@cache
def openers() -> tuple[Opener, ...]:
    """Pillow's for each accepted kind, and pillow-heif's for AVIF images that are too odd for Pillow's own."""
    from PIL import Image

    quiet_pillow()
    Image.init()
    heif = _heif_opener()
    stricter = {"JPEG2000": _is_boxed_jpeg_2000, "BMP": _is_bmp}
    found = []
    for kind in EXTENSIONS:
        if kind == "HEIF":
            found.append(Opener(kind, _is_heif, heif))
        elif kind == "WEBP":
            found.append(Opener(kind, is_webp, WebP))
        elif kind in Image.OPEN and kind != "MPO":
            factory, accepts = Image.OPEN[kind]
            found.append(Opener(kind, stricter.get(kind) or accepts or _is_anything, factory))
        if kind == "AVIF":
            found.append(Opener(kind, _is_avif, heif))
    return tuple(found)


def _heif_opener() -> Callable[[IO[bytes], str], Any]:
    """Pillow-heif's; without that package, which is an extra, such images are known and can't be read here."""
    try:
        from pillow_heif import HeifImageFile
    except ImportError:
        return _not_installed
    opener: Callable[[IO[bytes], str], Any] = HeifImageFile
    return opener


def _not_installed(file: IO[bytes], name: str) -> Any:
    del file, name
    raise SyntaxError("pillow-heif is not installed")


def foreign(start: bytes) -> str | None:
    """What a file is that the API does not take; None where its first bytes say nothing of it."""
    if start[4:8] == b"ftyp" and start[8:12] in {b"isom", b"mp42", b"mp41", b"qt  ", b"M4V "}:
        return "a video, not an image"
    for magic, name in _FOREIGN.items():
        if start.lstrip().lower().startswith(magic.lower()):
            return f"{name}, which the API does not take"
    return None


def may_be_sound(kind: str, error: Exception) -> bool:
    """Whether an image that could not be opened may be of a sort that is merely not known here."""
    return kind not in _READ_WHOLLY or "cannot handle" in str(error)


def _is_anything(start: bytes) -> bool:
    del start
    return True


def _is_boxed_jpeg_2000(start: bytes) -> bool:
    return start[4:8] == b"jP  "


def _is_bmp(start: bytes) -> bool:
    """Two letters alone would make one of many a text."""
    return start.startswith(b"BM") and int.from_bytes(start[14:18], "little") in _BMP_HEADERS


def _is_heif(start: bytes) -> bool:
    return start[4:8] == b"ftyp" and start[8:12] in _HEIF_BRANDS


def _is_avif(start: bytes) -> bool:
    return start[4:8] == b"ftyp" and (b"avif" in start[8:] or b"avis" in start[8:])


class Budgeted(io.RawIOBase):
    """A file of which only so much may be read."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__()
        self._file = file
        self._left = _HEADER_BUDGET

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go on from `offset`; the budget stays what it is."""
        return self._file.seek(offset, whence)

    def readinto(self, buffer: Any, /) -> int:
        """Read into `buffer`.

        Raises:
            OSError: the budget is used up.
        """
        if self._left <= 0:
            raise OSError("no image header within reach")
        chunk = self._file.read(min(len(buffer), self._left))
        self._left -= len(chunk)
        buffer[: len(chunk)] = chunk
        return len(chunk)
