"""Everything that commands import, imported once before they are forked. No thread may start here."""

from __future__ import annotations

import gc
import importlib

_MODULES = (
    "av",
    "flows.generate",
    "flows.rerun",
    "flows.settle",
    "pandas",
    "psycopg",
    "psycopg.types.datetime",
    "pyarrow.csv",
    "pyarrow.parquet",
    "pyarrow.compute",
    "reelbatch.cli.doubting",
    "reelbatch.cli.running",
    "reelbatch.cli.spending",
    "reelbatch.findings",
    "reelbatch.ledger.rescue_files",
    "reelbatch.manifest.images",
    "reelbatch.sandbox.renderer",
    "reelbatch.webhooks",
    "rich.live",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite.pysqlite",
    "typer",
    "uvicorn.protocols.http.httptools_impl",
    "uvicorn.protocols.http.h11_impl",
)


def up() -> None:
    """Import, and put what was imported where the collector of the forked processes does not look."""
    for name in _MODULES:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
