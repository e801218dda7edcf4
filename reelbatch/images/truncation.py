"""Whether an image file has its end: a look at the last bytes or at stated lengths, without decoding."""

from __future__ import annotations

from typing import IO, Any

_FARTHEST = 256 << 20
"""How far a JPEG's end is looked for: phones append whole videos after it."""
_STEP = 1 << 20
_PADDING = b"\0\r\n "
_TIFF_DATA = ((273, 279), (324, 325))  # offsets and lengths, of strips and of tiles


def is_complete(image: Any, file: IO[bytes], size: int) -> bool:
    """Whether the `file` of `size` bytes holds all that the opened `image` states; True where it can't be told."""
    match image.format:
        case "PNG":
            complete = b"IEND" in _tail(file, size, 32) or _png_ends(file, size)
        case "JPEG" | "MPO":
            complete = _tail(file, size, 64).rstrip(_PADDING).endswith(b"\xff\xd9") or _jpeg_ends(file)
        case "WEBP":
            complete = _stated(file, 4) + 8 <= size
        case "BMP":
            complete = _stated(file, 2) <= size or _bmp_fits(image, size)
        case "TIFF":
            complete = _tiff_end(image) <= size
        case _:
            complete = _boxes_fit(file, size)
    return complete


def has_its_end(kind: str, file: IO[bytes], size: int) -> bool:
    """The same of a file that could not be opened, as far as its outermost structure says."""
    match kind:
        case "JPEG":
            return _jpeg_ends(file)
        case "BMP":
            return _stated(file, 10) < size  # where its pixels begin
        case "TIFF":
            return _directory(file) < size
        case _:
            return _boxes_fit(file, size)


def _directory(file: IO[bytes]) -> int:
    file.seek(0)
    head = file.read(8)
    return int.from_bytes(head[4:], "little" if head.startswith(b"II") else "big")


def _bmp_fits(image: Any, size: int) -> bool:
    """Some programs state a wrong size of the file, which no decoder looks at; what counts is the pixels."""
    coder, (_, _, _, height), offset, args = image.tile[0]
    return bool(coder == "raw" and offset + args[1] * height <= size)


def _tail(file: IO[bytes], size: int, length: int) -> bytes:
    file.seek(max(0, size - length))
    return file.read(length)


def _stated(file: IO[bytes], offset: int) -> int:
    file.seek(offset)
    return int.from_bytes(file.read(4), "little")


def _png_ends(file: IO[bytes], size: int) -> bool:
    """Walk the chunks: something may follow the last one."""
    at = 8
    while at + 12 <= size:
        file.seek(at)
        head = file.read(8)
        at += 12 + int.from_bytes(head[:4], "big")
        if head[4:] == b"IEND":
            return at <= size
    return False


def _jpeg_ends(file: IO[bytes]) -> bool:
    """Look for the end marker behind the headers: thumbnails in these have end markers too."""
    at = 2
    while True:
        file.seek(at)
        head = file.read(4)
        if len(head) < 4 or head[0] != 0xFF:  # noqa: PLR2004 - a marker is 0xFF and a kind, then two bytes of length
            return False
        at += 2 + int.from_bytes(head[2:], "big")
        if head[1] == 0xDA:  # noqa: PLR2004 - start of scan
            break
    file.seek(at)
    before = b""
    for _ in range(_FARTHEST // _STEP):
        chunk = file.read(_STEP)
        if b"\xff\xd9" in before + chunk:
            return True
        if not chunk:
            return False
        before = chunk[-1:]
    return False


def _tiff_end(image: Any) -> int:
    ends = [0]
    for offsets, lengths in _TIFF_DATA:
        pairs = zip(image.tag_v2.get(offsets, ()), image.tag_v2.get(lengths, ()), strict=False)
        ends += [offset + length for offset, length in pairs]
    return max(ends)


def _boxes_fit(file: IO[bytes], size: int) -> bool:
    """Walk the outermost boxes of an ISO media file."""
    at = 0
    while at + 8 <= size:
        file.seek(at)
        head = file.read(16)
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:], "big")
        if length < 8:  # noqa: PLR2004 - 0: up to the end of the file; anything else is no box
            return True
        at += length
    return at <= size
