"""Which videos still lie where the results table says that they lie."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from reelbatch.ledger.settlements import Finished
from reelbatch.storage import files
from reelbatch.storage.files import CloudProblem, redact_url, scheme_of


class Presence:
    """Looks for files. A folder behind a URL is listed once; where that fails, its files count as there.

    Args:
        downloads: the folder that is downloaded to, whose URL may carry what its paths in the table do not.
    """

    def __init__(self, downloads: str | None) -> None:
        self._root = (downloads or "").rstrip("/")
        self._names: dict[str, set[str] | None] = {}  # by folder; None: nobody can tell

    def missing(self, rows: Iterable[Finished]) -> list[Finished]:
        """Those whose video was never downloaded, or has gone since. Blocks."""
        return [row for row in rows if row.path is None or not self._is_there(row.path)]

    def _is_there(self, path: str) -> bool:
        if scheme_of(path) is None:
            return _is_file(path)
        folder, _, name = path.rpartition("/")
        if folder == redact_url(self._root):
            folder = self._root
        if folder not in self._names:
            self._names[folder] = _listed(folder)
        names = self._names[folder]
        return names is None or name in names or _is_object(f"{folder}/{name}")


def _is_file(path: str) -> bool:
    try:
        Path(path).stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    except OSError:  # nobody can tell
        return True
    return True


def _listed(folder: str) -> set[str] | None:
    try:
        return files.names(folder)
    except CloudProblem:
        return None


def _is_object(address: str) -> bool:
    """Asked about a file that the list did not have: another settle may have put it there since."""
    try:
        return files.size(address) is not None
    except CloudProblem:
        return True
