"""A look at a results table that changes nothing of it: no file is made, and none is migrated."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import func, inspect, select
from sqlalchemy.exc import SQLAlchemyError

from reelbatch.errors import LedgerUnusable
from reelbatch.ledger.engine import open_engine
from reelbatch.ledger.schema import generations, schema_version
from reelbatch.ledger.urls import file_to_open, parse_url, refuse_memory, shown
from reelbatch.storage.private_files import try_folder


@dataclass(frozen=True, slots=True, kw_only=True)
class TableFacts:
    """What stands behind a URL. `version` None: there is no results table yet."""

    where: str
    path: Path | None  # None: no file
    version: int | None
    may_write: bool


def look_at(url: str) -> TableFacts:
    """What there is.

    Raises:
        LedgerUnusable: it can't be reached or read, or is no results table.
    """
    parsed = parse_url(url)
    refuse_memory(parsed)
    path = file_to_open(parsed)
    if path is None:
        return _look_at_server(url)
    if path.exists():
        version, may_write = _version_in(path), all(os.access(place, os.W_OK) for place in (path, path.parent))
    else:
        version, may_write = None, cannot_be_made(path) is None
    return TableFacts(where=str(path.absolute()), path=path, version=version, may_write=may_write)


def cannot_be_made(path: Path) -> str | None:
    """Why a run could not make this file; None: it could. Nothing is left of the try."""
    try:
        try_folder(nearest(path.parent))
    except OSError as error:
        return error.strerror or str(error)
    return None


def nearest(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    folder = folder.absolute()
    return next((place for place in (folder, *folder.parents) if place.exists()), folder)


def _version_in(path: Path) -> int | None:
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5)) as connection:
            names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
            if not names:
                return None  # an empty file becomes a table
            if schema_version.name not in names:
                raise LedgerUnusable(f"{path}: is a database of something else")
            found = connection.execute("SELECT version FROM reelbatch_schema").fetchone()
            return None if found is None else int(found[0])
    except sqlite3.Error as error:
        raise LedgerUnusable(f"{path}: can't be read: {error}") from error


def _look_at_server(url: str) -> TableFacts:
    engine = open_engine(parse_url(url))
    where = shown(engine.url)
    try:
        with engine.connect() as connection:
            if not inspect(connection).has_table(schema_version.name):
                creates = select(func.has_schema_privilege(func.current_schema(), "CREATE"))
                return TableFacts(where=where, path=None, version=None, may_write=bool(connection.scalar(creates)))
            version = connection.scalar(select(schema_version.c.version))
            writes = select(func.has_table_privilege(generations.name, "UPDATE"))
            return TableFacts(where=where, path=None, version=version, may_write=bool(connection.scalar(writes)))
    except SQLAlchemyError as error:
        said = str(getattr(error, "orig", None) or error).strip().splitlines()
        raise LedgerUnusable(f"{where}: {said[0] if said else type(error).__name__}") from error
    finally:
        engine.dispose()
