"""Dismissed rows are told from the others in one go, on both databases, however many there are."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from acting import SPRING, load, rows_of
from sqlalchemy import Connection, update

from reelbatch.domain import RowKey, RowState
from reelbatch.ledger import Ledger, dismissals, reruns, utc_now
from reelbatch.ledger.reruns import Selection
from reelbatch.ledger.schema import generations

EVERY = Selection(batch=SPRING)


def failed(ledger: Ledger, rows: int) -> list[RowKey]:
    """That many rejected rows."""
    keys = [RowKey(f"k{number:05}") for number in range(rows)]
    load(ledger, rows_of(*keys))
    g = generations.c
    ledger.change(
        lambda connection: connection.execute(update(generations).values(state="rejected", token=g.row_key))
    )
    return keys


def say(ledger: Ledger, what: Any, keys: list[RowKey]) -> int:
    """Dismiss rows, or take that back."""
    said = dismissals.Dismissal(SPRING, keys, "me", utc_now())
    return ledger.change(lambda connection: what(connection, said))


def sent_again(ledger: Ledger) -> int:
    """Rows that a rerun would send."""
    return sum(some.rows for some in ledger.read(partial(reruns.alike, selection=EVERY)))


def test_dismissed_rows_are_left_out_until_that_is_taken_back(ledger: Ledger) -> None:
    """By count, by key and by what a rerun sends."""
    keys = failed(ledger, 4)
    assert (say(ledger, dismissals.dismiss, keys[:3]), sent_again(ledger)) == (3, 1)
    assert (say(ledger, dismissals.recall, keys[:1]), sent_again(ledger)) == (1, 2)
    assert ledger.read(partial(dismissals.counts_of_dismissed, batch=SPRING)) == {RowState.REJECTED: 2}
    assert set(ledger.read(partial(reruns.choose, selection=EVERY, limit=4)).row_keys or ()) == {keys[0], keys[3]}
    assert (say(ledger, dismissals.dismiss, keys[:1]), sent_again(ledger)) == (1, 1)


def steps_of(folder: Path, rows: int) -> int:
    """How much SQLite does, in thousands of its own steps, to preview a rerun of which half is dismissed."""
    with Ledger(f"sqlite:///{folder}/{rows}.db") as ledger:
        say(ledger, dismissals.dismiss, failed(ledger, rows)[::2])
        steps: list[int] = []

        def counted(connection: Connection) -> None:
            raw: Any = connection.connection.driver_connection
            raw.set_progress_handler(lambda: steps.append(1), 100)
            reruns.alike(connection, EVERY)
            raw.set_progress_handler(None, 0)

        ledger.read(counted)
    return len(steps)


def test_twice_as_many_dismissed_rows_take_about_twice_as_long(tmp_path: Path) -> None:
    """In steps and not in seconds: no row looks through all decisions."""
    assert steps_of(tmp_path, 1000) < 3 * steps_of(tmp_path, 500)
