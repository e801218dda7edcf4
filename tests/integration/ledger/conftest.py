"""A results table of its own for each test, in every database that the contract covers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from databases import postgres_url

from reelbatch.ledger import Ledger


@pytest.fixture(params=["sqlite", "postgres"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where an empty results table can be made."""
    return postgres_url() if request.param == "postgres" else f"sqlite:///{tmp_path / 'results.db'}"


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    """An empty results table."""
    with Ledger(ledger_url) as opened:
        yield opened
