"""Everything that commands import, imported once before they are forked. No thread may start here."""

from __future__ import annotations

import gc
import importlib
import os
from functools import cache
from pathlib import Path

import certifi
import typer
from PIL import Image

from reelbatch.cli.app import app
from reelbatch.ledger import in_memory
from reelbatch.model_table import load_models

_MODULES = (
    "anyio._backends._asyncio",
    "av",
    "encodings.utf_8_sig",
    "h2.connection",
    "httpcore",
    "importlib.readers",
    "pandas",
    "psycopg",
    "psycopg.types.datetime",
    "pyarrow.csv",
    "pyarrow.parquet",
    "pyarrow.compute",
    "pyarrow.pandas_compat",
    "pyarrow.vendored.version",
    "reelbatch.cli.decisions",
    "reelbatch.cli.runner",
    "reelbatch.cli.confirm",
    "reelbatch.pipeline.generate",
    "reelbatch.pipeline.reconcile_list",
    "reelbatch.pipeline.rerun",
    "reelbatch.pipeline.settle",
    "reelbatch.ledger.rescue_files",
    "reelbatch.manifest.readers.csv",
    "reelbatch.images.inspect",
    "reelbatch.sandbox.renderer",
    "reelbatch.sandbox.server",
    "reelbatch.webhooks",
    "rich._emoji_codes",
    "rich.live",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite.pysqlite",
    "typer._adapters",
    "uvicorn.lifespan.off",
    "uvicorn.protocols.http.httptools_impl",
    "uvicorn.protocols.http.h11_impl",
)


def _trust_one_authority(folder: Path) -> None:
    """Every client loads those that it trusts, some hundred; here nothing is ever asked over TLS."""
    end = "-----END CERTIFICATE-----\n"
    first = Path(certifi.where()).read_text(encoding="utf-8").partition(end)[0] + end
    file = folder / "authority.pem"
    file.write_text(first, encoding="utf-8")
    os.environ.update(SSL_CERT_FILE=str(file), SSL_CERT_DIR=str(folder))


def up(folder: Path) -> None:
    """Import, and do once what is kept."""
    for name in _MODULES:
        importlib.import_module(name)
    Image.init()
    load_models(None)
    with in_memory():
        pass
    _trust_one_authority(folder)
    typer.main.get_command = cache(typer.main.get_command)  # a fifth of a command's time goes into its options
    typer.main.get_command(app)
    gc.collect()
    gc.disable()  # in the parent; a collection in a child touches, and so copies, all that they share
