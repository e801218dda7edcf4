"""Which images the API already has: the same bytes are uploaded once for a results table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from reelbatch.domain import RunId
from reelbatch.ledger.schema import uploads

KEPT = timedelta(days=6)
"""How long an upload is used again; the API deletes it after seven days."""


class Known(NamedTuple):
    """Where the API has an image, and since when."""

    file_path: str
    uploaded_at: datetime


@dataclass(frozen=True, slots=True)
class Upload:
    """An image that the API has. `api`: which one, and of which account."""

    api: str
    sha256: str
    file_path: str
    bytes: int
    uploaded_at: datetime
    run_id: RunId


@dataclass(frozen=True, slots=True)
class Lookup:
    """Ask for an image by its bytes. `api` as it was saved."""

    api: str
    sha256: str


def save(connection: Connection, items: Sequence[Upload]) -> list[None]:
    """Remember uploads; of two with the same bytes, the first, unless that one is too old to be used."""
    ordered = sorted(items, key=lambda item: (item.api, item.sha256))  # as everybody locks them
    connection.execute(_SAVE[connection.dialect.name], [_values(item) for item in ordered])
    return [None] * len(items)


def _replacing_old(new: sqlite.Insert | postgresql.Insert) -> Any:
    told = {name: new.excluded[name] for name in ("file_path", "bytes", "uploaded_at", "run_id")}
    return new.on_conflict_do_update(
        index_elements=[uploads.c.api, uploads.c.sha256],
        set_=told,
        where=uploads.c.uploaded_at <= bindparam("b_old", type_=uploads.c.uploaded_at.type),
    )


_SAVE = {
    "sqlite": _replacing_old(sqlite.insert(uploads)),
    "postgresql": _replacing_old(postgresql.insert(uploads)),
}


def _values(item: Upload) -> dict[str, Any]:
    stated = {field.name: getattr(item, field.name) for field in fields(item)}
    return {**stated, "b_old": item.uploaded_at - KEPT}


def find(connection: Connection, items: Sequence[Lookup]) -> list[Known | None]:
    """Where the API has each image, None for one that it does not have; see `KEPT` for one that is too old."""
    paths: dict[tuple[str, str], Known] = {}
    for api in {item.api for item in items}:
        values = {"b_api": api, "b_sha256": [item.sha256 for item in items if item.api == api]}
        paths |= {(api, sha256): Known(*known) for sha256, *known in connection.execute(_FIND, values)}
    return [paths.get((item.api, item.sha256)) for item in items]


_FIND = select(uploads.c.sha256, uploads.c.file_path, uploads.c.uploaded_at).where(
    uploads.c.api == bindparam("b_api"), uploads.c.sha256.in_(bindparam("b_sha256", expanding=True))
)


def forget(connection: Connection, items: Sequence[Lookup]) -> list[None]:
    """The API no longer knows these paths: upload again."""
    for item in items:
        connection.execute(delete(uploads).where(uploads.c.api == item.api, uploads.c.sha256 == item.sha256))
    return [None] * len(items)
