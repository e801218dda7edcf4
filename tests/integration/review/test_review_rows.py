"""What the review page is told of rows, without a page."""

from __future__ import annotations

from pathlib import Path

from review_tables import SPRING, shown_table

from reelbatch.domain import RowKey
from reelbatch.ledger import Ledger, review


def test_a_variant_says_how_many_videos_it_has(tmp_path: Path) -> None:
    """Each is there with its last one; the count is of its own, not of the row that was opened."""
    with Ledger(f"sqlite:///{tmp_path}/reelbatch.db") as ledger:
        shown = shown_table(ledger, tmp_path / "files")
        shown.add_all([{"row_key": key} for key in ("CUP#a", "CUP#b", "CUP#c", "CUP#1#a")])
        shown.add("CUP#b", row_number=shown.read("CUP#b")["row_number"], generation=2)
        others = ledger.read(lambda connection: review.variants(connection, SPRING, RowKey("CUP#a")))
    found = [(row["row_key"], row["generation"], row["videos"]) for row in others]
    assert found == [("CUP#b", 2, 2), ("CUP#c", 1, 1)]
