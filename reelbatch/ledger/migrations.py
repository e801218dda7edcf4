"""The schema's version: a new table is made, an older one migrated, a newer or foreign one refused."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from functools import cache
from typing import Any

from sqlalchemy import Column, Connection, Engine, bindparam, func, inspect, not_, select, update
from sqlalchemy.dialects import registry
from sqlalchemy.schema import CreateColumn, CreateIndex, CreateTable, ExecutableDDLElement

from reelbatch.domain import SUMS, Request
from reelbatch.errors import LedgerError, LedgerUnusable
from reelbatch.ledger import queries
from reelbatch.ledger.columns import VERSION
from reelbatch.ledger.engine import is_postgres, now, writing
from reelbatch.ledger.paid_requests import PAID
from reelbatch.ledger.schema import (
    VIEW,
    accounts,
    apis,
    attempts,
    batches,
    generations,
    loads,
    metadata,
    orders,
    prices,
    runs,
    schema_version,
    writers,
)
from reelbatch.ledger.transitions import in_states
from reelbatch.ledger.urls import shown

Step = Callable[[Connection], None]


def _shared_by_workers(connection: Connection) -> None:
    metadata.create_all(connection, [loads, apis, writers])


def _summed_up(connection: Connection) -> None:
    """The running sums of the batches' money; one index by state, with the rows' order in it, in place of two."""
    for name in SUMS[:_SUMS_3]:
        connection.exec_driver_sql(f"ALTER TABLE batches ADD COLUMN {name} BIGINT NOT NULL DEFAULT 0")
    for name in ("results_pending", "results_state"):
        connection.exec_driver_sql(f"DROP INDEX IF EXISTS {name}")
    connection.exec_driver_sql("CREATE INDEX results_state ON results (batch, state, row_number)")


_SUMS_3 = 6  # of version 3; what they amount to is reckoned in the step after it
_COLUMNS_3 = (
    "batch, row_key, row_number, image_path, prompt, model, resolution, end_seconds, audio, name, state, video_id, "
    "estimated_frame_cost, credits_estimated, credits_charged, credits_final, fps, width, height, error_code, "
    "error_message, attempts, token, run_id, submitted_at, settled_at, video_path, end_image_path, request_width, "
    "request_height, fingerprint, rerun_wanted, due_at"
)


_MORE_COLUMNS_4 = (
    ("batches", "account", "VARCHAR"),
    ("batches", "probe", "VARCHAR"),
    ("batches", "key_hash", "VARCHAR"),
    ("reelbatch_schema", "identity", "VARCHAR"),
    ("runs", "secret", "VARCHAR"),
    ("attempts", "same_as", "VARCHAR"),
    ("decisions", "command", "VARCHAR"),
    ("decisions", "before", "TEXT"),
    ("decisions", "undoes", "INTEGER"),
)


def _generations(connection: Connection) -> None:
    """A row may have more than one video: `results` becomes a view of `generations`. Rows know their images' base."""
    for name in ("results_held", "results_due", "results_token", "results_state"):
        connection.exec_driver_sql(f"DROP INDEX IF EXISTS {name}")
    _rename(connection, "batches", "committed", "worst_case")
    connection.exec_driver_sql("ALTER TABLE results RENAME TO results_of_version_3")
    metadata.create_all(connection, [generations, orders, accounts, prices])
    base = "SELECT base FROM batches WHERE batches.batch = results_of_version_3.batch"
    connection.exec_driver_sql(
        f"INSERT INTO generations ({_COLUMNS_3}, in_manifest, image_base) "  # noqa: S608 - our own columns
        f"SELECT {_COLUMNS_3}, listed, ({base}) FROM results_of_version_3 ORDER BY batch, row_number"
    )
    connection.exec_driver_sql("DROP TABLE results_of_version_3")
    connection.exec_driver_sql("ALTER TABLE attempts ADD COLUMN generation INTEGER NOT NULL DEFAULT 1")
    for table, name, kind in _MORE_COLUMNS_4:
        connection.exec_driver_sql(f"ALTER TABLE {table} ADD COLUMN {name} {kind}")
    connection.exec_driver_sql("CREATE INDEX attempts_video ON attempts (video_id) WHERE video_id IS NOT NULL")
    connection.exec_driver_sql("CREATE INDEX attempts_same ON attempts (batch) WHERE same_as IS NOT NULL")
    apis.drop(connection)  # only start times of the last moments; a table that began as version 1 has it anew already
    apis.create(connection)
    for column in (attempts.c.refund_due_at, attempts.c.refund_until):
        kind = column.type.compile(connection.dialect)
        connection.exec_driver_sql(f"ALTER TABLE attempts ADD COLUMN {column.name} {kind}")
    next(index for index in attempts.indexes if index.name == "attempts_refund").create(connection)
    connection.execute(schema_version.update().values(identity=_new_identity()))
    _recognise_requests(connection)
    _figures(connection)


