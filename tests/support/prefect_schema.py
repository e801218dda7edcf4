"""The statements of `reelbatch/orchestration/prefect-*.sql`, taken from a database that Prefect's migrations made.

python tests/support/prefect_schema.py    # after another version of Prefect is pinned: writes the file anew
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

_MIGRATE = """
import asyncio
from prefect.server.database import provide_database_interface
asyncio.run(provide_database_interface().create_db())
"""
_OBJECTS = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY type = 'index', rowid"


def migrate(home: Path) -> Path:
    """The database that Prefect makes in a new folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    quiet = {"PREFECT_HOME": str(home), "PREFECT_LOGGING_LEVEL": "CRITICAL", "DO_NOT_TRACK": "1"}
    subprocess.run([sys.executable, "-c", _MIGRATE], env={**kept, **quiet}, check=True)
    return home / "prefect.db"


def statements(database: Path) -> str:
    """What makes an empty database the same as this one, which holds no more than its version."""
    with closing(sqlite3.connect(database)) as connection:
        objects = [f"{sql};" for (sql,) in connection.execute(_OBJECTS)]
        ((version,),) = connection.execute("SELECT version_num FROM alembic_version")
    lines = "\n".join([*objects, f"INSERT INTO alembic_version VALUES ('{version}');"]).splitlines()  # noqa: S608 - Prefect's
    return "".join(f"{line.rstrip()}\n" for line in lines)


if __name__ == "__main__":
    from reelbatch.orchestration import fresh_database

    folder = Path(fresh_database.__file__).parent
    with tempfile.TemporaryDirectory() as home:
        text = statements(migrate(Path(home)))
    (folder / f"prefect-{fresh_database.MADE_BY}.sql").write_text(fresh_database.shortened(text), encoding="utf-8")
