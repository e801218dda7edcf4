"""A real Prefect server for the flows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reelbatch.sandbox import RunningSandbox, start


@pytest.fixture(scope="session", autouse=True)
def prefect_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Prefect's folder and settings, away from whatever this machine has."""
    home = tmp_path_factory.mktemp("prefect")
    stated = {
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_LOGGING_LEVEL": "CRITICAL",
    }
    before = {name: os.environ.get(name) for name in stated}
    os.environ.update(stated)
    yield home
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value


@pytest.fixture(scope="session")
def api() -> Iterator[RunningSandbox]:
    """The API, as those use it that need no films and ask for no totals."""
    with start(render_video=False) as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def prefect_server(prefect_home: Path, prefect: Any) -> Iterator[str]:
    """The address of a running Prefect API, which flows of this process use too."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: prefect.url}):
        yield prefect.url