_ADDRESS = re.compile(r"https?://|api-assets/", re.IGNORECASE)
_ROWS_AT_ONCE = 5_000


def _recognise_requests(connection: Connection) -> None:
    """What paid rows asked for, where their images have addresses: the bytes of local ones were not kept."""
    g = generations.c
    names = ("image_path", "prompt", "end_seconds", "resolution", "model", "audio", "end_image_path")
    query = select(g.batch, g.row_key, *(g[name] for name in names)).where(in_states(PAID))
    known = (
        update(generations)
        .where(g.batch == bindparam("b_batch"), g.row_key == bindparam("b_row_key"))
        .values(request_sha256=bindparam("b_sha256"))
    )
    found = connection.execute(query).all()
    for first in range(0, len(found), _ROWS_AT_ONCE):
        values = []
        for batch, key, *stated in found[first : first + _ROWS_AT_ONCE]:
            request = Request(**dict(zip(names, stated, strict=True)))
            images = [image for image in (request.image_path, request.end_image_path) if image]
            if all(_ADDRESS.match(image) for image in images):
                values.append({"b_batch": batch, "b_row_key": key, "b_sha256": request.content_sha256(images)})
        if values:
            connection.execute(known, values)


def _figures(connection: Connection) -> None:
    """Until settled a row counts as the larger of estimate and answer; what is of unknown rate is counted."""
    connection.exec_driver_sql("ALTER TABLE attempts ADD COLUMN unrated BOOLEAN NOT NULL DEFAULT false")
    connection.exec_driver_sql("ALTER TABLE attempts ADD COLUMN odd_figure TEXT")
    connection.exec_driver_sql(f"ALTER TABLE batches ADD COLUMN {SUMS[_SUMS_3]} BIGINT NOT NULL DEFAULT 0")
    for index in attempts.indexes:
        if index.name in {"attempts_odd", "attempts_unrated"}:
            index.create(connection)
    g, a = generations.c, attempts.c
    own = (g.batch == a.batch, g.row_key == a.row_key, g.credits_estimated.is_(None))
    unrated = select(g.row_key).where(*own).exists()
    connection.execute(update(attempts).where(a.credits_reserved == 0, unrated).values(unrated=True))
    for batch in queries.batch_names(connection):
        sums = asdict(queries.added_up(connection, batch))
        known = {name: sums[name] for name in SUMS} | {"worst_case": sums["worst_case"]}
        connection.execute(batches.update().where(batches.c.batch == batch).values(known))


def _renamed(connection: Connection) -> None:
    """Columns by the names of what they hold."""
    _rename(connection, "batches", "committed", "worst_case")
    _rename(connection, "generations", "listed", "in_manifest")


def _version_6(connection: Connection) -> None:
    """New columns only: what runs know of the balance, and which batches are archived."""
    _add_missing(connection, attempts.c.settled_at)
    _add_missing(connection, accounts.c.period_end, batches.c.archived_at)
    _add_missing(connection, runs.c.account, runs.c.balance, runs.c.balance_at, runs.c.period_end)


def _version_7(connection: Connection) -> None:
    """Attempts know what they asked for; of those that there are no one does. Videos that no row has are followed."""
    _add_missing(connection, attempts.c.request_sha256)
    a, g = attempts.c, generations.c
    own = (g.batch == a.batch, g.row_key == a.row_key, g.generation == a.generation, g.video_id == a.video_id)
    beside = (a.video_id.is_not(None), not_(select(g.row_key).where(*own).exists()))
    open_ = (a.credits_final.is_(None), a.refund_due_at.is_(None), a.refund_until.is_(None))
    connection.execute(update(attempts).where(*beside, *open_).values(refund_due_at=now(connection)))


