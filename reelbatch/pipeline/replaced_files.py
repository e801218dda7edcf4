"""Files that an export may take the place of: earlier exports, and nothing else that someone may want to keep."""

from __future__ import annotations

import codecs
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from reelbatch.errors import UsageError
from reelbatch.home_folder import at_home
from reelbatch.storage.files import scheme_of

_START = 4096
"""Bytes that tell a kind."""
_MARKS = {".parquet": b"PAR1", ".xlsx": b"PK"}
_SQLITE = b"SQLite format 3\0"
_SETTINGS = frozenset({".yaml", ".yml"})


def refuse_to_replace(stated: str, path: Path, manifests: Callable[[], Mapping[str, str]] = dict) -> None:
    """Before `path` is replaced by an export of the kind that its ending says; any other ending is text.

    `stated`: how the messages name it; `manifests`: those of the table's batches, by batch.

    Raises:
        UsageError: it is a manifest, a table, settings, or of a kind that no export has.
    """
    try:
        if not path.is_file():
            return
        found = _found(path, manifests())
    except OSError:  # the one who writes it says what is wrong
        return
    if found is not None:
        raise UsageError(
            f"{stated}: is {found}, which would be replaced. Choose another name, or move that file away first."
        )


def _found(path: Path, manifests: Mapping[str, str]) -> str | None:
    """What stands there; None for what an earlier export may be."""
    for batch, name in manifests.items():
        manifest = at_home(name)
        if scheme_of(name) is None and os.path.isfile(manifest) and path.samefile(manifest):  # noqa: PTH113 - Path's raises where a name is too long
            return f'the manifest of batch "{batch}"'
    with path.open("rb") as file:
        start = file.read(_START)
    suffix = path.suffix.lower()
    if start.startswith(_SQLITE):
        return "a SQLite database"
    if suffix in _SETTINGS:
        return "a file of settings"
    mark = _MARKS.get(suffix)
    is_export = _is_text(start) if mark is None else start.startswith(mark)
    return None if is_export or not start else "a file of another kind"


def _is_text(start: bytes) -> bool:
    try:
        return "\0" not in codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        return False
