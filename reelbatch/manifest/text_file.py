"""A manifest's bytes: opened on this machine or on any fsspec URL, decompressed, as UTF-8."""

from __future__ import annotations

import codecs
import io
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import IO, Any, NamedTuple

import pyarrow as pa

from reelbatch.domain import Issue
from reelbatch.errors import ManifestError
from reelbatch.home_folder import at_home
from reelbatch.manifest.encodings import readings
from reelbatch.manifest.options import LARGEST_TEXT
from reelbatch.storage.files import open_remote, scheme_of

CHUNK = 1 << 21
_CODECS = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\x28\xb5\x2f\xfd": "zstd"}
_UTF8_MARK = codecs.BOM_UTF8
_MARKS = {
    _UTF8_MARK: "utf-8",
    b"\xff\xfe\x00\x00": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
_ENOUGH_NULS = 0.2
_TAIL = 4096
_DAMAGED = (OSError, EOFError, pa.ArrowException)


def open_file(path: str, *, scattered: bool = False) -> IO[bytes]:
    """Open a file or fsspec URL for reading; `scattered`: here and there, not from beginning to end.

    Raises:
        ManifestError: it isn't there, is a directory, a pipe or a device, or may not be read.
        CloudProblem: the same behind a URL; any later read may raise it too.
    """
    if scheme_of(path) is not None:
        return open_remote(path, scattered=scattered)
    if not path.strip():
        raise ManifestError("The manifest's path is empty: state a value.")
    where = at_home(path)
    if os.path.exists(where) and not (os.path.isfile(where) or os.path.isdir(where)):  # noqa: PTH110, PTH113, PTH112 - Path's raise
        raise ManifestError(f"{path}: is a pipe or a device, and is read more than once. Save it as a file first.")
    try:
        return Path(where).open("rb")
    except FileNotFoundError as error:
        raise ManifestError(f"{path}: no such file. Check the path.") from error
    except IsADirectoryError as error:
        raise ManifestError(f"{path}: is a directory. Name one manifest file in it.") from error
    except PermissionError as error:
        raise ManifestError(f"{path}: may not be read. Check its permissions.") from error
    except (OSError, ValueError, RuntimeError) as error:
        raise ManifestError(f"{path}: can't be opened: {error or type(error).__name__}. Check the path.") from error


class TextFile(NamedTuple):
    """A text file whose compression and encoding are known."""

    path: str
    codec: str | None
    encoding: str  # as Python calls it
    mark: int  # bytes of a UTF-8 byte order mark
    largest: int  # bytes that are unpacked, or fetched from a URL, at most
    warnings: tuple[Issue, ...] = ()

    @classmethod
    def look_at(cls, path: str, encoding: str | None, largest: int = LARGEST_TEXT) -> TextFile:
        """Find out by its first bytes how the file is written; `encoding`: what the user says it is.

        Raises:
            ManifestError: not readable, or UTF-16 without a mark.
        """
        with open_file(path) as file:
            codec = _codec(path, file)
            first = next(_chunks(path, file, codec), b"")
        found = _encoding(path, first, encoding)
        return cls(path, codec, found, len(first) - len(_unmarked(first)), largest, tuple(_doubts(first, found)))

    def open(self) -> io.BufferedReader:
        """The text as UTF-8 without a byte order mark.

        Raises:
            ManifestError: here, or while reading: damaged, or not in its encoding.
        """
        return io.BufferedReader(_Chunks(self._utf8()), CHUNK)

    def chunks(self) -> Iterator[bytes]:
        """What `open` gives, some of it at a time.

        Raises:
            ManifestError: as `open`.
        """
        return self._utf8()

    def verify(self) -> bytes:
        """Read the whole file; return its last bytes.

        Raises:
            ManifestError: it is not in its encoding; names the line.
        """
        tail = b""
        for chunk in self._utf8():
            tail = (tail + chunk)[-_TAIL:]
        return tail

    def _utf8(self) -> Iterator[bytes]:
        """Check every chunk against the encoding; pass UTF-8 on as it is, translate everything else.

        The last chunk is empty. Plain ASCII is UTF-8 and needs no look at each character.
        """
        decoder = codecs.getincrementaldecoder(self.encoding)()
        done = 0
        with open_file(self.path) as file:
            chunks = self._pieces(file)
            while True:
                chunk = next(chunks, b"")
                plain = self.encoding == "utf-8" and chunk and chunk.isascii() and not decoder.getstate()[0]
                try:
                    text = "" if plain else decoder.decode(chunk, final=not chunk)
                except UnicodeDecodeError as error:
                    raise _undecodable(self, self._lines(done), error) from error
                utf8 = chunk if self.encoding == "utf-8" else text.encode()
                yield utf8 if done else _unmarked(utf8)
                if not chunk:
                    return
                done += 1

    def _lines(self, chunks: int) -> int:
        """The number of the line that goes on behind the first `chunks`: looked for when it is asked for."""
        return 1 + sum(chunk.count(b"\n") for chunk in islice(self._utf8(), chunks))

    def _pieces(self, file: IO[bytes]) -> Iterator[bytes]:
        """The text as it stands in the file, unpacked.

        Raises:
            ManifestError: it is damaged. Or too long: a plain file of this machine is as long as it is, but what is
                unpacked or fetched takes room that it had not.
        """
        left = self.largest if self.codec or scheme_of(self.path) is not None else sys.maxsize
        for chunk in _chunks(self.path, file, self.codec):
            left -= len(chunk)
            if left < 0:
                remedy = "Split it, or unpack it on this machine."
                raise ManifestError(f"{self.path}: more than {self.largest:,} bytes of text. {remedy}")
            yield chunk


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


def _codec(path: str, file: IO[bytes]) -> str | None:
    magic = file.read(4)
    file.seek(0)
    codec = next((name for mark, name in _CODECS.items() if magic.startswith(mark)), None)
    if magic and codec is None and path.lower().endswith((".gz", ".bz2", ".zst")):
        raise ManifestError(f"{path}: is not compressed, whatever its name says. Rename it or fetch it again.")
    return codec


def _chunks(path: str, file: IO[bytes], codec: str | None) -> Iterator[bytes]:
    try:
        stream: Any = pa.CompressedInputStream(pa.PythonFile(file, "r"), codec) if codec else file
        while chunk := stream.read(CHUNK):
            yield chunk
    except _DAMAGED as error:
        raise damaged(path, error) from error


def damaged(path: str, error: Exception) -> ManifestError:
    """The error for a file that can't be read to its end."""
    return ManifestError(f"{path}: is damaged or cut off: {error}. Fetch or export it again.")


def _unmarked(utf8: bytes) -> bytes:
    return utf8.removeprefix(_UTF8_MARK)


def _encoding(path: str, first: bytes, stated: str | None) -> str:
    for mark, name in _MARKS.items():
        if first.startswith(mark):
            return name
    if stated is not None:
        try:
            "".encode(stated)  # raises for codecs that are not about text as well
            return codecs.lookup(stated).name
        except LookupError as error:
            raise ManifestError(f'The encoding "{stated}" is not known. Write utf-8, cp1252 or alike.') from error
    sample = first[:1000]
    if sample.count(0) > _ENOUGH_NULS * len(sample):
        order = "utf-16-be" if sample.startswith(b"\0") else "utf-16-le"
        remedy = f'Set encoding to "{order}", or save it as UTF-8.'
        raise ManifestError(f"{path}: looks like UTF-16 without a byte order mark. {remedy}")
    return "utf-8"


def _doubts(first: bytes, encoding: str) -> Iterator[Issue]:
    """Text in another encoding is hardly ever UTF-8 by chance."""
    if first.isascii() or encoding.startswith("utf"):
        return
    with suppress(UnicodeDecodeError):
        codecs.getincrementaldecoder("utf-8")().decode(first)
        what = f"is UTF-8 by its bytes, but is read as {encoding}, as the setting encoding says"
        yield Issue(None, None, "", what, "Leave encoding out, unless letters look right in the plan.")


def _undecodable(file: TextFile, lines: int, error: UnicodeDecodeError) -> ManifestError:
    before = error.object[: error.start]
    line = lines + before.count(b"\n")
    excerpt = error.object[max(before.rfind(b"\n") + 1, error.start - 20) : error.start + 10]
    near = readings(excerpt.partition(b"\n")[0]) or repr(excerpt)
    remedy = "Save the file as CSV UTF-8, or set manifest.encoding (init: --encoding) to the one that looks right."
    return ManifestError(f"{file.path}, line {line}: not in the encoding {file.encoding}, near {near}. {remedy}")
