"""The comparison can fail: it is given tables in which something is wrong."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from proof.checks import Table, finished, settled_accounts
from proof.runs import in_flight


def row(key: str, state: str, **more: Any) -> dict[str, Any]:
    """A generation."""
    return {"row_key": key, "state": state, "generation": 1, "token": f"rb_{key}", "video_id": None, **more}


def attempt(key: str, video_id: str | None, **more: Any) -> dict[str, Any]:
    """One POST."""
    known = {"token": f"rb_{key}", "row_key": key, "generation": 1, "video_id": video_id, "credits_reserved": 48}
    return {**known, **more}


def charge(key: str, video_id: str, **more: Any) -> dict[str, Any]:
    """What the books say of it."""
    return {"row": key, "token": f"rb_{key}", "video_id": video_id, "credits": 48, "refunded": 0, **more}


AGAIN = "rb_a2"
SOUND = Table(
    rows=[row("a", "complete", video_id="v1"), row("b", "in_doubt")],
    attempts=[attempt("a", "v1"), attempt("b", None)],
    runs=[{"run_id": "r", "ended_at": "now"}],
    batches=[{"worst_case": 96}],
)
BOOKS = [charge("a", "v1"), charge("b", "v2")]
ENDS = {"a": "complete", "b": "complete"}


def test_a_sound_table_passes() -> None:
    """A row in doubt whose token is known is accounted for."""
    assert settled_accounts(SOUND, BOOKS) == []
    assert finished(SOUND, BOOKS, ENDS) == []


@pytest.mark.parametrize(
    ("table", "books", "says"),
    [
        (SOUND, [*BOOKS, charge("a", "v3", token=AGAIN)], "the table knows no such attempt"),
        (replace(SOUND, attempts=[attempt("b", None)]), BOOKS, "video v1 of a: the table knows no such attempt"),
        (replace(SOUND, rows=[*SOUND.rows[:1], row("b", "pending")]), BOOKS, "video v2 of b is lost"),
        (replace(SOUND, rows=[*SOUND.rows[:1], row("b", "sending")]), BOOKS, "row b is left sending"),
        (replace(SOUND, rows=[*SOUND.rows[:1], row("b", "claimed")]), BOOKS, "row b is left claimed"),
        (replace(SOUND, batches=[{"worst_case": 48}]), BOOKS, "the worst case is 48, and the books say 96"),
        (replace(SOUND, runs=[{"run_id": "r", "ended_at": None}]), BOOKS, "run r was never closed"),
        (SOUND, [*BOOKS, charge("a", "v1")], "token rb_a was sent 2 times"),
    ],
)
def test_what_is_wrong_is_found(table: Table, books: list[dict[str, Any]], says: str) -> None:
    """A lost id, an unknown charge, a row that is held, too small a worst case, a run that never ended."""
    assert any(says in found for found in settled_accounts(table, books)), settled_accounts(table, books)


def test_a_row_that_is_paid_for_twice_is_found() -> None:
    """Two attempts of one generation with two videos; a refunded one does not count."""
    table = replace(SOUND, attempts=[*SOUND.attempts, attempt("a", "v3", token=AGAIN)], batches=[{"worst_case": 144}])
    again = charge("a", "v3", token=AGAIN)
    assert settled_accounts(table, [*BOOKS, again]) == ["row a, generation 1: paid for 2 times"]
    assert settled_accounts(table, [*BOOKS, {**again, "refunded": 48}]) == []


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (replace(SOUND, rows=[*SOUND.rows[:1], row("b", "rejected")]), "row b is rejected, and should be complete"),
        (replace(SOUND, rows=SOUND.rows[:1]), "row b is missing"),
        (replace(SOUND, attempts=[attempt("a", None), attempt("b", None)]), "id v1 of a is not in the table"),
        (replace(SOUND, batches=[{"worst_case": 144}]), "the worst case is 144"),
    ],
)
def test_unfinished_work_is_found(table: Table, says: str) -> None:
    """A row that is elsewhere, an id that is missing, credits that no one was charged."""
    assert any(says in found for found in finished(table, BOOKS, ENDS)), finished(table, BOOKS, ENDS)


@pytest.mark.parametrize(
    ("names", "rows"),
    [
        ("table.intents.write table.commit", 1),
        ("table.intents.write", 0),
        ("table.intents.write table.commit table.committed connection.send create.answered", 1),
        ("table.intents.write table.commit table.committed table.answers.write table.commit", 1),
        ("table.intents.write table.commit table.committed table.answers.write table.commit table.committed", 0),
        ("table.intents.write table.commit table.committed table.answers.write rescue.fsync rescue.synced", 0),
    ],
)
def test_a_row_may_be_in_doubt_only_between_intent_and_answer(names: str, rows: int) -> None:
    """More rows in doubt than that would be ids that were received and lost."""
    assert in_flight(names.split()) == rows
