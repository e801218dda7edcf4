"""The servers and clients of all tests here."""

from pathlib import Path

import pytest
from raw_server import connect, serve

__all__ = ["connect", "image", "serve"]


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """Some bytes to upload."""
    path = tmp_path / "chair.png"
    path.write_bytes(b"\x89PNG" * 100_000)
    return path
