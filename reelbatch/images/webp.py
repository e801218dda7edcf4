"""A WEBP's size and orientation by its chunks: Pillow's reader takes the whole file and room for all pixels."""

from __future__ import annotations

from contextlib import suppress
from typing import IO, Any

_CANVAS, _LOSSY, _LOSSLESS = b"VP8X", b"VP8 ", b"VP8L"
_HAS_EXIF = 0x08
_LARGEST_EXIF = 1 << 20
_HEAD = 8
_PICTURE = 10
"""Bytes at a picture's beginning that state its size."""
_LOSSLESS_MARK = b"\x2f"


class WebP:
    """One file, as far as it has to be known; a stand-in for an image that Pillow has opened."""

    format = "WEBP"

    def __init__(self, file: IO[bytes], name: str) -> None:
        """Walk the chunks to the first pixels, and to the metadata where there are any.

        Raises:
            SyntaxError: it is no WEBP, or has no pixels.
        """
        del name
        self._file = file
        self._at = 12
        if not is_webp(file.read(16)):
            raise SyntaxError("no WEBP")
        self.size, self._exif = self._walked()

    def getexif(self) -> Any:
        """Its metadata; nothing where it has none."""
        from PIL import Image

        found = Image.Exif()
        if self._exif:
            found.load(self._exif)
        return found

    def _walked(self) -> tuple[tuple[int, int], bytes]:
        kind, body = self._chunk()
        if kind != _CANVAS:
            return _size_of(kind, body), b""
        size = _number(body[4:7]) + 1, _number(body[7:10]) + 1
        has_exif = bool(body[0] & _HAS_EXIF)
        while kind not in {_LOSSY, _LOSSLESS, b"ANMF"}:
            kind, body = self._chunk()
        with suppress(SyntaxError, OSError):  # a flag without metadata, or too far behind
            while has_exif and kind != b"EXIF":
                kind, body = self._chunk()
        return size, body if kind == b"EXIF" else b""

    def _chunk(self) -> tuple[bytes, bytes]:
        """The next one: its name, and what it begins with, of metadata all."""
        self._file.seek(self._at)
        head = self._file.read(_HEAD)
        length = _number(head[4:])
        self._at += _HEAD + length + length % 2
        kind = head[:4]
        body = self._file.read(min(length, _LARGEST_EXIF if kind == b"EXIF" else _PICTURE))
        if len(head) < _HEAD or (length and not body):
            raise SyntaxError("no further chunk")
        return kind, body


def is_webp(start: bytes) -> bool:
    """Whether a file begins as one."""
    return start.startswith(b"RIFF") and start[8:12] == b"WEBP" and start[12:16] in {_CANVAS, _LOSSY, _LOSSLESS}


def _size_of(kind: bytes, body: bytes) -> tuple[int, int]:
    if kind == _LOSSY and body[3:6] == b"\x9d\x01\x2a" and len(body) == _PICTURE:
        return _number(body[6:8]) & 0x3FFF, _number(body[8:10]) & 0x3FFF
    if kind == _LOSSLESS and body.startswith(_LOSSLESS_MARK):
        bits = _number(body[1:5])
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    raise SyntaxError("no picture of a WEBP")


def _number(content: bytes) -> int:
    return int.from_bytes(content, "little")
