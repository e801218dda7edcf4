"""Reading files in pieces, off the event loop: a file of 2 GB is never in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

CHUNK_BYTES = 256 * 1024


async def read_chunks(path: str | Path) -> AsyncIterator[bytes]:
    """The bytes of a local file, CHUNK_BYTES at a time."""
    with await asyncio.to_thread(Path(path).open, "rb") as file:
        while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
            yield chunk
