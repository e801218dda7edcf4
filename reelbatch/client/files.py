"""Reading files in pieces, off the event loop: a file of 2 GB is never in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from reelbatch.errors import UploadError

CHUNK_BYTES = 1 << 20


async def read_chunks(path: str | Path, size: int) -> AsyncIterator[bytes]:
    """The `size` bytes of a local file, CHUNK_BYTES at a time.

    Raises:
        UploadError: the file has another size by now.
    """
    left = size
    with await asyncio.to_thread(Path(path).open, "rb") as file:
        while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
            left -= len(chunk)
            if left < 0:
                break
            yield chunk
    if left:
        raise UploadError(f"{path}: the image changed while it was uploaded")
