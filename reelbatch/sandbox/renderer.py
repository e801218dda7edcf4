"""Draws the videos: a slow pan and zoom over the image, as an MP4 that any player opens."""

from __future__ import annotations

import math
import random
import warnings
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from uuid import uuid4

import av
from av.video.reformatter import VideoReformatter
from PIL import Image, ImageOps
from pillow_heif import register_heif_opener

from reelbatch.sandbox.shots import Shot, Size, Unreadable

LONG_SIDE = 320  # pixels of the longer side of every video
_SOURCE_SIDE = 2 * LONG_SIDE  # the pan reads from an image of this size, so that zooming in stays sharp
_ZOOM = 0.18  # how much of the picture the slow zoom cuts off at most
_FADE = 0.4  # the last part of a video in which its end image appears

register_heif_opener()
warnings.filterwarnings("ignore", module=r"PIL\.")  # about odd metadata and very large pictures


def render(shot: Shot, target: Path) -> Size:
    """Draw `shot` into `target` and say its size. The file appears whole or not at all.

    Raises:
        Unreadable: the image can't be opened.
    """
    source = _open(shot.image) if shot.image else _gradient(shot.seed)
    size = _size(source)
    part = target.with_suffix(f".{uuid4().hex}.part")  # two threads may draw the same one
    frames = _frames(source, size, shot)
    if shot.end_image:
        frames = _faded(frames, _open(shot.end_image).resize(size), shot.frames)
    try:
        _encode(frames, size, shot.fps, part)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return size


def _open(path: Path) -> Image.Image:
    try:
        with Image.open(path) as opened:
            opened.draft("RGB", (_SOURCE_SIDE, _SOURCE_SIDE))  # JPEG: decode small at once
            upright = ImageOps.exif_transpose(opened)
            upright.thumbnail((_SOURCE_SIDE, _SOURCE_SIDE), Image.Resampling.BICUBIC)
            return upright.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise Unreadable(str(error)) from error


def _gradient(seed: str) -> Image.Image:
    draw = random.Random(seed)
    corners = Image.new("RGB", (3, 2))
    corners.putdata([tuple(draw.randrange(40, 230) for _ in range(3)) for _ in range(6)])
    return corners.resize((_SOURCE_SIDE, _SOURCE_SIDE * 9 // 16), Image.Resampling.BICUBIC)


def _size(source: Image.Image) -> Size:
    scale = LONG_SIDE / max(source.size)
    width, height = (max(16, round(side * scale / 2) * 2) for side in source.size)
    return Size(width, height)


def _frames(source: Image.Image, size: Size, shot: Shot) -> Iterator[Image.Image]:
    """Each frame is cut out of the source at fractions of a pixel, so that slow moves don't judder."""
    draw = random.Random(shot.seed)
    angle, inward = draw.uniform(0, 2 * math.pi), draw.random() < 0.5  # noqa: PLR2004 - a coin
    width, height = source.size
    for index in range(shot.frames):
        way = (1 - math.cos(math.pi * index / max(1, shot.frames - 1))) / 2  # starts and ends gently
        cut = _ZOOM * (0.4 + 0.6 * (way if inward else 1 - way))
        left = cut * width * (1 + math.cos(angle) * (2 * way - 1)) / 2
        top = cut * height * (1 + math.sin(angle) * (2 * way - 1)) / 2
        right, bottom = left + width * (1 - cut), top + height * (1 - cut)
        box = (max(0.0, left), max(0.0, top), min(width, right), min(height, bottom))  # rounding may stray
        yield source.resize(size, Image.Resampling.BILINEAR, box=box)


def _faded(frames: Iterator[Image.Image], end: Image.Image, count: int) -> Iterator[Image.Image]:
    for index, frame in enumerate(frames):
        progress = 1 - (count - 1 - index) / (max(1, count - 1) * _FADE)
        yield Image.blend(frame, end, progress) if progress > 0 else frame


def _encode(frames: Iterator[Image.Image], size: Size, fps: float, target: Path) -> None:
    rate, convert = Fraction(fps).limit_denominator(1000), VideoReformatter()
    with av.open(str(target), "w", format="mp4", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.width, stream.height, stream.pix_fmt = size.width, size.height, "yuv420p"
        stream.options = {"preset": "superfast", "crf": "26", "threads": "1"}
        for image in frames:
            frame = av.VideoFrame.from_image(image)  # type: ignore[no-untyped-call]  # PyAV has no types here
            container.mux(stream.encode(convert.reformat(frame, format="yuv420p", threads=1)))
        container.mux(stream.encode())
