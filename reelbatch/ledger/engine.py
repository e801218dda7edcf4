"""Opening the results table: the engine, its pragmas, and database errors as ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from reelbatch.errors import LedgerError, LedgerUnusable

BUSY_TIMEOUT_S = 30.0
"""How long a write waits for other programs; `?timeout=SECONDS` in a SQLite URL says otherwise."""
_WRITES = "reelbatch_writes"


def parse_url(url: str) -> URL:
    """The SQLAlchemy URL of a results table.

    Raises:
        LedgerUnusable: it is no URL, or names a database that is not supported.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:  # ValueError: the port is no number
        remedy = "Use for example sqlite:///results/reelbatch.db (three slashes, then the path)."
        raise LedgerUnusable(f'--results "{_without_password(url)}" is no database URL. {remedy}') from error
    if parsed.get_backend_name() not in {"sqlite", "postgresql"}:
        raise LedgerUnusable(f"--results {shown(parsed)}: the results table can be kept in SQLite or Postgres")
    return parsed


def _without_password(text: str) -> str:
    """Something that only looks like a URL: what stands before an @, or in a query, may be a password."""
    return text.partition("?")[0].rpartition("@")[2]


def shown(url: URL | str) -> str:
    """The URL as it may be printed: without the passwords in it."""
    parsed = make_url(url)
    secret = [name for name in parsed.query if "pass" in name]
    return parsed.difference_update_query(secret).render_as_string(hide_password=True)


def sqlite_path(url: URL) -> Path | None:
    """The file behind a SQLite URL (a plain path or SQLite's own `file:` form); None for anything else."""
    if url.get_backend_name() != "sqlite" or not url.database or ":memory:" in url.database:
        return None
    return Path(unquote(url.database.removeprefix("file:"))) if "uri" in url.query else Path(url.database)


def open_engine(url: URL) -> Engine:
    """An engine for `url`; its folder is made where it does not exist.

    Raises:
        LedgerUnusable: the driver is missing or the folder can't be made.
    """
    try:
        if path := sqlite_path(url):
            path.parent.mkdir(parents=True, exist_ok=True)
        if url.get_backend_name() == "sqlite":
            return _sqlite_engine(url)
        return create_engine(url, pool_pre_ping=True, hide_parameters=True)
    except (NoSuchModuleError, ModuleNotFoundError) as error:
        raise LedgerUnusable(f"{shown(url)}: the database driver is not installed ({error})") from error
    except OSError as error:
        raise LedgerUnusable(f"{shown(url)}: the folder can't be made: {error.strerror}") from error


def _sqlite_engine(url: URL) -> Engine:
    busy_timeout_s = float(str(url.query.get("timeout", BUSY_TIMEOUT_S)))
    options = {"timeout": busy_timeout_s, "check_same_thread": False}
    engine = create_engine(url, connect_args=options, hide_parameters=True)

    @event.listens_for(engine, "connect")
    def _on_connect(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # transactions begin where we say, not where the driver guesses
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        # A transaction that will write takes the write lock at once: a later upgrade could not wait for it.
        writes = connection.get_execution_options().get(_WRITES, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A connection in a transaction that writes; committed at the end, rolled back on an error."""
    with (
        mapped_errors(engine.url),
        engine.connect().execution_options(**{_WRITES: True}) as connection,
        connection.begin(),
    ):
        yield connection


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A connection for queries, and for the temporary tables of this session."""
    with mapped_errors(engine.url), engine.connect() as connection:
        yield connection


@contextmanager
def mapped_errors(url: URL) -> Iterator[None]:
    """Database errors leave as LedgerError, with what to do.

    Raises:
        LedgerError: in place of any error of the database or its driver.
    """
    try:
        yield
    except SQLAlchemyError as error:
        raise LedgerError(f"{shown(url)}: {_explain(error)}") from error


_REMEDIES = {
    "database or disk is full": "the disk is full; make room and run the same command again",
    "disk i/o error": "the disk can't be read or written (full?); mend it and run the same command again",
    "readonly database": "it is read-only; make file and folder writable or choose another --results",
    "database is locked": "another program has kept it locked for too long; end that program",
    "file is not a database": "this is no SQLite file; choose another path with --results",
    "unable to open database file": "the file can't be opened; check the path and the folder's permissions",
    "malformed": "the file is damaged; restore it from a backup, or recover it with `sqlite3 FILE .recover`",
}


def _explain(error: SQLAlchemyError) -> str:
    message = str(error.orig) if isinstance(error, DBAPIError) else str(error)
    for sign, remedy in _REMEDIES.items():
        if sign in message.lower():
            return remedy
    return message.strip().splitlines()[0] if message.strip() else type(error).__name__
