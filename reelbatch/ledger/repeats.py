"""Whether a text came twice among millions: eight bytes of disk for each, and no index."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from struct import pack
from tempfile import TemporaryFile
from types import TracebackType
from typing import Any, Self

_AT_ONCE = 1 << 20
"""Hashes compared with each other at once; the others wait on disk for their turn."""


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

        parts = 1
        while self._count > parts * _AT_ONCE:
            parts *= 2
        return any(pc.count_distinct(part).as_py() < len(part) for part in self._parts(parts))

    def _parts(self, parts: int) -> Iterator[Any]:
        """The hashes, divided by their last bits."""
        import pyarrow as pa
        from pyarrow import compute as pc

        for part in range(parts):
            self._file.seek(0)
            chosen = []
            while some := self._file.read(8 * _AT_ONCE):
                hashes = pa.Array.from_buffers(pa.int64(), len(some) // 8, [None, pa.py_buffer(some)])
                if parts > 1:
                    mine = pc.equal(pc.bit_wise_and(hashes, _number(parts - 1)), _number(part))
                    hashes = hashes.filter(mine)
                chosen.append(hashes)
            yield pa.chunked_array(chosen, pa.int64())


def _number(value: int) -> Any:
    """A constant for Arrow; `pa.scalar` would import pandas."""
    import pyarrow as pa

    return pa.Array.from_buffers(pa.int64(), 1, [None, pa.py_buffer(pack("q", value))])[0]
