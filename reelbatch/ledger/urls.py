"""URLs of results tables: read, shown without passwords, and which file they mean."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, unquote

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from reelbatch.errors import LedgerUnusable

_OF_FILE = ("mode", "cache", "immutable", "nolock", "psow", "vfs")
"""What SQLite's own form of a path may say besides."""
_LONGEST_WAIT_S = 86_400.0


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
    check = _wrong_in_sqlite if parsed.get_backend_name() == "sqlite" else _wrong_in_postgres
    if wrong := next(check(parsed), None):
        raise LedgerUnusable(f"--results {shown(parsed.set(host=_without_password(parsed.host or '')))}: {wrong}")
    return parsed


def _wrong_in_sqlite(url: URL) -> Iterator[str]:
    """What would end in an error of SQLAlchemy, be left out by it, or make it open another file than is meant."""
    if url.host is not None:
        yield "a SQLite file has no host; write three slashes, then the path"
    if "\0" in (url.database or ""):
        yield "the path has a NUL in it, which no file's name can have"
    of_file = _OF_FILE if url.query.get("uri") == "true" and (url.database or "").startswith("file:") else ()
    if unknown := [name for name in url.query if name not in {"timeout", "uri", *of_file}]:
        yield (
            f'"{unknown[0]}" can\'t be stated here; possible are timeout=SECONDS, '
            f"and in the form sqlite:///file:PATH?uri=true also {', '.join(_OF_FILE)}"
        )
    if url.query.get("uri", "true") != "true":
        yield "uri can only be true; leave it out where the path is a plain one"
    if not _is_wait(url.query.get("timeout", "0")):
        yield "timeout is no number of seconds; write for example ?timeout=30"


def _wrong_in_postgres(url: URL) -> Iterator[str]:
    """What the driver would end with an error of Python's, or what shows a part of a password."""
    stated = url.query.get("host", ())
    hosts = [url.host or "", *((stated,) if isinstance(stated, str) else stated)]
    for host in ",".join(hosts).split(","):
        if host.startswith(("/", "@")):  # a socket
            continue
        if "@" in host:
            yield "the host has an @ in it; in a user's name or a password write %40 for it"
        try:
            host.encode("idna")
        except UnicodeError:
            yield "there is no host of this name; check the URL"


def _is_wait(stated: str | tuple[str, ...]) -> bool:
    try:
        return 0 <= float(str(stated)) <= _LONGEST_WAIT_S
    except ValueError:
        return False


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


def refuse_memory(url: URL) -> None:
    """A table in memory ends with the command, and what was paid for would be sent again.

    Raises:
        LedgerUnusable: that is what the URL means.
    """
    if url.get_backend_name() == "sqlite" and (sqlite_path(url) is None or url.query.get("mode") == "memory"):
        remedy = "Name a file: sqlite:///results/reelbatch.db (three slashes, then the path)."
        raise LedgerUnusable(
            f"--results {shown(url)}: names no file, and a table in memory keeps no paid id. {remedy}"
        )


def file_to_open(url: URL) -> Path | None:
    """The same file, there or not.

    Raises:
        LedgerUnusable: a folder has its name.
    """
    path = sqlite_path(url)
    if path is not None and path.is_dir():
        raise LedgerUnusable(f"{shown(url)}: is a folder; name a file in it, such as {path / 'reelbatch.db'}")
    return path


def unchanging(url: URL) -> URL | None:
    """The URL of a SQLite file that no one is at work on, for a reader who can't make files beside it; else None."""
    path = sqlite_path(url)
    if path is None or not path.is_file() or "uri" in url.query:
        return None
    log = path.with_name(f"{path.name}-wal")
    if log.exists() and log.stat().st_size:
        return None  # what it holds would be missed
    stated = {"mode": "ro", "immutable": "1", "uri": "true"}
    return url.set(database=f"file:{quote(str(path))}").update_query_dict(stated)
