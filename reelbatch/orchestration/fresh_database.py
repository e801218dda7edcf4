"""Prefect's database on its first day: made from the statements that all of Prefect's migrations come to.

Prefect makes a new database by the migrations of all its versions, one after the other, which takes longer than all
else of the first run. The statements are those of one version; any other makes its database by itself.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from importlib.resources import files
from pathlib import Path

MADE_BY = "3.9.1"
"""The version of Prefect that the statements are of; a test compares them with what its migrations make."""
_STATEMENTS = f"prefect-{MADE_BY}.sql"
_NEW_ID = """\
        lower(hex(randomblob(4)))
        || '-'
        || lower(hex(randomblob(2)))
        || '-4'
        || substr(lower(hex(randomblob(2))),2)
        || '-'
        || substr('89ab',abs(random()) % 4 + 1, 1)
        || substr(lower(hex(randomblob(2))),2)
        || '-'
        || lower(hex(randomblob(6)))
"""
"""By which most tables number their rows: a UUID of version 4. In the file it is `_PLACE`."""
_PLACE = "        :new_id\n"


def make_database() -> None:
    """Make the database that Prefect's settings name, where it is the usual file and there is none yet."""
    import prefect
    from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL, PREFECT_HOME

    path = Path(PREFECT_HOME.value()) / "prefect.db"
    is_usual = PREFECT_API_DATABASE_CONNECTION_URL.value() == f"sqlite+aiosqlite:///{path}"
    if is_usual and prefect.__version__ == MADE_BY and not path.exists():
        make(path)


def shortened(statements: str) -> str:
    """As the file has them."""
    return statements.replace(_NEW_ID, _PLACE)


def make(path: Path) -> None:
    """Make it at `path`, whole or not at all; where it is there by then, or can't be made, Prefect goes on."""
    written = files("reelbatch.orchestration").joinpath(_STATEMENTS).read_text(encoding="utf-8")
    statements = written.replace(_PLACE, _NEW_ID)
    new = path.with_name(f".{path.name}-{os.getpid()}")
    with suppress(OSError, sqlite3.Error):
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(new)) as connection:
            connection.executescript(f"BEGIN;\n{statements}\nCOMMIT;")
        os.link(new, path)  # and no rename, which would replace a database that another process has just made
    with suppress(OSError):
        new.unlink(missing_ok=True)
