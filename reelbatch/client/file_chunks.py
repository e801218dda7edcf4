"""Reading files in pieces, off the event loop: a file of 2 GB is never in memory."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

from reelbatch.errors import UploadError

PIECE_BYTES = 2 << 20


@asynccontextmanager
async def open_pieces(path: str | Path) -> AsyncIterator[tuple[int, AsyncIterator[bytes]]]:
    """The size of a local file in bytes, and its content, PIECE_BYTES at a time. A small file is read in one go.

    Raises:
        OSError: it can't be read.
        UploadError: while the pieces are read: it has another size by now.
    """
    file, size, first = await asyncio.to_thread(_open, path)
    try:
        yield size, _pieces(path, file, size, first)
    finally:
        if file is not None:
            file.close()


async def one_piece(content: bytes) -> AsyncIterator[bytes]:
    """What was read already."""
    if content:
        yield content


async def _pieces(path: str | Path, file: IO[bytes] | None, size: int, piece: bytes) -> AsyncIterator[bytes]:
    left = size
    while piece:
        left -= len(piece)
        if left < 0:
            break
        yield piece
        piece = await asyncio.to_thread(file.read, PIECE_BYTES) if file is not None else b""
    if left:
        raise UploadError(f"{path}: the image changed while it was uploaded")


def _open(path: str | Path) -> tuple[IO[bytes] | None, int, bytes]:
    """The file, its size and its first piece; no file where that piece is all of it."""
    file = Path(path).open("rb")  # noqa: SIM115 - closed with the last piece
    try:
        size = os.fstat(file.fileno()).st_size
        first = file.read(PIECE_BYTES)
        if len(first) == size < PIECE_BYTES:
            file.close()
            return None, size, first
    except BaseException:
        file.close()
        raise
    return file, size, first
