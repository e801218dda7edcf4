"""What reviewers say of videos, and what the review page asks."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from databases import postgres_url
from review_tables import NOON, SPRING, Shown, every_kind, shown_table
from sqlalchemy import Connection, text
from waiting import wait_until

from reelbatch.domain import ReviewVerdict, RowKey, RowState
from reelbatch.ledger import Ledger, queries, review, verdicts
from reelbatch.ledger.review import CardFilter, CardOrder, Reviewed, Spent
from reelbatch.ledger.verdicts import Said

APPROVED, REJECTED = ReviewVerdict.APPROVED, ReviewVerdict.REJECTED


@pytest.fixture
def table(ledger: Ledger, tmp_path: Path) -> Shown:
    """An empty batch, on SQLite and on Postgres."""
    return shown_table(ledger, tmp_path / "files")


def say(table: Shown, key: str, verdict: ReviewVerdict | None, by: str = "ann", **more: Any) -> bool:
    """One reviewer's word, of the row's first video unless another is stated."""
    video = (SPRING, RowKey(key), more.pop("generation", 1))
    said = Said(video=video, verdict=verdict, note=more.pop("note", None), by=by, at=NOON)
    return table.ledger.change(partial(verdicts.say, said=said))


def undo(table: Shown, by: str = "ann") -> str | None:
    """Take back what a reviewer said last; the key of the row."""
    video = table.ledger.change(partial(verdicts.undo, batch=SPRING, by=by, at=NOON))
    return None if video is None else video[1]


def keys(
    table: Shown, order: CardOrder = CardOrder.ROW, first: int = 0, limit: int = 100, **wanted: object
) -> list[str]:
    """The rows of a window, in order."""
    asked = CardFilter(batch=SPRING, **wanted)
    window = partial(review.cards, wanted=asked, order=order, first=first, limit=limit)
    found = [row["row_key"] for row in table.ledger.read(window)]
    if first == 0 and limit == 100:
        assert table.ledger.read(partial(review.count, wanted=asked)) == len(found)
    return found


def test_the_last_word_wins_and_all_are_kept(table: Shown) -> None:
    """Two reviewers disagree: the row shows what was said last, the table of verdicts everything."""
    table.add("a")
    assert say(table, "a", APPROVED, "ann")
    assert say(table, "a", REJECTED, "ben", note="too dark")
    assert table.verdict("a") == (REJECTED, "too dark")
    assert table.said() == [("a", APPROVED, False), ("a", REJECTED, False)]


def test_a_verdict_needs_a_finished_video(table: Shown) -> None:
    """Nothing is said of a row that renders, of a key that there is not, of a generation that there is not."""
    table.add("a", state="rendering", video_id="v")
    assert not say(table, "a", APPROVED)
    assert not say(table, "b", APPROVED)
    table.add("c")
    assert not say(table, "c", APPROVED, generation=2)
    assert table.said() == []


def test_undo_takes_back_step_by_step(table: Shown) -> None:
    """What was said before stands again; what was taken back is kept too, and is not taken back twice."""
    table.add("a")
    table.add("b")
    say(table, "a", APPROVED)
    say(table, "a", APPROVED, note="nice")
    say(table, "b", REJECTED)
    assert [undo(table), undo(table), undo(table), undo(table)] == ["b", "a", "a", None]
    assert table.verdict("a") == (None, None)
    assert table.read("a")["reviewed_at"] is None
    assert len(table.said()) == 6


def test_undo_leaves_what_another_has_said_since(table: Shown) -> None:
    """Ann takes her word back after Ben had the last one: Ben's stands."""
    table.add("a")
    say(table, "a", APPROVED, "ann")
    say(table, "a", REJECTED, "ben")
    assert undo(table, "ann") == "a"
    assert table.verdict("a") == (REJECTED, None)
    assert undo(table, "ben") == "a"
    assert table.verdict("a") == (None, None)


def test_what_is_said_while_another_takes_back_is_the_last_word(tmp_path: Path) -> None:
    """On Postgres two may write at once: Ann takes her word back before Ben's is committed, and his stands."""
    with Ledger(url := postgres_url()) as ledger, Ledger(url) as other, ThreadPoolExecutor(1) as thread:
        table = shown_table(ledger, tmp_path / "files")
        table.add("a")
        say(table, "a", APPROVED, "ann")

        def say_while_ann_undoes(connection: Connection) -> Future[object]:
            video = (SPRING, RowKey("a"), 1)
            assert verdicts.say(connection, Said(video=video, verdict=REJECTED, note=None, by="ben", at=NOON))
            hers = thread.submit(other.change, partial(verdicts.undo, batch=SPRING, by="ann", at=NOON))
            wait_until(lambda: hers.done() or waits(ledger), "Ann waits for Ben")
            return hers

        assert ledger.change(say_while_ann_undoes).result() == (SPRING, "a", 1)
        assert table.verdict("a") == (REJECTED, None)


