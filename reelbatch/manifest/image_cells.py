"""Cells that name images as shops write them: several addresses in one cell, paths below the shop's own folder."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from reelbatch.images.inspect import API_PATHS

IMAGE_COLUMNS = ("image_path", "end_image_path")

_WHOLE = re.compile(
    rf"[a-z][a-z0-9+.-]+:(?://|:)|(?:https?|file|data):|//|\\\\|www\.|[a-z]:[\\/]|<|{'|'.join(API_PATHS)}",
    re.IGNORECASE,
)
"""How a cell begins that needs no prefix: with a scheme, a host, a drive, a tag or one of the API's paths."""
ENDING = r"\.(?:jpe?g|jfif|png|webp|hei[cf]|avif|jp2|tiff?|bmp|gif|svg)"
_FILE = re.compile(rf"[^?#]*{ENDING}\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ImageCells:
    """How images are named.

    Attributes:
        prefix: stands before paths.
        separators: what stands between several addresses in a cell, by our column.
    """

    prefix: str | None = None
    separators: Mapping[str, str] = field(default_factory=dict)

    def addresses(self, column: str, cells: Sequence[str]) -> Sequence[str]:
        """The images of our `column`: of several in a cell the first, with the prefix where it is a path."""
        if separator := self.separators.get(column):
            cells = [_first(cell, separator) if separator in cell else cell for cell in cells]
        if self.prefix:
            cells = [cell if not cell or _WHOLE.match(cell) else _joined(self.prefix, cell) for cell in cells]
        return cells


def _first(cell: str, separator: str) -> str:
    """What stands before the first `separator` behind which another address begins.

    That is one with a scheme or a host; between files, a path or a name with an image's ending. A comma that is a
    part of an address stays one.
    """
    parts = cell.split(separator)
    filled = [place for place, part in enumerate(parts) if part.strip()]
    parts = parts[filled[0] : filled[-1] + 1] if filled else []
    for place in range(1, len(parts)):
        before, after = separator.join(parts[:place]).strip(), parts[place].strip()
        if _WHOLE.match(after) or (not _WHOLE.match(before) and _is_file(before) and _is_path(after)):
            return before
    return separator.join(parts).strip()


def _is_file(text: str) -> bool:
    return _FILE.fullmatch(text) is not None


def _is_path(text: str) -> bool:
    return text.startswith("/") or _is_file(text)


def _joined(prefix: str, path: str) -> str:
    """The path as a part of an address has no blanks; whatever else it has is for the shop to know."""
    joined = f"{prefix.rstrip('/')}/{path.lstrip('/')}"
    return joined.replace(" ", "%20") if "://" in prefix else joined
