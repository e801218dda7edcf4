"""What the tasks of a run are called on Prefect's page."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from reelbatch.domain import Batch, RowKey, RunId
from reelbatch.ledger.selection import Scope
from tasks import submit


def test_a_row_of_a_sample_is_named_by_its_place_in_it() -> None:
    """And not by its number in the manifest, which says something else there."""
    sample = (RowKey("blue"), RowKey("red"))
    context: Any = SimpleNamespace(scope=Scope(Batch("spring"), RunId("run-1"), sample=sample))
    assert [submit._key_of(context, place) for place in (1, 2)] == ["blue", "red"]
