"""One S3 server for all tests here, a bucket for each, and the sandbox to send to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from cloud_shop import Bucket, Shop
from cloud_storage import Gate, gated_storage

from reelbatch.sandbox import RunningSandbox, start


@pytest.fixture(scope="session")
def _gate() -> Iterator[Gate]:
    with gated_storage() as gate:
        yield gate


@pytest.fixture
def gate(_gate: Gate, monkeypatch: pytest.MonkeyPatch) -> Gate:
    """The storage as s3fs finds it: by its own environment variables, and nothing of the user's."""
    _gate.reset()
    surroundings = {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "hush-hush",
        "AWS_ENDPOINT_URL": _gate.url,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/nonexistent",
        "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
        "NO_PROXY": "127.0.0.1",
    }
    for name, value in surroundings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    return _gate


@pytest.fixture(scope="session")
def _files(_gate: Gate) -> Any:
    import s3fs

    return s3fs.S3FileSystem(key="tester", secret="tester", endpoint_url=_gate.url, skip_instance_cache=True)  # noqa: S106 - no server checks it


@pytest.fixture
def bucket(gate: Gate, _files: Any) -> Bucket:
    """An empty bucket."""
    made = Bucket(_files, f"shop-{uuid4().hex[:8]}")
    _files.mkdir(made.name)
    gate.reset()
    return made


@pytest.fixture(scope="session")
def sandbox() -> Iterator[RunningSandbox]:
    """The API; its videos are finished at once."""
    with start(queue_seconds=0, render_seconds=0, render_video=False, balance=10**9) as running:
        yield running


@pytest.fixture
def shop(tmp_path: Path, sandbox: RunningSandbox) -> Shop:
    """An empty results table."""
    return Shop(tmp_path, sandbox)
