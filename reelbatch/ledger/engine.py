"""Opening the results table: the engine, its pragmas, and database errors as ours."""

from __future__ import annotations

import re
import sqlite3
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, func, select
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from reelbatch import extras
from reelbatch.errors import LedgerError, LedgerUnusable
from reelbatch.failpoints import point
from reelbatch.ledger.sqlite_file import refuse_foreign
from reelbatch.ledger.urls import file_to_open, shown
from reelbatch.machine import utc_now
from reelbatch.storage import private_files

if TYPE_CHECKING:
    import psycopg

BUSY_TIMEOUT_S = 30.0
"""How long a write waits for other programs; `?timeout=SECONDS` in a SQLite URL says otherwise."""
LEASE_S = 60.0
"""After so long without a sign of life a worker counts as dead, where nothing else is stated."""
_AGAIN_S = 0.02
_WRITES = "reelbatch_writes"


def open_engine(url: URL, lease_s: float = LEASE_S) -> Engine:
    """An engine for `url`; its folder is made where it does not exist. What a worker waits for scales with its lease.

    Raises:
        LedgerUnusable: the driver is missing or the folder can't be made.
    """
    try:
        if path := file_to_open(url):
            refuse_foreign(path)
            path.parent.mkdir(parents=True, exist_ok=True)
            if url.query.get("mode", "rwc") == "rwc":
                private_files.make(path)  # what SQLite keeps beside it gets the file's mode
        if url.get_backend_name() == "sqlite":
            return _sqlite_engine(url)
        return _postgres_engine(url, lease_s)
    except (NoSuchModuleError, ModuleNotFoundError) as error:
        what = f"{shown(url)}: the database driver is not installed ({error})"
        raise LedgerUnusable(f"{what}. {extras.remedy('postgres')}") from error
    except ArgumentError as error:
        raise LedgerUnusable(f"{shown(url)}: {error}") from error
    except OSError as error:
        raise LedgerUnusable(f"{shown(url)}: the folder can't be made: {error.strerror}") from error


_SESSION = (
    "SET statement_timeout = 0",  # a role's own limits are meant for its queries, not for this
    "SET lock_timeout = 0",
    # What a COMMIT has confirmed must be on disk: a request leaves on the strength of it.
    "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'",
)


def _keepalives(lease_s: float) -> dict[str, int]:
    """A connection that the network dropped without a word is noticed within half a lease, half a minute at most.

    Whole seconds, as the system counts them: with a lease of some seconds it takes longer.
    """
    idle_s, interval_s = min(10, round(lease_s / 6)), min(5, round(lease_s / 12))
    return {"keepalives_idle": max(1, idle_s), "keepalives_interval": max(1, interval_s), "keepalives_count": 4}


def _of_session(lease_s: float) -> str:
    """The same from the server's side: what a vanished worker had locked is let go."""
    known = [f"SET tcp_{name} = {value}" for name, value in _keepalives(lease_s).items()]
    # A worker that was stopped must not stop all the others: they have to give signs of life meanwhile.
    stopped_ms = round(1000 * min(10.0, lease_s / 3))
    return "; ".join([*known, f"SET idle_in_transaction_session_timeout = {stopped_ms}", *_SESSION])


