"""Unit tests are held to what tests/README.md says of them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable

import pytest


def _connect() -> None:
    with socket.socket() as ours:
        ours.connect(("127.0.0.1", 9))


def _listen() -> None:
    socket.create_server(("127.0.0.1", 0)).close()


def _start() -> None:
    subprocess.run([sys.executable, "-c", ""], check=True)


@pytest.mark.parametrize("reach", [_connect, _listen, _start, os.fork], ids=lambda reach: reach.__name__)
def test_a_unit_test_opens_no_socket_and_starts_no_process(reach: Callable[[], object], alone: list[str]) -> None:
    """It fails at once, and it fails as well where the code under test goes on regardless."""
    with pytest.raises(RuntimeError, match="belongs to tests/integration"):
        reach()
    assert len(alone) == 1
    alone.clear()
