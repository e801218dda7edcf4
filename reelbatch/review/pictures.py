"""Small pictures of images and videos: made once, and kept in a folder beside the results table."""

from __future__ import annotations

import atexit
import hashlib
import io
import logging
import os
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

from reelbatch.images.inspect import ImageKind, image_kind, resolve_image
from reelbatch.images.kinds import quiet_pillow
from reelbatch.ledger import Ledger
from reelbatch.review.video_files import local_video
from reelbatch.storage.private_files import replacing

SIDE = 480
"""Pixels of the longer side of what is kept."""
_QUALITY = 80
_log = logging.getLogger("reelbatch.review")
_UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, LookupError, Image.DecompressionBombError)


class Pictures:
    """The thumbnails of one results table.

    An image is only ever shown as a picture that was made from it here: what is no image is not passed on, whatever
    a manifest calls one. Images at web addresses are left alone.
    """

    def __init__(self, ledger: Ledger) -> None:
        quiet_pillow()
        self.folder = folder_of(ledger)

    def image(self, row: Mapping[str, Any]) -> Path | None:
        """The thumbnail of a row's own image; None where this machine has no such image."""
        source = local_image(row)
        return None if source is None else self._kept(source, _of_image)

    def poster(self, row: Mapping[str, Any]) -> Path | None:
        """A video's first frame, for rows whose image is elsewhere; None without a video here, or without PyAV."""
        source = local_video(row)
        return None if source is None else self._kept(source, _of_video)

    def any(self, row: Mapping[str, Any]) -> Path | None:
        """The image, else the poster."""
        return self.image(row) or self.poster(row)

    def _kept(self, source: Path, read: Any) -> Path | None:
        name = hashlib.sha256(os.fsencode(source)).hexdigest()[:32]
        try:
            now = source.stat()
        except OSError:  # gone since: what was made of it is still worth showing
            return max(self.folder.glob(f"{name}-*.jpg"), default=None)
        target = self.folder / f"{name}-{now.st_mtime_ns:x}-{now.st_size:x}.jpg"
        if target.exists():
            return target
        picture = self._read(source, read)
        return None if picture is None else self._keep(target, name, picture)

    @staticmethod
    def _read(source: Path, read: Any) -> Image.Image | None:
        try:
            picture: Image.Image = read(source)
        except _UNREADABLE as error:
            _log.debug("%s: no thumbnail can be made: %s", source, error)
            return None
        return picture

    def _keep(self, target: Path, name: str, picture: Image.Image) -> Path:
        """Written whole, in place of what was made of an earlier file of this name."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with replacing(target) as file:
            picture.save(file, "JPEG", quality=_QUALITY, optimize=True)
        for earlier in self.folder.glob(f"{name}-*.jpg"):
            if earlier != target:
                earlier.unlink(missing_ok=True)
        return target


def folder_of(ledger: Ledger) -> Path:
    """Where a table's thumbnails lie: beside its file, or in `results` for a database elsewhere.

    Of a table that can only be read, in a folder for temporary files, until this process ends.
    """
    if ledger.path is None:
        return Path("results") / f"{ledger.label}.thumbnails"
    if not os.access(ledger.path.parent, os.W_OK):
        folder = Path(tempfile.mkdtemp(prefix="reelbatch-thumbnails-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        return folder
    return ledger.path.with_name(f"{ledger.path.name}.thumbnails")


def local_image(row: Mapping[str, Any]) -> Path | None:
    """Where a row's image lies on this machine; None for an image elsewhere."""
    try:
        where = resolve_image(row["image_path"], row["image_base"] or ".")
    except ValueError:  # a path that none can be
        return None
    if image_kind(where) is not ImageKind.LOCAL or "\x00" in where:
        return None
    return Path(where)


def shrunk(picture: Path, side: int) -> bytes:
    """A thumbnail made smaller still, as JPEG."""
    with Image.open(picture) as opened:
        opened.thumbnail((side, side), Image.Resampling.LANCZOS)
        target = io.BytesIO()
        opened.save(target, "JPEG", quality=_QUALITY, optimize=True)
    return target.getvalue()


def _of_image(source: Path) -> Image.Image:
    _know_heic()
    with Image.open(source) as opened:
        opened.draft("RGB", (SIDE, SIDE))  # a JPEG is decoded small at once
        return _small(ImageOps.exif_transpose(opened))


def _of_video(source: Path) -> Image.Image:
    try:
        import av
    except ImportError as error:
        raise ValueError("PyAV is not installed") from error
    from reelbatch.settle.video_check import CONTAINERS

    with av.open(str(source), container_options=CONTAINERS) as container:
        frame = next(container.decode(video=0), None)
        if frame is None:
            raise ValueError("it has no frame")
        return _small(frame.to_image())  # type: ignore[no-untyped-call]  # PyAV has no types here


def _small(picture: Image.Image) -> Image.Image:
    picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    if picture.mode in {"RGBA", "LA", "P", "PA"}:  # what is transparent is white, as in a shop
        seen = picture.convert("RGBA")
        ground = Image.new("RGBA", seen.size, "white")
        return Image.alpha_composite(ground, seen).convert("RGB")
    return picture.convert("RGB")


def _know_heic() -> None:
    with suppress(ImportError):
        from pillow_heif import register_heif_opener

        register_heif_opener()
