"""A results table of its own for each test, in every database that the contract covers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from databases import postgres_table, postgres_url

from reelbatch.ledger import Ledger


@pytest.fixture(params=["sqlite", "postgres"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where an empty results table can be made, or, if the test has it opened, is."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'results.db'}"
    elif "ledger" in request.fixturenames:
        with postgres_table() as url:
            yield url
    else:
        yield postgres_url()


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    """An empty results table."""
    with Ledger(ledger_url) as opened:
        yield opened
