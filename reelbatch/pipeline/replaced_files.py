"""Files that an export may take the place of: earlier exports, and nothing else that someone may want to keep."""

from __future__ import annotations

import codecs
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from reelbatch.errors import UsageError
from reelbatch.home_folder import at_home
from reelbatch.settings.table_urls import file_of
from reelbatch.storage.files import scheme_of

if TYPE_CHECKING:
    from reelbatch.settings import Settings

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


def refuse_manifest_as_export(settings: Settings, source: object, batch: str | None) -> None:
    """Before anything is sent: a manifest that lies where a run exports to by itself, beside the table.

    `batch`: None: the manifest's stem.

    Raises:
        UsageError: it does, and no other file is stated.
    """
    if settings.export or not isinstance(source, str | os.PathLike) or scheme_of(os.fspath(source)) is not None:
        return
    table = file_of(settings.results)
    manifest = at_home(os.fspath(source))
    export = (table.parent if table else Path("results")) / f"{batch or Path(manifest).stem}.parquet"
    if os.path.isfile(manifest) and os.path.isfile(export) and export.samefile(manifest):  # noqa: PTH113 - as below
        raise UsageError(
            f"{source}: is the manifest, and also where the results of this batch are written after the run, which "
            "would replace it. State another file with --export."
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
