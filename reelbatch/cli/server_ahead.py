"""The temporary Prefect server, on its way before what a command itself has to import."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import reelbatch
from reelbatch.ledger.quick_status import plain_path
from reelbatch.orchestration.naming import may_name_a_server
from reelbatch.orchestration.prefect_server import TemporaryServer, temporary_server


def clone_root() -> Path | None:
    """The clone that this program runs from, which has flows; None: it was installed from a wheel, which has none."""
    root = Path(reelbatch.__file__).absolute().parents[1]
    return root if (root / "prefect.yaml").is_file() and (root / "flows").is_dir() else None


def server_ahead() -> AbstractContextManager[TemporaryServer | None]:
    """A server on its way; None where the settings may name another, which Prefect will know."""
    return nullcontext() if may_name_a_server() else temporary_server()


def server_for_new(results: str) -> AbstractContextManager[TemporaryServer | None]:
    """The same at once where rows will be sent in all likelihood: a first run, whose results table is yet to be made.

    Should key, manifest or user say no, it ends with the command.
    """
    path = plain_path(results)
    is_first = path is not None and not os.path.exists(path)  # noqa: PTH110 - Path's raises where a name is too long
    return server_ahead() if is_first and clone_root() is not None else nullcontext()
