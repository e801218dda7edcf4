"""What the review page is told of rows, without a page."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
from PIL import Image
from review_tables import SPRING, shown_table
from sqlalchemy import Connection

from reelbatch.domain import RowKey, RowState
from reelbatch.ledger import Ledger, review
from reelbatch.ledger.review import CardOrder
from reelbatch.review.app import filter_of
from reelbatch.review.pictures import Pictures
from reelbatch.review.report import write_report
from reelbatch.review.summary import open_questions, summary_of


def test_a_variant_says_how_many_videos_it_has(tmp_path: Path) -> None:
    """Each is there with its last one; the count is of its own, not of the row that was opened."""
    with Ledger(f"sqlite:///{tmp_path}/reelbatch.db") as ledger:
        shown = shown_table(ledger, tmp_path / "files")
        shown.add_all([{"row_key": key} for key in ("CUP#a", "CUP#b", "CUP#c", "CUP#1#a")])
        shown.add("CUP#b", row_number=shown.read("CUP#b")["row_number"], generation=2)
        others = ledger.read(lambda connection: review.variants(connection, SPRING, RowKey("CUP#a")))
    found = [(row["row_key"], row["generation"], max(1, len(row["lines"]))) for row in others]
    assert found == [("CUP#b", 2, 2), ("CUP#c", 1, 1)]


def test_a_further_video_without_an_id_is_found_by_its_state_and_error(tmp_path: Path) -> None:
    """What the bars count, their filters find, also of a row whose first video is shown; history is not."""
    with Ledger(f"sqlite:///{tmp_path}/reelbatch.db") as ledger:
        shown = shown_table(ledger, tmp_path / "files")
        shown.add_all([{"row_key": key} for key in ("CUP", "PAN", "ONE")])
        shown.add("OLD", state="error", error_code="render_failed", video_id="v4")
        lines = {"CUP": ("in_doubt", "timeout"), "PAN": ("rejected", "http_422"), "OLD": ("complete", None)}
        for key, (state, code) in lines.items():
            more = {"state": state, "error_code": code, "model": "kling-3.0"}
            shown.add(key, row_number=shown.read(key)["row_number"], generation=2, **more)
        found = ledger.read(_found)
        summary = ledger.read(lambda connection: summary_of(connection, SPRING))
    assert found["state"] == {"complete": ["CUP", "PAN", "ONE", "OLD"], "in_doubt": ["CUP"], "rejected": ["PAN"]}
    assert summary["states"].keys() == found["state"].keys()
    assert found["error"] == {"timeout": ["CUP"], "http_422": ["PAN"]}
    assert summary["errors"] == {"timeout": 1, "http_422": 1}
    assert found["model"] == {"ltx-2.3": ["CUP", "PAN", "ONE", "OLD"], "kling-3.0": ["CUP", "PAN", "OLD"]}
    assert summary["models"] == {"ltx-2.3": 4, "kling-3.0": 3}


def _found(connection: Connection) -> dict[str, dict[str, list[str]]]:
    """By each filter and its values, the rows that it finds."""
    words: dict[str, list[str]] = {
        "state": list(RowState),
        "error": ["timeout", "http_422", "render_failed"],
        "model": ["ltx-2.3", "kling-3.0", "default"],
    }
    found: dict[str, dict[str, list[str]]] = {}
    for name, values in words.items():
        for value in values:
            wanted = filter_of(SPRING, {name: value})
            rows = review.cards(connection, wanted, CardOrder.ROW, 0, 10)
            assert review.count(connection, wanted) == len(rows)
            if rows:
                found.setdefault(name, {})[value] = [row["row_key"] for row in rows]
    return found


def test_a_report_counts_what_it_does_not_list(tmp_path: Path) -> None:
    """Five hundred failed rows are not called two hundred, and hide none in doubt; a row made again is no failure."""
    with Ledger(f"sqlite:///{tmp_path}/reelbatch.db") as ledger:
        shown = shown_table(ledger, tmp_path / "files")
        shown.add_all([{"row_key": f"BAD-{number}", "state": "rejected"} for number in range(500)])
        shown.add_all([{"row_key": f"DBT-{number}", "state": "in_doubt"} for number in range(3)])
        shown.add("TWO", state="error", video_id="v1")
        shown.add("TWO", row_number=shown.read("TWO")["row_number"], generation=2)
        found = ledger.read(lambda connection: open_questions(connection, SPRING))
    assert {kind: (listed["rows"], len(listed["first"])) for kind, listed in found.items()} == {
        "failed": (500, 200),
        "in_doubt": (3, 3),
        "held": (0, 0),
    }


def test_a_very_large_picture_is_shown_small_without_a_complaint(tmp_path: Path) -> None:
    """Pillow warns of ninety million pixels, which is no concern of a reader; here a warning would be an error."""
    with Ledger(f"sqlite:///{tmp_path}/reelbatch.db") as ledger:
        shown = shown_table(ledger, tmp_path / "files")
        Image.new("1", (9_600, 9_600)).save(shown.folder / "large.png")
        assert Pictures(ledger).image(shown.add("BIG", image_path="large.png")) is not None


def test_a_video_without_a_picture_is_shown_without_one(tmp_path: Path) -> None:
    """It may be a sound alone, whatever the API called it; the page and the report go on."""
    sound = tmp_path / "sound.mp4"
    with av.open(str(sound), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=44_100)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), "float32"), format="fltp", layout="mono")
        silence.sample_rate = 44_100
        container.mux(stream.encode(silence))
        container.mux(stream.encode())
    with Ledger(f"sqlite:///{tmp_path}/reelbatch.db") as ledger:
        shown = shown_table(ledger, tmp_path / "files")
        row = shown.add("A", image_path="https://x.test/a.png", video_path=str(sound))
        assert Pictures(ledger).any(row) is None
        assert write_report(ledger, SPRING, tmp_path / "report.html").videos == 1
