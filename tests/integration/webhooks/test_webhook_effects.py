"""Events about rows whose video is known: each changes what it says, once, in whatever order they come."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from itertools import permutations

import pytest
from sqlalchemy import update
from webhook_stories import (
    ESTIMATE,
    Receiving,
    attempt,
    entry,
    event,
    everything,
    intend,
    order_again,
    resend,
    signed,
    submit,
    tell,
    worst_case,
)

from reelbatch.domain import VideoId
from reelbatch.ledger import Ledger
from reelbatch.ledger.attempts import Ending
from reelbatch.ledger.schema import generations

FINAL = {"video.completed": "complete", "video.errored": "error"}


def test_a_video_that_starts_is_rendering(receiving: Receiving) -> None:
    """`video.started` moves a queued row on, and no credits."""
    intent = submit(receiving.ledger)
    assert receiving.send("video.started", intent) == 200
    assert entry(receiving.ledger)["state"] == "rendering"
    assert worst_case(receiving.ledger) == ESTIMATE


@pytest.mark.parametrize("started", [False, True])
def test_a_completed_video_settles_its_row(receiving: Receiving, *, started: bool) -> None:
    """State, size, frame rate and real cost are in the table, whether or not the start was told."""
    intent = submit(receiving.ledger)
    if started:
        receiving.send("video.started", intent)
    assert receiving.send("video.completed", intent) == 200
    found = entry(receiving.ledger)
    assert (found["state"], found["credits_charged"], found["credits_final"]) == ("complete", ESTIMATE, 38)
    assert (found["fps"], found["width"], found["height"]) == (24, 854, 480)
    assert found["settled_at"] is not None
    assert found["due_at"] is None
    assert worst_case(receiving.ledger) == 38


def test_a_failed_video_is_refunded(receiving: Receiving) -> None:
    """`video.errored` gives the credits back, and says why the video failed."""
    assert receiving.send("video.errored", submit(receiving.ledger)) == 200
    found = entry(receiving.ledger)
    assert (found["state"], found["credits_charged"], found["credits_final"]) == ("error", ESTIMATE, 0)
    assert (found["error_code"], found["error_message"]) == ("no_source_face", "No face was found")
    assert worst_case(receiving.ledger) == 0


def test_a_refund_that_is_told_later_counts(receiving: Receiving) -> None:
    """A failure that was told before its refund; told again with the first figure, it changes nothing more."""
    intent = submit(receiving.ledger)
    receiving.send("video.errored", intent, credits_charged=ESTIMATE)
    assert worst_case(receiving.ledger) == ESTIMATE
    receiving.send("video.errored", intent)
    assert (entry(receiving.ledger)["credits_final"], worst_case(receiving.ledger)) == (0, 0)
    receiving.send("video.errored", intent, credits_charged=ESTIMATE)
    assert (entry(receiving.ledger)["credits_final"], worst_case(receiving.ledger)) == (0, 0)
    assert (receiving.counts.applied, receiving.counts.repeated) == (2, 1)


@pytest.mark.parametrize("final", FINAL)
def test_an_event_told_again_changes_nothing(receiving: Receiving, final: str) -> None:
    """However often the API repeats itself, the money moves once; each repeat is accepted."""
    intent = submit(receiving.ledger)
    for kind in ("video.started", final):
        assert receiving.send(kind, intent) == 200
        after = everything(receiving.ledger)
        assert [receiving.send(kind, intent) for _ in range(3)] == [200, 200, 200]
        assert everything(receiving.ledger) == after
    assert (receiving.counts.applied, receiving.counts.repeated) == (2, 6)


@pytest.mark.parametrize("order", sorted(set(permutations(["video.started", "video.started", "video.completed"]))))
def test_the_order_of_events_does_not_matter(receiving: Receiving, order: tuple[str, ...]) -> None:
    """A start that is told late never undoes the end."""
    intent = submit(receiving.ledger)
    for kind in order:
        assert receiving.send(kind, intent) == 200
    assert entry(receiving.ledger)["state"] == "complete"
    assert worst_case(receiving.ledger) == 38


@pytest.mark.parametrize(("first", "second"), [tuple(FINAL), tuple(reversed(FINAL))])
def test_the_first_end_is_the_one_that_counts(receiving: Receiving, first: str, second: str) -> None:
    """A row that is settled stays as it is."""
    intent = submit(receiving.ledger)
    receiving.send(first, intent)
    after = everything(receiving.ledger)
    assert receiving.send(second, intent) == 200
    assert everything(receiving.ledger) == after


def test_the_payload_says_how_the_video_stands(receiving: Receiving) -> None:
    """An end whose payload says that the video still renders settles nothing: its figures are estimates."""
    intent = submit(receiving.ledger)
    assert receiving.send("video.completed", intent, status="rendering") == 200
    found = entry(receiving.ledger)
    assert (found["state"], found["credits_final"]) == ("rendering", None)


def test_a_final_figure_that_is_missing_leaves_the_charge(receiving: Receiving) -> None:
    """A video that is complete without a figure cost what was charged."""
    receiving.send("video.completed", submit(receiving.ledger), credits_charged=None)
    assert entry(receiving.ledger)["credits_final"] == ESTIMATE
    assert worst_case(receiving.ledger) == ESTIMATE


@pytest.mark.parametrize("fps", ["NaN", "Infinity", "-24", "1" + "0" * 400, "1" + "0" * 5000, '"fast"', "{}", "true"])
def test_a_figure_that_cannot_be_read_is_left_out(receiving: Receiving, fps: str) -> None:
    """The rest of the event counts."""
    stated = json.dumps(event("video.completed", submit(receiving.ledger)))
    body = stated.replace('"fps": 24', f'"fps": {fps}').encode()
    assert receiving.post(body, signed(body)) == 200
    found = entry(receiving.ledger)
    assert (found["state"], found["fps"], found["width"], found["credits_final"]) == ("complete", None, 854, 38)


def test_an_id_that_is_a_number_is_the_same_id(receiving: Receiving) -> None:
    """As in the answers to a create and a GET."""
    submit(receiving.ledger, "7")
    assert receiving.send("video.completed", id=7) == 200
    assert entry(receiving.ledger)["state"] == "complete"


def test_a_renamed_video_is_still_its_rows(receiving: Receiving) -> None:
    """Someone gave the video another name at the API: its id is enough."""
    submit(receiving.ledger)
    assert receiving.send("video.started", name="Our best one") == 200
    assert receiving.send("video.completed", name=None) == 200
    assert entry(receiving.ledger)["state"] == "complete"
    assert worst_case(receiving.ledger) == 38


def test_the_money_of_a_row_that_was_sent_again_follows_its_attempt(receiving: Receiving) -> None:
    """An event about an earlier video that comes again leaves the later one alone."""
    early = submit(receiving.ledger)
    assert receiving.send("video.completed", early) == 200
    later = resend(receiving.ledger, "rb_later_0123456789abc", order=order_again(receiving.ledger))
    tell(receiving.ledger, later, Ending.SUBMITTED, video_id=VideoId("vid-2"), credits_charged=ESTIMATE)
    assert receiving.send("video.completed", early) == 200
    assert attempt(receiving.ledger, early)["credits_final"] == 38
    found = entry(receiving.ledger)
    assert (found["state"], found["video_id"], found["credits_final"]) == ("queued", "vid-2", None)
    assert worst_case(receiving.ledger) == 38 + ESTIMATE
    assert receiving.counts.repeated == 1


@pytest.mark.parametrize(
    ("kind", "stated"),
    [
        ("video.completed", {}),
        ("video.completed", {"name": None}),
        ("video.errored", {"name": "Holiday rb_ffffffffffffffffffff"}),
        ("video.started", {"name": "rb_"}),
        ("image.completed", {}),
        ("video.canceled", {"id": 5}),
        ("audio.errored", {"status": None}),
    ],
)
def test_what_is_not_ours_is_ignored(receiving: Receiving, kind: str, stated: dict[str, object]) -> None:
    """The account's other videos, and events of other sorts, are accepted and leave no trace."""
    submit(receiving.ledger)
    before = everything(receiving.ledger)
    body = json.dumps(event(kind, video_id="another", **stated)).encode()
    assert receiving.post(body, signed(body)) == 204
    assert everything(receiving.ledger) == before
    assert (receiving.counts.ignored, receiving.counts.applied) == (1, 0)