def waits(ledger: Ledger) -> bool:
    """Whether a transaction waits for another."""
    waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    return bool(ledger.read(lambda connection: connection.scalar(waiting)))


def test_a_verdict_belongs_to_one_video_of_a_row(table: Shown) -> None:
    """The first video's stays when the second is judged otherwise; `results` shows the second's."""
    every_kind(table)
    say(table, "TWO-010", REJECTED, generation=1)
    say(table, "TWO-010", APPROVED, generation=2)
    assert table.verdict("TWO-010", 1) == (REJECTED, None)
    assert table.verdict("TWO-010", 2) == (APPROVED, None)
    assert "TWO-010" in keys(table, reviewed=Reviewed.APPROVED)
    assert "TWO-010" not in keys(table, reviewed=Reviewed.REJECTED)


def test_rows_are_found_by_state_verdict_model_error_and_words(table: Shown) -> None:
    """Each filter by itself, and two together; of a row that was made again only its last video counts."""
    every_kind(table)
    say(table, "TEA-001", APPROVED, note="warm")
    assert keys(table, state=RowState.IN_DOUBT) == ["DBT-006"]
    assert keys(table, error="http_422") == ["REJ-005"]
    assert keys(table, model="kling-3.0") == ["TWO-010"]
    assert keys(table, reviewed=Reviewed.NOTED) == ["TEA-001"]
    assert keys(table, search="teaPOT") == ["TEA-001"]
    assert keys(table, search="mug-0") == ["MUG-002"]
    assert keys(table, search="100%") == []
    assert "TEA-001" not in keys(table, reviewed=Reviewed.NONE)
    assert keys(table, model="ltx-2.3", state=RowState.ERROR) == ["BAD-004"]
    assert len(keys(table)) == 10


def test_windows_of_every_order_are_whole(table: Shown) -> None:
    """Page after page each row comes once, also where many cost the same or have no time yet."""
    every_kind(table)
    for order in CardOrder:
        pages = [key for first in range(0, 12, 3) for key in keys(table, order, first, 3)]
        assert pages == keys(table, order)
        assert len(set(pages)) == 10
    assert keys(table, CardOrder.COST)[0] == "MUG-002"
    assert keys(table, CardOrder.TIME)[0] == "TWO-010"


def test_the_curve_ends_at_what_was_paid(table: Shown) -> None:
    """Whatever is refunded or not settled yet: the last point of the curve is the books' sum, and it never falls."""
    every_kind(table)
    table.add("r", credits_charged=50, credits_final=20)
    table.add("u", credits_charged=70, credits_final=None)
    money = table.ledger.read(lambda connection: queries.added_up(connection, SPRING))
    for points in (2, 5, 24):
        curve = table.ledger.read(partial(review.spending, batch=SPRING, points=points))
        assert curve[-1].credits == money.charged - money.refunded
        assert [spent.at for spent in curve] == sorted(spent.at for spent in curve)
        assert curve[0].at >= NOON
        assert curve[-1].at <= NOON + timedelta(minutes=1)
    assert table.ledger.read(partial(review.spending, batch="none", points=5)) == []


def test_the_curve_is_level_while_nothing_is_sent(table: Shown) -> None:
    """Two requests at the beginning and one an hour later: between them it is level, and of one it is no slope."""
    table.add("first", row_number=0)
    curve = table.ledger.read(partial(review.spending, batch=SPRING, points=24))
    assert curve == [Spent(NOON, 0), Spent(NOON, 48)]
    table.add("second", row_number=60)
    table.add("last", row_number=3600)
    curve = table.ledger.read(partial(review.spending, batch=SPRING, points=24))
    step = timedelta(hours=1) / 24
    assert curve == [
        Spent(NOON, 0),
        Spent(NOON + step, 96),
        Spent(NOON + 23 * step, 96),
        Spent(NOON + timedelta(hours=1), 144),
    ]


def test_what_was_never_charged_is_no_dear_row(table: Shown) -> None:
    """Whatever it was estimated at; a row in doubt counts as its estimate."""
    for key, state, estimate in (("INV", "invalid", 900), ("REJ", "rejected", 800), ("DBT", "in_doubt", 60)):
        table.add(key, state=state, credits_estimated=estimate)
    table.add("TEA")
    assert keys(table, CardOrder.COST) == ["DBT", "TEA", "INV", "REJ"]


def test_a_table_of_the_version_before_gets_its_verdicts(table: Shown, ledger_url: str) -> None:
    """Schema 6: rows of an older table can be judged."""
    table.add("a")
    table.ledger.change(lambda connection: connection.execute(text("DROP TABLE verdicts")))
    table.ledger.change(lambda connection: connection.execute(text("UPDATE reelbatch_schema SET version = 5")))
    with Ledger(ledger_url) as opened:
        again = Shown(opened, table.folder)
        assert say(again, "a", APPROVED)
        assert again.verdict("a") == (APPROVED, None)
