"""Whether a text came twice among millions: eight bytes of disk for each, and no index."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from struct import pack
from tempfile import TemporaryFile
from types import TracebackType
from typing import Any, Self

_READ, _MOST_PARTS = 1 << 18, 16
"""Hashes in memory at once, while the others wait on disk; and the most parts, each of which reads the whole file."""
_COMPARED = 1 << 16
"""Hashes compared with each other at once: that takes a dozen times the memory of the hashes."""


class Repeats:
    """Remembers the hashes of texts."""

    def __init__(self) -> None:
        self._file = TemporaryFile(prefix="reelbatch-")  # noqa: SIM115 - closed by __exit__
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, texts: Iterable[str]) -> None:
        """Remember `texts`."""
        hashes = array("q", map(hash, texts))
        self._count += len(hashes)
        self._file.write(hashes.tobytes())

    def likely(self) -> bool:
        """Whether some text came more than once. True may, very rarely, be wrong; False never is."""
        from pyarrow import compute as pc

        parts = min(_parts_of(self._count, _READ), _MOST_PARTS)
        return any(
            pc.count_distinct(hashes).as_py() < len(hashes)
            for part in range(parts)
            for hashes in _divided(self._part(part, parts), part, parts)
        )

    def _part(self, part: int, parts: int) -> Any:
        """One of `parts` by the hashes' last bits."""
        self._file.seek(0)
        chosen = bytearray()
        while some := self._file.read(8 * _COMPARED):
            chosen += _chosen(_array(some), part, parts).buffers()[1]
        return _array(chosen)


def _array(hashes: bytes | bytearray) -> Any:
    import pyarrow as pa

    return pa.Array.from_buffers(pa.int64(), len(hashes) // 8, [None, pa.py_buffer(hashes)])


def _parts_of(count: int, most: int) -> int:
    """Into how many parts, a power of two, that many are divided that about `most` are in each."""
    parts = 1
    while count > parts * most:
        parts *= 2
    return parts


def _divided(hashes: Any, part: int, parts: int) -> Iterator[Any]:
    """`part` of `parts`, by further bits of its hashes."""
    smaller = parts * _parts_of(len(hashes), _COMPARED)
    for one in range(part, smaller, parts):
        yield _chosen(hashes, one, smaller)


def _chosen(hashes: Any, part: int, parts: int) -> Any:
    from pyarrow import compute as pc

    if parts == 1:
        return hashes
    return hashes.filter(pc.equal(pc.bit_wise_and(hashes, _number(parts - 1)), _number(part)))


def _number(value: int) -> Any:
    """A constant for Arrow; `pa.scalar` would import pandas."""
    return _array(pack("q", value))[0]
