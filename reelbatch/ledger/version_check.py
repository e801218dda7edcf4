"""A worker of an older version: once a newer one has migrated the table, it takes no row and sends nothing more."""

from __future__ import annotations

from sqlalchemy import Connection, select

from reelbatch.errors import LedgerError
from reelbatch.ledger.columns import VERSION
from reelbatch.ledger.schema import schema_version

_FOUND = select(schema_version.c.version)


def refuse_newer(connection: Connection) -> None:
    """Asked in each transaction that takes rows or lets a request leave. Answers are recorded all the same.

    Raises:
        LedgerError: the table was migrated since it was opened.
    """
    found = connection.scalar(_FOUND)
    if found is not None and found > VERSION:
        raise LedgerError(
            f"a newer Reelbatch has migrated the results table (schema {found}, this one knows {VERSION}) while this "
            "run was at work, so it sends nothing more; update Reelbatch, and run the same command again"
        )
