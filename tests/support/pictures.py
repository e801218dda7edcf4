"""Images for tests."""

from __future__ import annotations

from pathlib import Path

from PIL import Image


def landscape(path: Path) -> Path:
    """A small landscape at `path`, of the kind that its name says."""
    Image.linear_gradient("L").resize((320, 180)).convert("RGB").save(path)
    return path
