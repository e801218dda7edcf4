"""Running against the sandbox in place of the live API."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import SecretStr

from reelbatch.ledger.engine import parse_url, sqlite_path
from reelbatch.sandbox import SandboxConfig, start
from reelbatch.settings import Settings


@contextmanager
def sandboxed(settings: Settings, *, enabled: bool = True) -> Iterator[Settings]:
    """Settings that point to a sandbox of its own process, which ends with this block.

    What it stores lies beside the results table, so that a later command finds its videos again.
    """
    if not enabled:
        yield settings
        return
    stated = dict(settings.sandbox)
    if "data" not in stated and (path := sqlite_path(parse_url(settings.results))):
        stated["data"] = str(path.parent / "sandbox")
    with start(SandboxConfig(**{**stated, "port": stated.get("port", 0)})) as sandbox:
        yield settings.model_copy(update={"base_url": sandbox.url, "api_key": SecretStr(sandbox.key)})
