"""Running against the sandbox in place of the live API."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import SecretStr

from reelbatch.ledger.engine import parse_url, sqlite_path
from reelbatch.pipeline.resources import refuse_live_rows
from reelbatch.sandbox import SandboxConfig, start
from reelbatch.settings import Settings
from reelbatch.settings.table_urls import sandbox_data


@contextmanager
def sandboxed(settings: Settings, *, enabled: bool = True) -> Iterator[Settings]:
    """Settings that point to a sandbox of its own process, which ends with this block.

    What it stores lies beside the results table, so that a later command finds its videos again.

    Raises:
        LedgerUnusable: the results table holds rows of the live API.
    """
    if not enabled:
        yield settings
        return
    refuse_live_rows(settings)
    stated = dict(settings.sandbox)
    if "data" not in stated and (path := sqlite_path(parse_url(settings.results))):
        stated["data"] = str(sandbox_data(path))
    with start(SandboxConfig(**{**stated, "port": stated.get("port", 0)})) as sandbox:
        yield settings.model_copy(update={"base_url": sandbox.url, "api_key": SecretStr(sandbox.key)})
