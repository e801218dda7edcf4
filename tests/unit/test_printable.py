"""Counts in words."""

from __future__ import annotations

import pytest

from reelbatch.printable import counted


@pytest.mark.parametrize(("number", "said"), [(0, "0 rows"), (1, "1 row"), (2, "2 rows"), (1234, "1,234 rows")])
def test_one_is_no_more_than_one(number: int, said: str) -> None:
    """In every message that counts."""
    assert counted(number, "row") == said
