"""Which file on this machine is a row's video."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reelbatch.settle.file_names import SUFFIX
from reelbatch.storage.files import scheme_of

_BRAND = slice(4, 8)  # where an MP4 says what it is
_MP4 = b"ftyp"


def local_video(row: Mapping[str, Any]) -> Path | None:
    """The row's video, if it lies on this machine and is one.

    The table says where; beside that, only a plain file that begins like an MP4 is taken, and no link: a user who may
    write in the folder of videos, or in a shared table, does not get to choose what a page shows.
    """
    stated = row["video_path"]
    if not stated or scheme_of(stated) is not None or "\x00" in stated or not stated.lower().endswith(SUFFIX):
        return None
    path = Path(stated)
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0)), "rb") as file:
            plain = stat.S_ISREG(os.fstat(file.fileno()).st_mode) and not path.is_symlink()
            return path if plain and file.read(_BRAND.stop)[_BRAND] == _MP4 else None
    except OSError:
        return None
