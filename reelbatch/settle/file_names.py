"""File names from row keys: safe on every file system, readable where the key allows it.

A key that is plain (ASCII letters, digits, ` ._-`) is its own name. Any other is cleaned and gets a mark: `-` and
eight hex digits of a SHA-256 over batch and key; so is that of a video that was made anew, with its generation. No
plain name looks marked, so the two kinds never meet.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata

from reelbatch.domain import Batch, RowKey

SUFFIX = ".mp4"
NAME_BYTES = 120
"""Longest name, in bytes of UTF-8."""
_MARK = 8
_LONG_MARK = 16  # of a key that was cut: a million keys may begin alike, and eight digits would meet by chance

_PLAIN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9 ._-]*[A-Za-z0-9_])?")
_MARKED = re.compile(rf".*-(?=[0-9]*[a-f])[0-9a-f]{{{_MARK}}}(?:[0-9a-f]{{{_LONG_MARK - _MARK}}})?", re.IGNORECASE)
# Names that Windows keeps for devices.
_RESERVED = re.compile(r"(?:con|prn|aux|nul|conin|conout|clock|com[\d¹²³]|lpt[\d¹²³])(?:\..*)?", re.IGNORECASE)
_UNSAFE = re.compile(r"[^\w.-]+")
_EDGES = "._- "


def plain_name(row_key: RowKey) -> str | None:
    """The key as a file name; None where it can't be one as it stands."""
    name = row_key + SUFFIX
    plain = _PLAIN.fullmatch(row_key) and not _RESERVED.fullmatch(row_key) and not _MARKED.fullmatch(row_key)
    return name if plain and len(name) <= NAME_BYTES else None


def marked_name(batch: Batch, row_key: RowKey, generation: int = 1, video_id: str | None = None) -> str:
    """A name that no other row of a table has, whatever its key; `TEA-001.v2-…` for a video that was made anew.

    With `video_id`, one that no other video has in any table.
    """
    stem = _UNSAFE.sub("_", unicodedata.normalize("NFC", row_key)).strip(_EDGES) or "video"
    if _RESERVED.fullmatch(stem):
        stem = f"_{stem}"
    mark, version = _mark(batch, row_key), ""
    if generation > 1:
        mark, version = _mark(mark, str(generation)), f".v{generation}"
    if video_id is not None:
        mark = _mark(mark, video_id)
    whole = f"{stem}{version}-{mark[:_MARK]}{SUFFIX}"
    if len(whole.encode()) <= NAME_BYTES:
        return whole
    room = NAME_BYTES - len(SUFFIX) - 1 - _LONG_MARK - len(version)
    return f"{_cut(stem, room)}{version}-{mark[:_LONG_MARK]}{SUFFIX}"


def part_name(batch: Batch, row_key: RowKey, video_id: str) -> str:
    """Where a video lies until it is whole; the same name in every run, so the next one goes on with it."""
    return f".{_mark(batch, row_key)[:_LONG_MARK]}-{_mark(video_id)[:_LONG_MARK]}.part"


def _mark(*words: str) -> str:
    return hashlib.sha256("\n".join(words).encode("utf-8", "surrogatepass")).hexdigest()


def _cut(text: str, room: int) -> str:
    return text.encode()[:room].decode("utf-8", "ignore").rstrip(_EDGES)
