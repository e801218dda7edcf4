"""The schema's version: a new table is made, an older one migrated, a newer or foreign one refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict

from sqlalchemy import Connection, Engine, func, inspect, select

from reelbatch.domain import SUMS
from reelbatch.errors import LedgerError, LedgerUnusable
from reelbatch.ledger import reading
from reelbatch.ledger.engine import is_postgres, shown, writing
from reelbatch.ledger.schema import VERSION, apis, batches, loads, metadata, results, schema_version, writers

Step = Callable[[Connection], None]


def _shared_by_workers(connection: Connection) -> None:
    metadata.create_all(connection, [loads, apis, writers])


def _summed_up(connection: Connection) -> None:
    """The running sums of the batches' money; one index by state, with the rows' order in it, in place of two."""
    for name in SUMS:
        connection.exec_driver_sql(f"ALTER TABLE batches ADD COLUMN {name} BIGINT NOT NULL DEFAULT 0")
    for batch in reading.batch_names(connection):
        sums = asdict(reading.added_up(connection, batch))
        connection.execute(batches.update().where(batches.c.batch == batch).values({n: sums[n] for n in SUMS}))
    for name in ("results_pending", "results_state"):
        connection.exec_driver_sql(f"DROP INDEX IF EXISTS {name}")
    next(index for index in results.indexes if index.name == "results_state").create(connection)


MIGRATIONS: Mapping[int, Step] = {1: _shared_by_workers, 2: _summed_up}
"""From version n to n + 1."""


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
    names = set(inspect(connection).get_table_names())
    where = shown(connection.engine.url)
    if schema_version.name not in names:
        if foreign := sorted(names & set(metadata.tables)):
            raise LedgerUnusable(
                f"{where}: has a table `{foreign[0]}` that is not Reelbatch's; choose another with --results"
            )
        metadata.create_all(connection)
        connection.execute(schema_version.insert().values(version=version))
        return
    found = connection.scalar(select(schema_version.c.version))
    if found is None or found > version:
        remedy = "update Reelbatch, or choose another with --results"
        raise LedgerUnusable(
            f"{where}: was written by a newer Reelbatch (schema {found}, this one knows {version}); {remedy}"
        )
    for step in range(found, version):
        steps[step](connection)
    if found < version:
        connection.execute(schema_version.update().values(version=version))
