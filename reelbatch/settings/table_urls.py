"""Where a results table in a SQLite file lies, by its URL alone: `status` needs it without SQLAlchemy."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import quote, unquote

from reelbatch.errors import SettingsError
from reelbatch.home_folder import at_home

DEFAULT_RESULTS = "sqlite:///results/reelbatch.db"
SANDBOX_FOLDER, SANDBOX_FILE = "sandbox", "reelbatch.db"
_SUFFIXES = frozenset({".db", ".sqlite", ".sqlite3"})
_OTHER = re.compile(r"://|^\w[\w+.-]+:|[?@]")  # a URL, well written or not; one letter before a colon is a drive
_SQLITE = re.compile(r"(sqlite(?:\+pysqlite)?:///)([^?]+)(\?.*)?", re.DOTALL)


def as_url(stated: str, folder: Path = Path()) -> str:
    """A path as the URL of the SQLite table in that file; whatever else was stated stays what it is, but for `~`."""
    is_path = "/" in stated or os.sep in stated or Path(stated).suffix in _SUFFIXES
    url = f"sqlite:///{stated}" if is_path and not _OTHER.search(stated) else stated
    if (parts := _parts(url)) is None:
        return url
    start, path, query = parts
    own_form = "file:" if _is_uri(query) and path.startswith("file:") else ""
    return f"{start}{own_form}{at_home(path.removeprefix(own_form), folder)}{query}"


def file_of(url: str) -> Path | None:
    """The file of a SQLite URL, plain or in SQLite's own `file:` form; None for any other table."""
    parts = _parts(url)
    if parts is None:
        return None
    _, path, query = parts
    return Path(unquote(path.removeprefix("file:"))) if _is_uri(query) else Path(path)


def anchored(url: str, folder: Path) -> str:
    """The same URL, whose relative path starts at `folder`.

    Raises:
        SettingsError: the folder's name has a character that a URL of this form can't hold.
    """
    parts, path = _parts(url), file_of(url)
    if parts is None or path is None or path.is_absolute():
        return url
    whole = os.path.normpath(folder / path)
    start, _, query = parts
    if _is_uri(query):
        return f"{start}file:{quote(whole)}{query}"
    if "?" in whole:
        raise SettingsError(f"results: {whole} has a question mark, which no URL can hold; choose another folder")
    return f"{start}{whole}{query}"


def sandbox_table(url: str, default: str = DEFAULT_RESULTS) -> str:
    """The sandbox's own table: in `sandbox/` beside the table of `url`, or beside `default` where that is no file."""
    path = file_of(url) or file_of(default)
    assert path is not None  # noqa: S101 - the default is a file
    return f"sqlite:///{path.parent / SANDBOX_FOLDER / SANDBOX_FILE}"


def sandbox_data(path: Path) -> Path:
    """Where a sandbox keeps its books, uploads and videos: beside its own table, in `sandbox/` beside any other."""
    folder = path.absolute().parent
    own = folder.name == SANDBOX_FOLDER and path.name == SANDBOX_FILE
    return folder if own else folder / SANDBOX_FOLDER


def _parts(url: str) -> tuple[str, str, str] | None:
    found = _SQLITE.fullmatch(url)
    if found is None or ":memory:" in found[2]:
        return None
    return found[1], found[2], found[3] or ""


def _is_uri(query: str) -> bool:
    return re.search(r"[?&]uri=", query) is not None
