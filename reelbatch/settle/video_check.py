"""What a finished video's file shows: how long it is, and whether anything is to be seen that moves.

It needs PyAV (the extra `video`); where that is missing, files are taken as they are. A file is data from elsewhere:
only the containers of videos are opened, nothing that one refers to is, and time, memory and frames have limits.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reelbatch.ledger.settlements import VideoFile

if TYPE_CHECKING:
    from collections.abc import Iterator

BLACK_BELOW = 8.0
"""Mean luma of every frame, of 255, below which a video is black."""
FROZEN_UP_TO = 0.01
"""Share of the full range by which each frame of a frozen video differs from the first one at most, as a mean."""
_LONGEST_S = 5.0
_FRAMES_IN_FULL = 240  # after these, key frames alone are decoded
_SIDE = 64  # frames are compared as thumbnails
_LUMA = (0.299, 0.587, 0.114)
CONTAINERS = {
    "format_whitelist": "mov,mp4,matroska,webm",  # no playlist, which would open addresses
    "protocol_whitelist": "file",
    "enable_drefs": "0",
    "formatprobesize": "4096",  # of which kind it is stands at the beginning
}
"""How a file that came from outside is opened as a video."""
_LARGEST_PICTURE = {"max_pixels": str(8192 * 8192)}


class VideoCheck(StrEnum):
    """What is to be said about a file."""

    OK = "ok"
    BLACK = "black"
    FROZEN = "frozen"
    UNREADABLE = "unreadable"


MARKS = (VideoCheck.BLACK, VideoCheck.FROZEN, VideoCheck.UNREADABLE)
"""Those that someone should look at."""


def look_at(path: Path, longest_s: float = _LONGEST_S) -> VideoFile:
    """Size, length and frames of a video, and what they show. Never raises; takes `longest_s` seconds at most or so.

    `check` is None without PyAV, and where the time was over before a difference was found.
    """
    try:
        found = VideoFile(bytes=path.stat().st_size)
        import av
    except (ImportError, OSError):
        return VideoFile()
    try:
        with av.open(str(path), container_options=CONTAINERS) as container:
            return _looked_through(container, found, time.monotonic() + longest_s)
    except Exception:  # noqa: BLE001 - on damaged files PyAV raises what its parts raise
        return replace(found, check=VideoCheck.UNREADABLE.value)


def _looked_through(container: Any, found: VideoFile, until: float) -> VideoFile:
    stream = container.streams.video[0]
    stream.codec_context.options = _LARGEST_PICTURE
    stream.codec_context.thread_count = 1
    seen = _Seen()
    frames = 0
    for packet in container.demux(stream):
        if time.monotonic() > until:
            return replace(found, seconds=_seconds(container), frames=stream.frames or None, check=seen.so_far)
        frames += packet.size > 0
        for frame in () if seen.so_far else _decoded(packet, seen.frames):
            seen.add(frame)
    whole = seen.frames and frames >= stream.frames  # a file may be cut off where a packet ends
    check = seen.check if whole else VideoCheck.UNREADABLE
    return replace(found, seconds=_seconds(container), frames=frames, check=check.value)


def _decoded(packet: Any, seen: int) -> Iterator[Any]:
    if seen >= _FRAMES_IN_FULL:
        packet.stream.codec_context.skip_frame = "NONKEY"
    yield from packet.decode()


def _seconds(container: Any) -> float | None:
    return container.duration / 1_000_000 if container.duration else None


@dataclass(slots=True)
class _Seen:
    """What the frames so far have in common."""

    frames: int = 0
    black: bool = True
    frozen: bool = True
    _first: Any = field(default=None)

    def add(self, frame: Any) -> None:
        """Compare one more with the first."""
        small = frame.reformat(width=_SIDE, height=_SIDE, format="rgb24", interpolation="AREA")
        points = small.to_ndarray().astype("float32")
        self.frames += 1
        self.black = self.black and float((points @ _LUMA).mean()) < BLACK_BELOW
        if self._first is None:
            self._first = points
        elif float(abs(points - self._first).mean()) > 255 * FROZEN_UP_TO:
            self.frozen = False

    @property
    def check(self) -> VideoCheck:
        """What they show if these are all."""
        if self.black:
            return VideoCheck.BLACK
        return VideoCheck.FROZEN if self.frozen else VideoCheck.OK

    @property
    def so_far(self) -> str | None:
        """What further frames can't change; None while they can."""
        return None if self.black or self.frozen else VideoCheck.OK.value
