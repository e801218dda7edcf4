"""Sound images of sorts that not every library knows, put together byte by byte."""

from __future__ import annotations

import io
import struct

from PIL import Image

_SHORT, _LONG = 3, 4  # TIFF's types of values


def float_tiff(side: int = 40) -> bytes:
    """Red, green and blue as floating point."""
    pixels = bytes(side * side * 3 * 4)
    entries = [
        (256, _SHORT, 1, side),
        (257, _SHORT, 1, side),
        (258, _SHORT, 1, 32),  # bits of a sample
        (259, _SHORT, 1, 1),  # not compressed
        (262, _SHORT, 1, 2),  # RGB
        (273, _LONG, 1, 8),  # where the pixels are
        (277, _SHORT, 1, 3),
        (278, _SHORT, 1, side),
        (279, _LONG, 1, len(pixels)),
        (339, _SHORT, 1, 3),  # floating point
    ]
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return struct.pack("<2sHI", b"II", 42, 8 + len(pixels)) + pixels + directory + bytes(4)


def bmp(*, ten_bits: bool = False, stated_size: int | None = None) -> bytes:
    """64 x 48; `ten_bits` for each colour, as cameras write it; `stated_size`: what the header says of the file."""
    pixels = bytes(64 * 48 * 4)
    masks = struct.pack("<III", 0x3FF00000, 0xFFC00, 0x3FF) if ten_bits else b""
    about = struct.pack("<IiiHHIIiiII", 40, 64, 48, 1, 32, 3 if ten_bits else 0, len(pixels), 0, 0, 0, 0)
    begin = 14 + len(about) + len(masks)
    size = begin + len(pixels) if stated_size is None else stated_size
    return struct.pack("<2sIHHI", b"BM", size, 0, 0, begin) + about + masks + pixels


def avif_with_bare_alpha() -> bytes:
    """64 x 48, with an alpha channel of which no property states the size: some encoders leave that out."""
    file = io.BytesIO()
    Image.new("RGBA", (64, 48), (200, 80, 40, 100)).save(file, "AVIF")
    content = bytearray(file.getvalue())
    at = content.index(b"ipma") + 12  # which item has which properties: the picture's first, then the alpha's
    at += 3 + content[at + 2]
    content[at + 3] = 0  # the first of its properties is its size
    return bytes(content)
