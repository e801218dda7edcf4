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
    # Without a lock first, which leaves nothing beside the file; who writes it meanwhile may be seen half-way.
    if not (_names(path, "immutable=1") and (found := _names(path, "mode=ro"))):
        return
    raise LedgerUnusable(f"{path}: has a table `{min(found)}` that is not Reelbatch's; choose another with --results")


def _names(path: Path, how: str) -> set[str]:
    """Its tables; none where it is ours, empty, or can't be read."""
    try:
        if not path.is_file():
            return set()
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True, timeout=5)) as connection:
            found = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except (sqlite3.Error, OSError, ValueError):
        return set()
    return set() if schema_version.name in found else found
