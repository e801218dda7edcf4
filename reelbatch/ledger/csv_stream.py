"""All rows as CSV that the database writes itself: a million rows do not become 27 million Python objects.

Texts stand in single quotes and null has none, times are UTC without a zone, lines are in the manifest's order.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from itertools import islice
from typing import Any, NamedTuple

from sqlalchemy import Connection, text
from sqlalchemy.exc import DatabaseError

from reelbatch.domain import Batch, ReviewVerdict, RowState
from reelbatch.ledger.columns import EXPORTED, RESULT_COLUMNS, ColumnKind
from reelbatch.ledger.schema import TAKEN

NULLS = ("", "NULL")
TRUE, FALSE = ("1", "t"), ("0", "f")

_TEXTS = frozenset({ColumnKind.WORD, ColumnKind.TEXT})
_ORDER, _SQLITE_ORDER = "batch, row_number, row_key, generation", "batch, row_number, rowid"
"""SQLite finds the second one in an index, without reading the rows."""


class Lines(NamedTuple):
    """Some rows: `text` has a line for each, with the values of `columns`; those of `apart` go with them."""

    text: bytes
    columns: tuple[str, ...]
    apart: dict[str, tuple[float | None, ...]]


class Wanted(NamedTuple):
    """Which rows: of one batch or of all, in one of `states` (none: in any); with `all_videos` each generation.

    With `winners`, of the variants of a product of which one is approved that one alone, which was approved last.
    """

    batch: Batch | None = None
    all_videos: bool = False
    states: frozenset[RowState] = frozenset()
    winners: bool = False

    def where(self, table: str = "") -> str:
        """States and winners as SQL; `table`: whose columns are meant."""
        names = ", ".join(f"'{state}'" for state in sorted(self.states))
        conditions = [f"{table}state IN ({names})"] if names else []
        if self.winners:
            product = _PRODUCT.format(key=f"{table}row_key")
            row = f"{table}batch, {table}row_key"
            conditions.append(f"(({table}batch, {product}) NOT IN ({_DECIDED}) OR ({row}) IN ({_WINNERS}))")
        return " AND ".join(conditions) or "true"


_PRODUCT = "rtrim({key}, replace({key}, '#', ''))"
"""A variant's key without the variant's name: `TEA#` of `TEA#a`, nothing of a key without one. In both databases."""
_APPROVED = f"FROM generations WHERE verdict = '{ReviewVerdict.APPROVED}' AND row_key <> replace(row_key, '#', '')"
_DECIDED = f"SELECT batch, {_PRODUCT.format(key='row_key')} {_APPROVED}"
_LATEST_FIRST = f"PARTITION BY batch, {_PRODUCT.format(key='row_key')} ORDER BY reviewed_at DESC, row_key"
_APPROVED_IN_ORDER = f"SELECT batch, row_key, row_number() OVER ({_LATEST_FIRST}) AS place {_APPROVED}"
_WINNERS = f"SELECT batch, row_key FROM ({_APPROVED_IN_ORDER}) AS in_order WHERE place = 1"  # noqa: S608 - our own names


ALL = Wanted()


def count(connection: Connection, wanted: Wanted) -> int:
    """How many lines there are."""
    batch = "" if wanted.batch is None else "AND batch = :batch"
    query = text(f"SELECT count(*) FROM {_source(wanted)} WHERE {wanted.where()} {batch}")  # noqa: S608 - our own words
    return int(connection.execute(query, {} if wanted.batch is None else {"batch": wanted.batch}).scalar_one())


def _source(wanted: Wanted) -> str:
    return "generations" if wanted.all_videos else "results"


def lines(connection: Connection, wanted: Wanted, rows_at_once: int) -> Generator[Lines, None, None]:
    """The exported columns of all rows, that many at a time."""
    found = _of_sqlite if connection.dialect.name == "sqlite" else _of_postgres
    return found(connection, wanted, rows_at_once)


def _of_sqlite(connection: Connection, wanted: Wanted, rows_at_once: int) -> Generator[Lines, None, None]:
    batch = wanted.batch
    # It may write a float with too few digits, so it hands these over as they are.
    apart = tuple(column.name for column in EXPORTED if column.kind is ColumnKind.FLOAT)
    inside = tuple(column for column in EXPORTED if column.name not in apart)
    line = ",".join("%Q" if column.kind in _TEXTS else "%s" for column in inside)
    values = ", ".join(f"generations.{column.name}" for column in inside)
    where = "" if batch is None else "WHERE batch = :batch"
    shown = "true" if wanted.all_videos else TAKEN
    # Whole rows are never sorted, only their numbers. LIMIT -1 keeps SQLite from leaving the inner order out.
    query = text(
        f"SELECT CAST(printf('{line}', {values}) AS BLOB), {', '.join(apart)} "  # noqa: S608 - our own columns
        f"FROM (SELECT rowid AS number FROM generations {where} ORDER BY {_SQLITE_ORDER} LIMIT -1) AS in_order "
        f"CROSS JOIN generations ON generations.rowid = in_order.number "
        f"WHERE {wanted.where('generations.')} AND {shown}"
    )
    found = connection.execute(query, {} if batch is None else {"batch": batch})
    names = tuple(column.name for column in inside)
    try:
        while rows := found.cursor.fetchmany(rows_at_once):  # the driver's own tuples: SQLAlchemy's rows cost as much
            written, *values_apart = zip(*rows, strict=True)
            yield Lines(b"\n".join(written), names, dict(zip(apart, values_apart, strict=True)))
    except sqlite3.Error as error:
        raise DatabaseError(None, None, error) from error


def _of_postgres(connection: Connection, wanted: Wanted, rows_at_once: int) -> Generator[Lines, None, None]:
    batch = wanted.batch
    quoted = ", ".join(column.name for column in EXPORTED if column.kind in _TEXTS)
    values = ", ".join(
        f"to_char({column.name} AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')"
        if column.kind is ColumnKind.TIME
        else column.name
        for column in EXPORTED
    )
    where = wanted.where() if batch is None else f"{wanted.where()} AND batch = %s"
    query = (
        f"COPY (SELECT {values} FROM {_source(wanted)} WHERE {where} ORDER BY {_ORDER}) TO STDOUT "  # noqa: S608 - as above
        f"WITH (FORMAT csv, QUOTE '''', FORCE_QUOTE ({quoted}), ENCODING 'UTF8')"
    )
    driver: Any = connection.connection
    with driver.cursor() as cursor, cursor.copy(query, None if batch is None else (batch,)) as copy:
        while written := b"".join(islice(copy, rows_at_once)):
            yield Lines(written, RESULT_COLUMNS, {})
