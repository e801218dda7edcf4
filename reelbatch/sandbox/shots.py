"""What is to be drawn, in words that need no video library."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple


class Size(NamedTuple):
    """Pixels; both even, as H.264 wants them."""

    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Shot:
    """One video to draw, fading into `end_image` if there is one.

    `image` None: a drawn gradient. `seed` chooses the colours and the way of the camera.
    """

    image: Path | None
    seed: str
    frames: int
    fps: float
    end_image: Path | None = None


class Unreadable(Exception):  # noqa: N818 - says what the image is
    """The uploaded file is no image."""
