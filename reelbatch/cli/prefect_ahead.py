"""Prefect's temporary server ahead of the command that needs it: it takes as long to start as all else together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import reelbatch
from reelbatch.ledger.quick_status import may_have_read
from reelbatch.orchestration.naming import may_name_a_server
from reelbatch.orchestration.prefect_server import TemporaryServer, temporary_server
from reelbatch.settings.table_urls import file_of

if TYPE_CHECKING:
    from reelbatch.settings import Settings


def clone_root() -> Path | None:
    """The clone that this program runs from, which has flows; None: it was installed from a wheel, which has none."""
    root = Path(reelbatch.__file__).absolute().parents[1]
    return root if (root / "prefect.yaml").is_file() and (root / "flows").is_dir() else None


@contextmanager
def server_for_new_rows(settings: Settings, manifest: str, batch: str | None) -> Iterator[TemporaryServer | None]:
    """A server, at once, for a manifest that the results table has not read yet.

    None for any other, since nothing may be to be sent of it, and where Prefect's settings may name a server.
    """
    table = file_of(settings.results)
    name = batch or PurePosixPath(manifest.replace("\\", "/")).name
    is_new = table is not None and not may_have_read(table, name.strip())
    with temporary_server() if is_new and clone_root() and not may_name_a_server() else nullcontext() as server:
        yield server