def _postgres_engine(url: URL, lease_s: float) -> Engine:
    defaults: dict[str, Any] = {
        "application_name": "reelbatch",
        "connect_timeout": max(2, min(10, round(lease_s / 6))),
    }
    defaults |= {**_keepalives(lease_s), "tcp_user_timeout": round(1000 * min(30.0, lease_s / 2))}
    stated = {name: value for name, value in defaults.items() if name not in url.query}
    options: dict[str, Any] = {"pool_pre_ping": True, "hide_parameters": True, "isolation_level": "READ COMMITTED"}
    engine = create_engine(url, connect_args=stated, **options)
    set_up = _of_session(lease_s)

    @event.listens_for(engine, "connect")
    def _on_connect(connection: Any, _: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute(set_up)
        connection.commit()

    return engine


def is_postgres(engine: Engine) -> bool:
    """Whether other machines may use the same table."""
    return engine.dialect.name == "postgresql"


def _sqlite_engine(url: URL) -> Engine:
    busy_timeout_s = float(str(url.query.get("timeout", BUSY_TIMEOUT_S)))
    options = {"timeout": busy_timeout_s, "check_same_thread": False}
    engine = create_engine(url, connect_args=options, hide_parameters=True)

    @event.listens_for(engine, "connect")
    def _on_connect(connection: Any, _: Any) -> None:
        point("table.open")
        connection.isolation_level = None  # transactions begin where we say, not where the driver guesses
        _into_wal(connection, busy_timeout_s)
        connection.execute("PRAGMA synchronous=FULL")

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        # A transaction that will write takes the write lock at once: a later upgrade could not wait for it.
        writes = connection.get_execution_options().get(_WRITES, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _into_wal(connection: sqlite3.Connection, timeout_s: float) -> None:
    """SQLite waits for whatever has the file, but not with this change: two that meet a new file may get in its way.

    Raises:
        sqlite3.OperationalError: the file stayed locked for `timeout_s`, or can't be written.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(_AGAIN_S)
        else:
            return


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A connection in a transaction that writes; committed at the end, rolled back on an error."""
    with (
        mapped_errors(engine.url),
        engine.connect().execution_options(**{_WRITES: True}) as connection,
        connection.begin(),
    ):
        yield connection
        point("table.commit")
    point("table.committed")


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A connection for queries that all see the table as it was with the first of them."""
    options = {"isolation_level": "REPEATABLE READ"} if is_postgres(engine) else {}
    with mapped_errors(engine.url), engine.connect().execution_options(**options) as connection:
        yield connection


@contextmanager
def session(engine: Engine) -> Iterator[Connection]:
    """A connection for temporary tables, which live as long as it does; its transactions are the caller's."""
    with mapped_errors(engine.url), engine.connect() as connection:
        yield connection


def now(connection: Connection) -> datetime:
    """The time by the clock that all workers of the table go by: the database's own."""
    if connection.dialect.name == "sqlite":
        return utc_now()
    time: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
    return time.astimezone(UTC)


@contextmanager
def mapped_errors(url: URL) -> Iterator[None]:
    """Database errors leave as LedgerError, with what to do.

    Raises:
        LedgerError: in place of any error of the database or its driver.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, SQLAlchemyError) or _of_postgres(error) is not None:
            raise LedgerError(f"{shown(url)}: {_explain(error)}") from error
        raise


_REMEDIES = {
    "database or disk is full": "the disk is full; make room and run the same command again",
    "disk i/o error": "the disk can't be read or written (full?); fix it and run the same command again",
    "readonly database": "it is read-only; make file and folder writable or choose another --results",
    "database is locked": "another program has kept it locked for too long; end that program",
    "file is not a database": "this is no SQLite file; choose another path with --results",
    "unable to open database file": "the file can't be opened; check the path and the folder's permissions",
    "malformed": "the file is damaged; restore it from a backup, or recover it with `sqlite3 FILE .recover`",
}


_POSTGRES_REMEDIES = {
    "password authentication failed": "user or password is wrong; check the URL, PGPASSWORD or ~/.pgpass",
    "no password supplied": "it asks for a password; state it in the URL, PGPASSWORD or ~/.pgpass",
    "no pg_hba.conf entry": "it does not let this user in from this machine; see its pg_hba.conf",
    "could not translate host name": "there is no host of this name; check the URL",
    "failed to resolve host": "there is no host of this name; check the URL",
    "connection refused": "nothing answers there; check host and port, and whether the database runs",
    "connections on that socket": "nothing answers there; check the socket's folder, and whether the database runs",
    "timeout expired": "it does not answer; check host, port and firewall",
    "does not support ssl": "it speaks no TLS, which the URL's sslmode asks for",
    "certificate verify failed": "its certificate can't be verified; check sslrootcert in the URL",
    "root certificate file": "there is no root certificate to verify it with; state sslrootcert in the URL",
    "no schema has been selected": "this user may use no schema there; it needs USAGE and CREATE in one",
    "permission denied": "this user lacks a right there; it needs CREATE in the schema, or tables that it owns",
    "read-only transaction": "it is a read-only replica; use the primary",
    "starting up": "it is just starting; run the same command again in a moment",
    "shutting down": "it is shutting down; run the same command again when it is back",
    "too many connections": "this user or database may have no more of them; raise the limit, or run fewer workers",
    "too many clients": "it has no connection left; raise its max_connections, or run fewer workers",
    "remaining connection slots": "it has no connection left; raise its max_connections, or run fewer workers",
    "could not extend file": "the database's disk is full; make room and run the same command again",
    "no space left": "the database's disk is full; make room and run the same command again",
}
_MISSTATED = re.compile(r"(invalid [\w ]*(value|number)\b|definition of service|could not parse network address).*")
_SERVER_GONE = "the connection to the database was lost and did not come back; run the same command again"


def _of_postgres(error: BaseException | None) -> psycopg.Error | None:
    """The driver's own error in `error`."""
    driver = sys.modules.get("psycopg")  # not imported for SQLite: that takes a while
    orig = error.orig if isinstance(error, DBAPIError) else error
    return orig if driver is not None and isinstance(orig, driver.Error) else None


def is_lost(error: BaseException | None) -> bool:
    """Whether the connection is gone, or no new one can be had for now."""
    orig = _of_postgres(error)
    if orig is None:
        return False
    state = orig.sqlstate or ""
    no_session = isinstance(orig, sys.modules["psycopg"].OperationalError) and not state
    invalidated = isinstance(error, DBAPIError) and error.connection_invalidated
    return invalidated or no_session or state.startswith(("08", "57P", "53300", "25P03", "25P04"))


_RESTARTING = ("starting up", "shutting down", "terminating connection", "closed the connection")
_AWAY = (
    *_RESTARTING,
    "connection refused",
    "connections on that socket",  # are not accepted: it is not there
    "timeout expired",
    "too many c",
    "remaining connection slots",
    "connection reset",
)


def is_away(error: BaseException | None) -> bool:
    """Whether a database can't be reached for now, as far as an error of ours or its own tells."""
    return _says(error, _AWAY)


def is_restarting(error: BaseException | None) -> bool:
    """Whether a database says that it is on its way down or up: there is one, and it will be back."""
    return _says(error, _RESTARTING)


def _says(error: BaseException | None, signs: Iterable[str]) -> bool:
    while error is not None and not isinstance(error, DBAPIError):
        error = error.__cause__
    return error is not None and _of_postgres(error) is not None and any(sign in str(error).lower() for sign in signs)


def is_unwritable(error: BaseException | None) -> bool:
    """Whether a table may not be written, as far as an error of ours or of the database tells."""
    while error is not None and not isinstance(error, DBAPIError):
        error = error.__cause__
    if error is None:
        return False
    if isinstance(error.orig, sqlite3.Error):
        # On a file system that is read-only, SQLite can't open what it would write beside the file.
        return error.orig.sqlite_errorcode & 0xFF in {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN}
    orig = _of_postgres(error)
    return orig is not None and orig.sqlstate in {"42501", "25006"}  # lacks a right, read-only


def is_collision(error: BaseException | None) -> bool:
    """Whether two transactions stood in each other's way, so that the same again is enough."""
    orig = _of_postgres(error)
    return orig is not None and orig.sqlstate in {"40P01", "40001"}  # deadlock, serialization failure


def _explain(error: Exception) -> str:
    message = str(error.orig) if isinstance(error, DBAPIError) else str(error)
    if _of_postgres(error) is not None:
        if database := re.search(r'database "[^"]*" does not exist', message):
            return f"{database[0]}; make it with createdb, or choose another"
        if misstated := _MISSTATED.search(message):
            return f"{misstated[0]}; correct the URL"
        found = (remedy for sign, remedy in _POSTGRES_REMEDIES.items() if sign in message.lower())
        return next(found, _SERVER_GONE if is_lost(error) else message.strip().splitlines()[0])
    for sign, remedy in _REMEDIES.items():
        if sign in message.lower():
            return remedy
    return message.strip().splitlines()[0] if message.strip() else type(error).__name__
