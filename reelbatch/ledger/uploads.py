"""Which images the API already has: the same bytes are uploaded once for a results table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from reelbatch.domain import RunId
from reelbatch.ledger.schema import uploads


@dataclass(frozen=True, slots=True)
class Upload:
    """An image that the API has."""

    api: str
    sha256: str
    file_path: str
    bytes: int
    uploaded_at: datetime
    run_id: RunId


@dataclass(frozen=True, slots=True)
class Lookup:
    """Ask for an image by its bytes."""

    api: str
    sha256: str


def save(connection: Connection, items: Sequence[Upload]) -> list[str]:
    """Remember uploads; answers with the path to use: of two that raced, the first."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    for item in items:
        values = {
            name: getattr(item, name) for name in ("api", "sha256", "file_path", "bytes", "uploaded_at", "run_id")
        }
        connection.execute(dialect.insert(uploads).values(values).on_conflict_do_nothing())
    return [found or item.file_path for item, found in zip(items, find(connection, items), strict=True)]


def find(connection: Connection, items: Sequence[Lookup | Upload]) -> list[str | None]:
    """The API's path for each image, None for one that it does not have."""
    query = select(uploads.c.file_path)
    return [
        connection.scalar(query.where(uploads.c.api == item.api, uploads.c.sha256 == item.sha256)) for item in items
    ]


def forget(connection: Connection, items: Sequence[Lookup]) -> list[None]:
    """The API no longer knows these paths: upload again."""
    for item in items:
        connection.execute(delete(uploads).where(uploads.c.api == item.api, uploads.c.sha256 == item.sha256))
    return [None] * len(items)
