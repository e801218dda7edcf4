"""What the table tells of renders that have ended, and that it has changed at all."""

from __future__ import annotations

import sqlite3
from datetime import timedelta
from pathlib import Path

from acting import SPRING, load, rows_of, set_row

from reelbatch.domain import Token
from reelbatch.ledger import Ledger, render_times, utc_now
from reelbatch.ledger.change_watch import ChangeWatch
from reelbatch.ledger.render_times import RenderClass


def test_seconds_are_told_by_class_and_ends_by_token(ledger: Ledger) -> None:
    """A video that was looked at much later says nothing; one that has not ended has no end."""
    load(ledger, rows_of(*"abc"))
    end = utc_now()
    for key, minutes in zip("abc", (1, 2, 45), strict=True):
        begin = end - timedelta(minutes=minutes)
        set_row(ledger, key, state="complete", video_id=f"v-{key}", submitted_at=begin, settled_at=end)
    tokens = [Token("rb_a"), Token("rb_b"), Token("rb_other")]
    set_row(ledger, "a", token=tokens[0])
    set_row(ledger, "b", token=tokens[1], state="rendering", settled_at=None)
    (stated,) = {row.request for row in rows_of("a")}
    expected = {RenderClass(stated.model, stated.resolution, stated.end_seconds): [60.0]}
    assert ledger.read(lambda connection: render_times.times_by_class(connection, [SPRING])) == expected
    assert ledger.read(lambda connection: render_times.times_by_class(connection, [])) == {}
    assert ledger.read(lambda connection: render_times.ends(connection, tokens)) == {"rb_a": end}


def test_a_commit_of_another_process_is_seen(ledger: Ledger, ledger_url: str) -> None:
    """And where the database can tell that nothing was committed, it says so."""
    with Ledger(ledger_url) as other, ledger.watching() as table:
        assert table.changed()
        assert table.changed() is not ledger_url.startswith("sqlite")
        load(other, rows_of("a"))
        assert table.changed()


def test_a_watch_without_an_answer_says_that_something_changed(tmp_path: Path) -> None:
    """The next read of the table then says in words what is wrong with it."""
    table = sqlite3.connect(tmp_path / "r.db")
    watch = ChangeWatch(table)
    watch.changed()
    assert not watch.changed()
    table.close()
    assert watch.changed()
