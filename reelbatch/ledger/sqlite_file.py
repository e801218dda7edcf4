"""Which tables a SQLite file has, seen without changing anything of it: opening it as ours would already do so."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from reelbatch.errors import LedgerUnusable
from reelbatch.ledger.schema import schema_version


def refuse_foreign(path: Path) -> None:
    """Before it is opened; what is no SQLite file is left to who opens it.

    Raises:
        LedgerUnusable: it is another program's.
    """
    if (found := _tables(path)) and schema_version.name not in found:
        what = f"{path}: has a table `{min(found)}` that is not Reelbatch's"
        raise LedgerUnusable(f"{what}; choose another with --results")


def is_empty(path: Path) -> bool:
    """Whether it has no table: no bytes, or pages of what was dropped."""
    return path.is_file() and _tables(path) == set()


def _tables(path: Path) -> set[str] | None:
    """Its tables; None where it can't be read."""
    # Without a lock first, which leaves nothing beside the file; who writes it meanwhile may be seen half-way.
    found = _names(path, "immutable=1")
    return found if found is None or schema_version.name in found else _names(path, "mode=ro")


def _names(path: Path, how: str) -> set[str] | None:
    try:
        if not path.is_file():
            return None
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True, timeout=5)) as connection:
            return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except (sqlite3.Error, OSError, ValueError):
        return None
