"""A manifest's bytes: opened on this machine or on any fsspec URL, decompressed, as UTF-8."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from typing import IO, Any

import fsspec
import pyarrow as pa

from reelbatch.errors import ManifestError

CHUNK = 1 << 20
_CODECS = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\x28\xb5\x2f\xfd": "zstd"}
_UTF8_MARK = codecs.BOM_UTF8
_MARKS = {
    _UTF8_MARK: "utf-8",
    b"\xff\xfe\x00\x00": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
_ENOUGH_NULS = 0.2


def open_file(path: str) -> IO[bytes]:
    """Open a file or fsspec URL for reading.

    Raises:
        ManifestError: it isn't there, is a directory, or may not be read.
    """
    try:
        return fsspec.open(path, "rb").open()  # type: ignore[no-any-return]
    except FileNotFoundError as error:
        raise ManifestError(f"{path}: no such file. Check the path.") from error
    except IsADirectoryError as error:
        raise ManifestError(f"{path}: is a directory. Name one manifest file in it.") from error
    except PermissionError as error:
        raise ManifestError(f"{path}: may not be read. Check its permissions.") from error
    except Exception as error:  # a backend raises what its libraries raise
        raise ManifestError(f"{path}: can't be opened: {error or type(error).__name__}.") from error


def open_text(path: str, encoding: str | None) -> io.BufferedReader:
    """The text of the file at `path` as UTF-8 bytes without a byte order mark.

    Raises:
        ManifestError: here, or while reading: not readable, damaged, or not in the encoding.
    """
    return io.BufferedReader(_Chunks(_utf8(path, encoding)), CHUNK)


class _Chunks(io.RawIOBase):
    """An iterator of bytes as a file."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        super().__init__()
        self._chunks: Any = chunks
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = memoryview(chunk)
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size

    def close(self) -> None:
        self._chunks.close()
        super().close()


def _utf8(path: str, encoding: str | None) -> Iterator[bytes]:
    """Check every chunk against the encoding; pass UTF-8 on as it is, translate everything else."""
    chunks = _decompressed(path)
    first = next(chunks, b"")
    name = _encoding(path, first, encoding)
    decoder = codecs.getincrementaldecoder(name)()
    lines, chunk, mark = 1, first, _UTF8_MARK
    while True:
        try:
            text = decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            raise _undecodable(path, name, lines, error) from error
        yield (chunk if name == "utf-8" else text.encode()).removeprefix(mark)
        if not chunk:
            return
        lines += text.count("\n")
        chunk, mark = next(chunks, b""), b""


def _decompressed(path: str) -> Iterator[bytes]:
    with open_file(path) as file:
        try:
            magic = file.read(4)
            codec = next((name for mark, name in _CODECS.items() if magic.startswith(mark)), None)
            file.seek(0)
            stream: Any = pa.CompressedInputStream(pa.PythonFile(file, "r"), codec) if codec else file
            while chunk := stream.read(CHUNK):
                yield chunk
        except (OSError, EOFError, pa.ArrowException) as error:
            raise ManifestError(f"{path}: is damaged or cut off: {error}. Fetch or export it again.") from error


def _encoding(path: str, first: bytes, stated: str | None) -> str:
    if stated is not None:
        try:
            "".encode(stated)  # raises for codecs that are not about text as well
            return codecs.lookup(stated).name
        except LookupError as error:
            raise ManifestError(f'The encoding "{stated}" is not known. Write utf-8, cp1252 or alike.') from error
    for mark, name in _MARKS.items():
        if first.startswith(mark):
            return name
    sample = first[:1000]
    if sample.count(0) > _ENOUGH_NULS * len(sample):
        order = "utf-16-be" if sample.startswith(b"\0") else "utf-16-le"
        raise ManifestError(
            f'{path}: looks like UTF-16 without a byte order mark. Set encoding to "{order}", or save it as UTF-8.'
        )
    return "utf-8"


def _undecodable(path: str, name: str, lines: int, error: UnicodeDecodeError) -> ManifestError:
    before = error.object[: error.start]
    line = lines + before.count(b"\n")
    near = error.object[max(before.rfind(b"\n") + 1, error.start - 20) : error.start + 10]
    shown = near.decode("cp1252", "replace").strip()
    remedy = 'Save the file as CSV UTF-8, or set encoding to "cp1252" if it comes from Windows.'
    if name != "utf-8":
        remedy = "Set encoding to the one that the file was saved with."
    return ManifestError(f'{path}, line {line}: not in the encoding {name}, near "{shown}". {remedy}')
