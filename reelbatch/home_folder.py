"""`~` in the paths that users give: a shell leaves it in `--csv=~/x.csv`, in files and in cells."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


def at_home(path: str, beside: str | Path = "") -> str:
    """`path`, whose `~` or `~user` at its beginning is that user's home folder.

    What lies in the folder `beside` under that very name comes first. What names no user stays as it is, and so does
    any address.
    """
    if not path.startswith("~") or os.path.lexists(os.path.join(beside, path)):  # noqa: PTH118 - cells, by the million
        return path
    try:
        return os.path.expanduser(path)  # noqa: PTH111 - pathlib's raises where there is no such user
    except ValueError:  # a NUL in it
        return path


def if_text_at_home(stated: Any) -> Any:
    """The same of a setting, which may be something else than a path."""
    return at_home(str(stated)) if isinstance(stated, str | Path) else stated
