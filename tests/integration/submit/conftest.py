"""One sandbox for all tests here, and a bench for each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from bench import Bench

from reelbatch.ledger import Ledger
from reelbatch.sandbox import RunningSandbox, start


@pytest.fixture(scope="session")
def running() -> Iterator[RunningSandbox]:
    """A sandbox whose videos stay queued."""
    with start(queue_seconds=600, render_video=False, balance=1_000_000_000) as sandbox:
        yield sandbox


@pytest.fixture
def bench(tmp_path: Path, sandbox: RunningSandbox) -> Bench:
    """An empty results table, and the sandbox."""
    return Bench(tmp_path, sandbox.url, sandbox.key)


@pytest.fixture
def ledger(bench: Bench) -> Iterator[Ledger]:
    """The bench's table, held open by the test."""
    with Ledger(bench.results) as opened:
        yield opened