def test_a_copy_of_a_video_is_not_the_rows_own(receiving: Receiving) -> None:
    """A copy made at the API carries the token too: the row keeps the video that it has."""
    intent = submit(receiving.ledger)
    before = everything(receiving.ledger)
    assert receiving.send("video.completed", intent, "the-copy") == 204
    assert everything(receiving.ledger) == before


def test_a_table_that_fails_asks_for_the_event_again(receive: Callable[..., Receiving], table: str) -> None:
    """503 while the table can't be written, so that the API tells it again; then it is recorded as if new."""
    with Ledger(f"{table}?timeout=0.05") as ledger:
        receiving = receive(ledger)
        intent = submit(ledger)
        with closing(sqlite3.connect(str(ledger.path), isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert receiving.send("video.completed", intent) == 503
            other.execute("ROLLBACK")
        assert entry(ledger)["state"] == "queued"
        assert receiving.send("video.completed", intent) == 200
        assert entry(ledger)["state"] == "complete"
        assert (receiving.counts.failed, receiving.counts.applied) == (1, 1)


def test_a_table_that_is_gone_is_not_acknowledged(receiving: Receiving) -> None:
    """Whatever is wrong with the database, no event is accepted."""
    intent = submit(receiving.ledger)
    with closing(sqlite3.connect(str(receiving.ledger.path))) as other:
        other.execute("DROP TABLE attempts")
    assert receiving.send("video.completed", intent) == 503


def test_a_row_that_is_gone_keeps_its_money(receiving: Receiving) -> None:
    """Where someone deleted or renamed the row, its attempt is settled all the same."""
    intent = submit(receiving.ledger)
    gone = update(generations).where(generations.c.row_key == "a").values(row_key="b")
    receiving.ledger.change(lambda connection: connection.execute(gone))
    assert receiving.send("video.completed", intent) == 200
    assert attempt(receiving.ledger, intent)["credits_final"] == 38
    assert worst_case(receiving.ledger) == 38


def test_an_unsent_row_has_no_events(receiving: Receiving) -> None:
    """An id of no one is not given to a row that has yet to be answered."""
    intend(receiving.ledger)
    assert receiving.send("video.started", name="a rb_other_0123456789") == 204
    assert entry(receiving.ledger)["state"] == "sending"
