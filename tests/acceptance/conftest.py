"""The environments of the processes that the tests here start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def quiet_env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment with a key, an empty Prefect home, and none of the user's own settings."""
    return {
        "MAGIC_HOUR_API_KEY": "sandbox",
        "PREFECT_HOME": str(tmp_path_factory.mktemp("prefect")),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "COLUMNS": "120",
    }


@pytest.fixture(scope="session")
def prefect_env(quiet_env: dict[str, str], prefect: Any) -> dict[str, str]:
    """The same with a Prefect server that already runs, which spares each process starting one of its own."""
    return {**quiet_env, "PREFECT_API_URL": prefect.url}


@pytest.fixture
def serverless_env(quiet_env: dict[str, str], prefect: Any, tmp_path: Path) -> dict[str, str]:
    """The same without one, where Prefect's database is made already: each process starts its own server."""
    return {**quiet_env, "PREFECT_HOME": str(prefect.home(tmp_path / "prefect"))}
