"""A manifest's bytes: opened on this machine or on any fsspec URL, decompressed, as UTF-8."""

from __future__ import annotations

import codecs
import csv
import io
import os
import re
import shutil
import sys
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, Any, NamedTuple

import pyarrow as pa

from reelbatch.errors import ManifestError
from reelbatch.manifest.options import LARGEST_TEXT
from reelbatch.manifest.readers.base import bare_name, unique_names
from reelbatch.storage.files import open_remote, scheme_of

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
_TAIL = 4096
_DAMAGED = (OSError, EOFError, pa.ArrowException)


def open_file(path: str, *, scattered: bool = False) -> IO[bytes]:
    """Open a file or fsspec URL for reading; `scattered`: here and there, not from beginning to end.

    Raises:
        ManifestError: it isn't there, is a directory, or may not be read.
        CloudProblem: the same behind a URL; any later read may raise it too.
    """
    if scheme_of(path) is not None:
        return open_remote(path, scattered=scattered)
    try:
        return Path(path).expanduser().open("rb")
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

    @classmethod
    def look_at(cls, path: str, encoding: str | None, largest: int = LARGEST_TEXT) -> TextFile:
        """Find out by its first bytes how the file is written; `encoding`: what the user says it is.

        Raises:
            ManifestError: not readable, or UTF-16 without a mark.
        """
        with open_file(path) as file:
            codec = _codec(path, file)
            first = next(_chunks(path, file, codec), b"")
        return cls(path, codec, _encoding(path, first, encoding), len(first) - len(_unmarked(first)), largest)

    def open(self) -> io.BufferedReader:
        """The text as UTF-8 without a byte order mark.

        Raises:
            ManifestError: here, or while reading: damaged, or not in its encoding.
        """
        return io.BufferedReader(_Chunks(self._utf8()), CHUNK)

    @contextmanager
    def open_native(self, skip: int) -> Iterator[Any]:
        """What `open` gives without the first `skip` bytes, as an Arrow stream that runs no Python code.

        Arrow reads ahead in threads of its own, and a thread that calls Python while the interpreter is shutting
        down aborts the process. So what Arrow can't read by itself is copied to a temporary file. The encoding is
        not checked here.
        """
        with ExitStack() as stack:
            path, codec, mark = self.path.removeprefix("file://"), self.codec, self.mark
            if "://" in path or "::" in path or self.encoding != "utf-8":
                path, codec, mark = stack.enter_context(self._copy()), None, 0
            stream = stack.enter_context(pa.OSFile(os.fsencode(path)))
            if codec:
                self._measure()
                stream = stack.enter_context(pa.CompressedInputStream(stream, codec))
            stream.read(mark + skip)
            yield stream

    def verify(self) -> bytes:
        """Read the whole file; return its last bytes.

        Raises:
            ManifestError: it is not in its encoding; names the line.
        """
        tail = b""
        for chunk in self._utf8():
            tail = (tail + chunk)[-_TAIL:]
        return tail

    def _measure(self) -> None:
        """Unpack it once to see how long it is: Arrow, which unpacks it in threads of its own, would not stop."""
        with open_file(self.path) as file:
            for _ in self._pieces(file):
                pass

    @contextmanager
    def _copy(self) -> Iterator[str]:
        with NamedTemporaryFile(prefix="reelbatch-", suffix=".csv") as copy:
            with self.open() as stream:
                shutil.copyfileobj(stream, copy, CHUNK)
            copy.flush()
            yield copy.name

    def _utf8(self) -> Iterator[bytes]:
        """Check every chunk against the encoding; pass UTF-8 on as it is, translate everything else."""
        decoder = codecs.getincrementaldecoder(self.encoding)()
        lines, start = 1, True
        with open_file(self.path) as file:
            chunks = self._pieces(file)
            while True:
                chunk = next(chunks, b"")
                try:
                    text = decoder.decode(chunk, final=not chunk)
                except UnicodeDecodeError as error:
                    raise _undecodable(self, lines, error) from error
                utf8 = chunk if self.encoding == "utf-8" else text.encode()
                yield _unmarked(utf8) if start else utf8
                if not chunk:
                    return
                lines += text.count("\n")
                start = False

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
        remedy = f'Set encoding to "{order}", or save it as UTF-8.'
        raise ManifestError(f"{path}: looks like UTF-16 without a byte order mark. {remedy}")
    return "utf-8"


def _undecodable(file: TextFile, lines: int, error: UnicodeDecodeError) -> ManifestError:
    before = error.object[: error.start]
    line = lines + before.count(b"\n")
    near = error.object[max(before.rfind(b"\n") + 1, error.start - 20) : error.start + 10]
    shown = near.decode("cp1252", "replace").strip()
    remedy = 'Save the file as CSV UTF-8, or set encoding to "cp1252" if it comes from Windows.'
    if file.encoding != "utf-8":
        remedy = "Set encoding to the one that the file was saved with."
    return ManifestError(f'{file.path}, line {line}: not in the encoding {file.encoding}, near "{shown}". {remedy}')


LONGEST = 1 << 20
"""Bytes within which the names have to end."""
DELIMITERS = ",;\t|"
_EXCEL_HINT = re.compile(rb'\s*"?sep=(.)"?[ ]*(?:\r\n|\r|\n)', re.IGNORECASE)
_QUOTES_AND_ENDS = re.compile(rb'"|\r\n|\r|\n')
_BEFORE_QUOTE = b',;\t|"'


class Header(NamedTuple):
    """What the first line says."""

    columns: tuple[str, ...]
    delimiter: str
    size: int  # bytes up to the first row of data


def read_header(path: str, head: bytes, delimiter: str | None, known: Collection[str]) -> Header:
    """Read the names out of `head`, the beginning of the file; `known` names tell which delimiter is meant.

    Raises:
        ManifestError: there are none, they do not end, or the delimiter is impossible.
    """
    blank = len(head) - len(head.lstrip(b" \r\n"))
    if hint := _EXCEL_HINT.match(head):
        delimiter, blank = delimiter or hint[1].decode("latin-1"), hint.end()
    if not head.strip():
        raise ManifestError(f"{path}: is empty. A manifest begins with a line of column names.")
    size = _first_record(path, head, blank)
    text = head[blank:size].decode("utf-8", "replace")
    if delimiter is None:
        delimiter = max(DELIMITERS, key=lambda option: _score(_split(text, option), known))
    if len(delimiter) != 1 or not delimiter.isascii() or delimiter in '"\r\n':
        raise ManifestError(f'The delimiter "{delimiter}" can\'t be used. Give one character, such as ";".')
    return Header(unique_names(path, _split(text, delimiter)), delimiter, size)


def _first_record(path: str, head: bytes, start: int) -> int:
    """Where the header ends: at the first line break outside quotation marks."""
    quoted = False
    for match in _QUOTES_AND_ENDS.finditer(head, start):
        at = match.start()
        if match[0] != b'"':
            if not quoted:
                return match.end()
        elif quoted or at == start or head[at - 1] in _BEFORE_QUOTE:
            quoted = not quoted
    if quoted or len(head) >= LONGEST:
        raise ManifestError(f"{path}: the line of column names does not end. Close its quotation marks.")
    return len(head)


def _split(text: str, delimiter: str) -> list[str]:
    return next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), [])


def _score(columns: list[str], known: Collection[str]) -> tuple[int, int]:
    bare = {bare_name(name) for name in known}
    return sum(bare_name(column) in bare for column in columns), len(columns)
