"""Which images the API already has: the same bytes are uploaded once for a results table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, delete, select
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


def save(connection: Connection, items: Sequence[Upload]) -> list[None]:
    """Remember uploads; of two with the same bytes, the first."""
    ordered = sorted(items, key=lambda item: (item.api, item.sha256))  # as everybody locks them
    connection.execute(_SAVE[connection.dialect.name], [_values(item) for item in ordered])
    return [None] * len(items)


_SAVE = {
    "sqlite": sqlite.insert(uploads).on_conflict_do_nothing(),
    "postgresql": postgresql.insert(uploads).on_conflict_do_nothing(),
}


def _values(item: Upload) -> dict[str, Any]:
    return {field.name: getattr(item, field.name) for field in fields(item)}


def find(connection: Connection, items: Sequence[Lookup]) -> list[str | None]:
    """The API's path for each image, None for one that it does not have."""
    paths: dict[tuple[str, str], str] = {}
    for api in {item.api for item in items}:
        values = {"b_api": api, "b_sha256": [item.sha256 for item in items if item.api == api]}
        paths |= {(api, sha256): path for sha256, path in connection.execute(_FIND, values)}
    return [paths.get((item.api, item.sha256)) for item in items]


_FIND = select(uploads.c.sha256, uploads.c.file_path).where(
    uploads.c.api == bindparam("b_api"), uploads.c.sha256.in_(bindparam("b_sha256", expanding=True))
)


def forget(connection: Connection, items: Sequence[Lookup]) -> list[None]:
    """The API no longer knows these paths: upload again."""
    for item in items:
        connection.execute(delete(uploads).where(uploads.c.api == item.api, uploads.c.sha256 == item.sha256))
    return [None] * len(items)
