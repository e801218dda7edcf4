"""URLs of results tables: read, shown without passwords, and which file they mean."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote, unquote

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from reelbatch.errors import LedgerUnusable


def parse_url(url: str) -> URL:
    """The SQLAlchemy URL of a results table.

    Raises:
        LedgerUnusable: it is no URL, or names a database that is not supported.
    """
    try:
        parsed = _as_written(url)
    except (ArgumentError, ValueError) as error:  # ValueError: the port is no number
        remedy = "is no database URL. Use for example sqlite:///results/reelbatch.db (three slashes, then the path)."
        raise LedgerUnusable(f'--results "{_without_password(url)}" {remedy}') from error
    if parsed.drivername in {"postgres", "postgresql"}:  # as hosting providers write it
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in {"sqlite", "sqlite+pysqlite", "postgresql+psycopg"}:
        raise LedgerUnusable(
            f"--results {shown(parsed)}: the results table can be kept in SQLite (sqlite:///results/reelbatch.db) "
            "or Postgres (postgresql+psycopg://user@host/database)"
        )
    return parsed


def _as_written(url: URL | str) -> URL:
    """The URL with a SQLite path as it is written: SQLAlchemy 2.1 would decode it, and open another table."""
    parsed = make_url(url)
    if isinstance(url, URL) or parsed.get_backend_name() != "sqlite" or not parsed.database:
        return parsed
    return parsed.set(database=url.partition(":///")[2].partition("?")[0])


def _without_password(text: str) -> str:
    """Something that only looks like a URL: what stands before an @, or in a query, may be a password."""
    return text.partition("?")[0].rpartition("@")[2]


def shown(url: URL | str) -> str:
    """The URL as it may be printed: without the passwords in it."""
    parsed = _as_written(url)
    return written(parsed.difference_update_query(_secret_fields(parsed)))


def written(url: URL, *, hide_password: bool = True) -> str:
    """The URL as text that `parse_url` reads back: a SQLite path is not encoded."""
    text = url.render_as_string(hide_password=hide_password)
    if url.get_backend_name() != "sqlite" or not url.database:
        return text
    start, _, rest = text.partition(":///")
    return f"{start}:///{url.database}{''.join(rest.partition('?')[1:])}"


def has_secret(url: str) -> bool:
    """Whether a results table's URL holds a password."""
    parsed = parse_url(url)
    return bool(parsed.password or _secret_fields(parsed))


def _secret_fields(url: URL) -> list[str]:
    return [name for name in url.query if "pass" in name]


def sqlite_path(url: URL) -> Path | None:
    """The file behind a SQLite URL (a plain path or SQLite's own `file:` form); None for anything else."""
    if url.get_backend_name() != "sqlite" or not url.database or ":memory:" in url.database:
        return None
    return Path(unquote(url.database.removeprefix("file:"))) if "uri" in url.query else Path(url.database)


def unchanging(url: URL) -> URL | None:
    """The URL of a SQLite file that no one is at work on, for a reader who can't make files beside it; else None."""
    path = sqlite_path(url)
    if path is None or not path.exists() or "uri" in url.query:
        return None
    log = path.with_name(f"{path.name}-wal")
    if log.exists() and log.stat().st_size:
        return None  # what it holds would be missed
    stated = {"mode": "ro", "immutable": "1", "uri": "true"}
    return url.set(database=f"file:{quote(str(path))}").update_query_dict(stated)