def _add_missing(connection: Connection, *columns: Column[Any]) -> None:
    """Those that their tables do not have yet: an earlier step may have made a table anew."""
    known = {table: _columns_of(connection, table) for table in {column.table.name for column in columns}}
    for column in columns:
        if column.name not in known[column.table.name]:
            definition = CreateColumn(column).compile(dialect=connection.dialect)
            connection.exec_driver_sql(f"ALTER TABLE {column.table.name} ADD COLUMN {definition}")


def _rename(connection: Connection, table: str, old: str, new: str) -> None:
    """Where it still has its old name: an earlier step may have made the table anew."""
    if old in _columns_of(connection, table):
        connection.exec_driver_sql(f"ALTER TABLE {table} RENAME COLUMN {old} TO {new}")


def _columns_of(connection: Connection, table: str) -> set[str]:
    return {column["name"] for column in inspect(connection).get_columns(table)}


def _add_columns(connection: Connection) -> None:
    """The columns of columns.py that rows did not have yet; they are null there, or have their default."""
    _add_missing(connection, *generations.columns)


def _new_identity() -> str:
    return secrets.token_hex(16)


MIGRATIONS: Mapping[int, Step] = {
    1: _shared_by_workers,
    2: _summed_up,
    3: _generations,
    4: _renamed,
    5: _version_6,
    6: _version_7,
}
"""From version n to n + 1. A version that only has further columns in columns.py, or further tables, needs none."""


def prepare(engine: Engine, steps: Mapping[int, Step] = MIGRATIONS, version: int = VERSION) -> None:
    """Make or migrate the tables, in one transaction; the second of two that start together finds it done.

    Raises:
        LedgerUnusable: the file is not ours, or was written by a newer version.
    """
    try:
        with writing(engine) as connection:
            _prepare(connection, steps, version)
    except LedgerUnusable:
        raise
    except LedgerError as error:
        raise LedgerUnusable(str(error)) from error


_LOCK = 0x5265656C  # "Reel", as a number for Postgres's advisory locks


def _prepare(connection: Connection, steps: Mapping[int, Step], version: int) -> None:
    if is_postgres(connection.engine):  # SQLite's transaction has the whole file already
        connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
    inspector = inspect(connection)
    names = {*inspector.get_table_names(), *inspector.get_view_names()}
    where = shown(connection.engine.url)
    if schema_version.name not in names:
        if foreign := sorted(names & {*metadata.tables, "results"}):
            raise LedgerUnusable(
                f"{where}: has a table `{foreign[0]}` that is not Reelbatch's; choose another with --results"
            )
        statements = _of_new_table(connection.dialect.name)
        for sent in [";".join(statements)] if is_postgres(connection.engine) else statements:  # in one round trip
            connection.exec_driver_sql(sent)
        connection.execute(schema_version.insert().values(version=version, identity=_new_identity()))
        return
    found = connection.scalar(select(schema_version.c.version))
    if found is None or found > version:
        remedy = "update Reelbatch, or choose another with --results"
        raise LedgerUnusable(
            f"{where}: was written by a newer Reelbatch (schema {found}, this one knows {version}); {remedy}"
        )
    if found < version:
        _migrate(connection, steps, range(found, version))
        connection.execute(schema_version.update().values(version=version))


@cache
def _of_new_table(database: str) -> list[str]:
    """What makes all tables and indexes, and the view."""
    made: list[ExecutableDDLElement] = []
    for table in metadata.sorted_tables:
        made += [CreateTable(table), *map(CreateIndex, sorted(table.indexes, key=lambda index: str(index.name)))]
    dialect = registry.load(database)()
    return [*(str(each.compile(dialect=dialect)) for each in made), VIEW]


def _migrate(connection: Connection, steps: Mapping[int, Step], versions: Iterable[int]) -> None:
    if "results" in inspect(connection).get_view_names():  # before version 4 it is a table
        connection.exec_driver_sql("DROP VIEW results")
    for version in versions:
        if version in steps:
            steps[version](connection)
    _add_columns(connection)
    metadata.create_all(connection)  # tables that are new since
    connection.exec_driver_sql(VIEW)
