"""Follows the videos: queued, rendering, then drawn by the first request, in a thread beside the server."""

from __future__ import annotations

import asyncio
import math
import random
import shutil
import time
from pathlib import Path
from typing import Any

from reelbatch.sandbox.books import Books, Settled, Status, Video, iso
from reelbatch.sandbox.config import SandboxConfig
from reelbatch.sandbox.shots import Shot, Size, Unreadable
from reelbatch.sandbox.storage import SignedUrl, Storage

RENDER_ERRORS = {
    "no_source_face": "No face was found in the image",
    "invalid_file_format": "The image can't be read",
    "file_too_large": "The image is too large",
    "insufficient_credits": "The credits do not cover the render",
    "invalid_parameters": "The model can't make a video from these parameters",
    "processing_timeout": "The render took too long",
    "unknown_error": "The render failed",
}
_PATIENCE_S = 1.0  # a GET waits so long for a video that is being drawn before it answers "rendering"
_STANDIN = Shot(None, "stand-in", frames=10, fps=30)


class Studio:
    """Turns charged videos into finished ones."""

    def __init__(self, config: SandboxConfig, books: Books, storage: Storage) -> None:
        self.config = config
        self._books = books
        self._storage = storage
        self._slots = asyncio.Semaphore(config.render_parallel)
        self._drawing: dict[str, asyncio.Task[Video]] = {}
        self._standin: Size | None = None

    async def close(self) -> None:
        """Break off what is being drawn: it is drawn anew when someone asks for it."""
        drawing = list(self._drawing.values())
        for task in drawing:
            task.cancel()
        await asyncio.gather(*drawing, return_exceptions=True)

    def fate(self, ordinal: int, *, doomed: bool = False) -> str | None:
        """The error that the n-th charged video will end in, or None; `doomed`: it will in any case."""
        draw = random.Random(f"{self.config.seed}:{ordinal}")
        if draw.random() >= self.config.render_error_share and not doomed:
            return None
        return draw.choice(sorted(RENDER_ERRORS))

    @property
    def due_seconds(self) -> float:
        """From the create to the end of the render."""
        return self.config.queue_seconds + self.config.render_seconds

    def refund_failed(self) -> None:
        """Bring the books up to date with the renders that have failed by now."""
        self._books.refund_failed(time.time() - self.due_seconds)

    async def advanced(self, video: Video) -> Video:
        """The video as it stands now; the first one to ask after its render is due has it drawn."""
        if video.status != Status.OPEN or time.time() < video.created_at + self.due_seconds:
            return video
        if video.fate:
            return self._books.settle(video, Settled(Status.ERROR, 0, video.fate))
        task = self._drawing.get(video.id)
        if task is None:
            task = self._drawing[video.id] = asyncio.create_task(self._finish(video))
            task.add_done_callback(lambda _: self._drawing.pop(video.id, None))
        await asyncio.wait({task}, timeout=_PATIENCE_S)
        return task.result() if task.done() else video

    def cancel(self, video: Video) -> Video:
        """Cancel an open video with a full refund, as its owner could do in the web app."""
        return self._books.settle(video, Settled(Status.CANCELED, 0))

    def status(self, video: Video) -> str:
        """The status as the API words it."""
        if video.status != Status.OPEN:
            return video.status
        return "queued" if time.time() < video.created_at + self.config.queue_seconds else "rendering"

    def answer(self, video: Video, download: SignedUrl | None) -> dict[str, Any]:
        """What the API says about `video`; `download` is there once it is complete."""
        credits_ = video.credits if video.final is None else video.final
        link = {"url": download.url, "expires_at": iso(download.expires_at)} if download else None
        deprecated = {"download": link, "total_frame_cost": credits_} if self.config.frame_cost_field else {}
        return {
            "id": video.id,
            "name": video.name,
            "status": self.status(video),
            "type": "IMAGE_TO_VIDEO",
            "created_at": iso(video.created_at),
            "width": video.width,
            "height": video.height,
            "enabled": True,
            "start_seconds": 0,
            "end_seconds": video.seconds,
            "credits_charged": credits_,
            "fps": video.fps,
            "error": {"message": RENDER_ERRORS[video.error], "code": video.error} if video.error else None,
            "downloads": [link] if link else [],
            **deprecated,
        }

    async def _finish(self, video: Video) -> Video:
        image, end_image = (
            self._storage.upload_file(path) if path else None for path in (video.image, video.end_image)
        )
        shot = Shot(image, video.id, frame_count(video), video.fps, end_image)
        try:
            size = await self._drawn(shot, self._storage.video_file(video.id))
        except Unreadable:
            return self._books.settle(video, Settled(Status.ERROR, 0, "invalid_file_format"))
        final = final_credits(video, shot.frames)
        return self._books.settle(video, Settled(Status.COMPLETE, final, None, *size))

    async def _drawn(self, shot: Shot, target: Path) -> Size:
        async with self._slots:
            if self.config.render_video:
                return await asyncio.to_thread(_draw, shot, target)
            standin = self._storage.video_file("stand-in")
            if self._standin is None:
                self._standin = await asyncio.to_thread(_draw, _STANDIN, standin)
            _share(standin, target)
            return self._standin


def frame_count(video: Video) -> int:
    """Frames of the whole video."""
    return max(1, round(video.seconds * video.fps))


def final_credits(video: Video, frames: int) -> int:
    """What the video costs once its frames are counted; the charge assumed the nominal frame rate."""
    return math.ceil(video.credits * frames / (video.nominal_fps * video.seconds))


def _draw(shot: Shot, target: Path) -> Size:
    from reelbatch.sandbox.renderer import render  # the video library is loaded by the first video

    return render(shot, target)


def _share(source: Path, target: Path) -> None:
    try:
        target.unlink(missing_ok=True)
        target.hardlink_to(source)
    except OSError:  # a file system without links
        shutil.copyfile(source, target)
