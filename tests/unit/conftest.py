"""What a unit test may not do: connect, listen, or start a process."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
import urllib3.util.connection  # noqa: F401 - binds a socket when it is first imported, to see if there is IPv6

_FORBIDDEN = frozenset({
    "socket.connect", "socket.bind", "socket.getaddrinfo", "socket.sendto",
    "subprocess.Popen", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system", "pty.spawn",
})  # fmt: skip


class _Watch:
    """Refuses these events of the interpreter while it is on, and keeps those that it refused.

    Python has no way to take such a hook away again, so that one serves for the whole process.
    """

    def __init__(self) -> None:
        self.on = False
        self.refused: list[str] = []
        sys.addaudithook(self._look)

    def _look(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.on and event in _FORBIDDEN:
            self.refused.append(f"{event} {arguments!r:.200}")
            raise RuntimeError(f"{event}: a test that needs this belongs to tests/integration")


_WATCH = _Watch()


@pytest.fixture(autouse=True)
def alone() -> Iterator[list[str]]:
    """No test here reaches beyond its own process; one that tries fails, also where the code under test hides it."""
    _WATCH.on = True
    _WATCH.refused.clear()
    try:
        yield _WATCH.refused
    finally:
        _WATCH.on = False
    assert not _WATCH.refused
