"""What someone says about a row in doubt, and what it takes to take it back."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from acting import (
    ESTIMATE,
    SPRING,
    Worker,
    answer,
    attempt,
    begin,
    committed,
    entry,
    load,
    row,
    rows_of,
    run_entry,
    set_row,
    states,
    tell,
)
from sqlalchemy import select, update

from reelbatch.domain import RowKey, RowState, Token, VideoId
from reelbatch.ledger import (
    Ledger,
    attempts,
    due,
    in_doubt,
    reruns,
    sent_again,
    settlements,
    undone_decisions,
    utc_now,
)
from reelbatch.ledger.admission import Intent
from reelbatch.ledger.attempts import Ending
from reelbatch.ledger.due import RefundLook, Rendered
from reelbatch.ledger.in_doubt import Decision, Found, Verdict
from reelbatch.ledger.schema import attempts as attempts_table
from reelbatch.ledger.schema import decisions
from reelbatch.ledger.selection import Action, Regenerate
from reelbatch.ledger.settlements import Final
from reelbatch.ledger.undone_decisions import Undo


@pytest.fixture
def worker(ledger: Ledger) -> Worker:
    """A run with three rows to send."""
    load(ledger, rows_of("a", "b", "c"))
    return begin(ledger)


def doubted(worker: Worker, rows: int = 1) -> list[Intent]:
    """Rows whose requests ended in no one knows what."""
    said: dict[str, Any] = {"code": "timeout", "message": "no answer", "raw_body": "odd", "status": 504}
    return [worker.send(taken, Ending.IN_DOUBT, **said) for taken in worker.claim(rows)]


def decide(ledger: Ledger, key: str, video_id: str | None = None, command: str = "c1") -> bool:
    """Someone's word about a row in doubt: its video's id, or that there is none."""
    doubt = next(found for found in ledger.read(in_doubt.doubts) if found.row_key == key)
    verdict = Verdict.NOT_CREATED if video_id is None else Verdict.FOUND
    known = {"video_id": VideoId(video_id) if video_id else None, "credits_charged": 40 if video_id else None}
    decision = Decision(doubt, verdict, "someone", utc_now(), doubt.token, command=command, **known)
    return ledger.change(partial(in_doubt.decide, items=[decision]))[0]


def undo(ledger: Ledger, key: str | None = None) -> list[str | None]:
    """Take the last decision back; what stood in the way of each row, None where nothing did."""
    made = ledger.read(
        lambda connection: undone_decisions.last_made(connection, SPRING, RowKey(key) if key else None)
    )
    items = [Undo(each, "someone", utc_now()) for each in made]
    return ledger.change(partial(undone_decisions.undo, items=items))


def standing(worker: Worker, intent: Intent) -> tuple[Any, ...]:
    """All that a decision may change: the row, its attempt, the money of batch and run."""
    run = run_entry(worker)
    money = committed(worker.ledger), run["reserved"], run["spent"]
    return entry(worker.ledger, intent.row.row_key), attempt(worker.ledger, intent.token), money


def kept(ledger: Ledger) -> list[dict[str, Any]]:
    """Every decision."""
    query = select(decisions).order_by(decisions.c.decision)
    return [dict(found) for found in ledger.read(lambda connection: connection.execute(query).mappings().all())]


@pytest.mark.parametrize("video_id", [None, "vid-1"])
def test_what_is_taken_back_never_was(worker: Worker, video_id: str | None) -> None:
    """Row, attempt and money are as before, both words stay on record, and the row can be decided anew."""
    (intent,) = doubted(worker)
    before = standing(worker, intent)
    assert decide(worker.ledger, "a", video_id)
    assert standing(worker, intent) != before
    assert undo(worker.ledger) == [None]
    assert standing(worker, intent) == before
    first, second = kept(worker.ledger)
    assert (first["video_id"], second["video_id"]) == (video_id, video_id)
    assert (second["verdict"], second["undoes"], second["token"]) == ("undone", first["decision"], intent.token)
    assert undo(worker.ledger) == []
    assert decide(worker.ledger, "a", "vid-2")
    assert entry(worker.ledger, "a")["video_id"] == "vid-2"


def test_a_row_whose_worker_died_is_in_doubt_again_as_it_was(worker: Worker) -> None:
    """An attempt that never had an answer has none again."""
    intent = worker.intend(worker.claim(1)[0])
    worker.ledger.change(lambda connection: attempts.record_answers(connection, [answer(intent, Ending.IN_DOUBT)]))
    before = standing(worker, intent)
    decide(worker.ledger, "a")
    assert undo(worker.ledger, "a") == [None]
    assert standing(worker, intent) == before


def test_what_one_command_decided_is_taken_back_together(worker: Worker) -> None:
    """A file with the wrong answers is one decision; an earlier command's is the next one to go."""
    doubted(worker, 3)
    decide(worker.ledger, "a", command="first")
    decide(worker.ledger, "b", command="second")
    decide(worker.ledger, "c", "vid-c", command="second")
    assert undo(worker.ledger) == [None, None]
    assert states(worker.ledger) == {"a": "pending", "b": "in_doubt", "c": "in_doubt"}
    assert undo(worker.ledger) == [None]
    assert set(states(worker.ledger).values()) == {RowState.IN_DOUBT}
    assert committed(worker.ledger) == 3 * ESTIMATE


def test_one_row_s_decision_is_taken_back_by_its_key(worker: Worker) -> None:
    """Whatever was decided about other rows since."""
    doubted(worker, 2)
    decide(worker.ledger, "a", command="first")
    decide(worker.ledger, "b", command="second")
    assert undo(worker.ledger, "a") == [None]
    assert states(worker.ledger) == {"a": "in_doubt", "b": "pending", "c": "pending"}


@pytest.mark.parametrize("now", ["claimed", "sending", "queued", "in_doubt"])
def test_what_was_sent_since_is_not_taken_back(worker: Worker, now: str) -> None:
    """A second request has left, or is about to: nothing changes, and the message says where the row stands."""
    doubted(worker)
    decide(worker.ledger, "a")
    again = begin(worker.ledger, "run-2")
    (taken,) = again.claim(1, (1, 1))
    if now != "claimed":
        intent = again.intend(taken)
        if now != "sending":
            tell(worker.ledger, intent, Ending.SUBMITTED if now == "queued" else Ending.IN_DOUBT)
    before = entry(worker.ledger, "a")
    (problem,) = undo(worker.ledger)
    assert problem is not None
    assert now in problem
    assert entry(worker.ledger, "a") == before
    assert len(kept(worker.ledger)) == 1
    committed(worker.ledger)


def test_a_row_that_waits_as_the_manifest_states_it_now_is_in_doubt_again(worker: Worker) -> None:
    """The line was replaced, nothing was sent: the attempt that may have been charged is not forgotten."""
    (intent,) = doubted(worker)
    decide(worker.ledger, "a")
    load(worker.ledger, [row("a", 1, "Another prompt"), *rows_of("x", "b", "c")[1:]])
    assert entry(worker.ledger, "a")["token"] is None
    assert undo(worker.ledger) == [None]
    found = entry(worker.ledger, "a")
    assert (found["state"], found["token"], found["prompt"]) == ("in_doubt", intent.token, "Slow pan")
    assert committed(worker.ledger) == ESTIMATE
    tell(worker.ledger, intent)
    counted = load(worker.ledger, [row("a", 1, "Another prompt"), *rows_of("x", "b", "c")[1:]])
    assert Action.CHANGED in {count.action for count in counted.counts}  # the video is that of the first prompt


def test_an_id_is_not_taken_back_once_a_further_video_was_ordered(worker: Worker) -> None:
    """The row would be in doubt beside it, and said to have made nothing it would be sent once more."""
    doubted(worker)
    decide(worker.ledger, "a", VideoId("found"))
    load(worker.ledger, rows_of("a", "b", "c"), Regenerate.ALL)
    assert undo(worker.ledger) == ["another video of it was ordered since"]


def test_what_the_api_said_since_stands(worker: Worker) -> None:
    """The late answer knows for sure that nothing was created; the row is not put in doubt again."""
    (intent,) = doubted(worker)
    decide(worker.ledger, "a")
    tell(worker.ledger, intent, Ending.RETRY)
    (problem,) = undo(worker.ledger)
    assert problem is not None
    assert states(worker.ledger)["a"] == RowState.PENDING
    assert committed(worker.ledger) == 0


def test_an_id_that_the_create_s_own_answer_brought_as_well_stays(worker: Worker) -> None:
    """Someone found it, then the answer came after all: that is no longer only someone's word."""
    (intent,) = doubted(worker)
    decide(worker.ledger, "a", "vid-1")
    tell(worker.ledger, intent, video_id=VideoId("vid-1"))
    (problem,) = undo(worker.ledger)
    assert problem is not None
    assert attempt(worker.ledger, intent.token)["video_id"] == "vid-1"


def test_an_id_of_a_settled_video_stays(worker: Worker) -> None:
    """Its final cost is known and it may be downloaded: no one makes it unknown again."""
    (intent,) = doubted(worker)
    decide(worker.ledger, "a", "vid-1")
    seen = Rendered(SPRING, RowKey("a"), VideoId("vid-1"), Token(intent.token), RowState.QUEUED)
    final = Final(row=seen, state=RowState.COMPLETE, at=utc_now(), credits_final=38)
    worker.ledger.change(partial(settlements.record_finals, items=[final]))
    (problem,) = undo(worker.ledger)
    assert problem is not None
    assert "complete" in problem
    assert entry(worker.ledger, "a")["video_id"] == "vid-1"


def test_a_settler_that_comes_late_adds_nothing(worker: Worker) -> None:
    """It asked about the id before that was taken back: a row in doubt has no final cost."""
    (intent,) = doubted(worker)
    decide(worker.ledger, "a", "vid-1")
    seen = Rendered(SPRING, RowKey("a"), VideoId("vid-1"), Token(intent.token), RowState.QUEUED)
    undo(worker.ledger)
    before = standing(worker, intent)
    final = Final(row=seen, state=RowState.COMPLETE, at=utc_now(), credits_final=38)
    assert worker.ledger.change(partial(settlements.record_finals, items=[final])) == [None]
    assert standing(worker, intent) == before


def test_a_settler_that_comes_late_leaves_another_id_alone(worker: Worker) -> None:
    """What the wrong video cost is not booked as the cost of the one that was found instead."""
    (intent,) = doubted(worker)
    decide(worker.ledger, "a", "vid-1")
    undo(worker.ledger)
    decide(worker.ledger, "a", "vid-2")
    before = standing(worker, intent)
    seen = Rendered(SPRING, RowKey("a"), VideoId("vid-1"), Token(intent.token), RowState.QUEUED)
    final = Final(row=seen, state=RowState.COMPLETE, at=utc_now(), credits_final=38)
    assert worker.ledger.change(partial(settlements.record_finals, items=[final])) == [None]
    assert standing(worker, intent) == before


def test_what_the_row_did_not_accept_is_no_decision_to_take_back(worker: Worker) -> None:
    """Someone else was faster: the word is on record, and undo goes to the one that counted."""
    doubted(worker)
    (doubt,) = worker.ledger.read(in_doubt.doubts)
    word = Decision(doubt, Verdict.NOT_CREATED, "someone", utc_now(), doubt.token, command="c1")
    assert worker.ledger.change(partial(in_doubt.decide, items=[word])) == [True]
    assert worker.ledger.change(partial(in_doubt.decide, items=[word])) == [False]
    assert undo(worker.ledger) == [None]
    assert undo(worker.ledger) == []


def test_a_further_generation_is_taken_back_and_no_other(ledger: Ledger) -> None:
    """The row's first video stays as it is, whatever is said about the one that is made anew."""
    from reelbatch.ledger import orders
    from reelbatch.ledger.selection import Regenerate

    load(ledger, rows_of("a"))
    worker = begin(ledger)
    worker.send(worker.claim()[0])
    set_row(ledger, "a", state=RowState.COMPLETE)
    load(ledger, rows_of("a"), Regenerate.ALL)
    order = ledger.read(lambda connection: orders.open_order(connection, SPRING))
    assert order is not None
    again = begin(ledger, "run-2", order=order.order_id)
    intent = again.send(again.claim()[0], Ending.IN_DOUBT)
    for video_id in (None, "vid-2"):
        decide(ledger, "a", video_id)
        assert undo(ledger) == [None]
        (doubt,) = ledger.read(in_doubt.doubts)
        assert (doubt.generation, doubt.token) == (2, intent.token)
        assert committed(ledger) == 2 * ESTIMATE
    decide(ledger, "a", "vid-2")
    ledger.change(lambda connection: orders.close(connection, SPRING, utc_now()))
    (problem,) = undo(ledger)  # no one would ever send what a closed order left behind
    assert problem is not None
    assert "order" in problem


def test_a_request_that_made_a_video_is_not_said_to_have_made_none(worker: Worker) -> None:
    """Whatever state its row is in: it does not become one that is sent."""
    (intent,) = doubted(worker)
    known = update(attempts_table).where(attempts_table.c.token == intent.token).values(video_id="vid-1")
    worker.ledger.change(lambda connection: connection.execute(known))
    assert not decide(worker.ledger, "a")
    assert entry(worker.ledger, "a")["state"] == "in_doubt"


def test_the_id_of_an_earlier_attempt_is_booked_on_the_run_that_made_it(worker: Worker) -> None:
    """Two attempts at one row are in doubt, each of another run: the sums of both runs stay what their own cost."""
    (first,) = doubted(worker)
    ledger = worker.ledger
    again = reruns.Selection(batch=SPRING, states=frozenset({RowState.IN_DOUBT}))
    ledger.change(partial(reruns.request, selection=again))
    later = begin(ledger, "run-2")
    (second,) = doubted(later)
    doubt = next(iter(ledger.read(in_doubt.doubts)))
    assert (doubt.token, doubt.run_id) == (second.token, "run-2")
    said = Decision(doubt, Verdict.FOUND, "someone", utc_now(), first.token, VideoId("early"), 60)
    ledger.change(partial(in_doubt.decide, items=[said]))
    assert [run_entry(run)["spent"] for run in (worker, later)] == [60, 0]
    assert committed(ledger) == 60 + ESTIMATE


def test_a_doubt_whose_row_moved_on_is_listed_as_it_was_and_cleared_up(worker: Worker) -> None:
    """The row waits as its manifest states it now: nothing that is said of the earlier request moves it."""
    (intent,) = doubted(worker)
    ledger = worker.ledger
    again = reruns.Selection(batch=SPRING, states=frozenset({RowState.IN_DOUBT}))
    ledger.change(partial(reruns.request, selection=again))
    load(ledger, [row("a", 1, "Another prompt"), *rows_of("x", "b", "c")[1:]])
    assert ledger.read(in_doubt.doubts) == []
    (doubt,) = ledger.read(sent_again.doubts)
    assert (doubt.token, doubt.prompt, doubt.credits_reserved) == (intent.token, "Slow pan", ESTIMATE)
    said = Decision(doubt, Verdict.NOT_CREATED, "someone", utc_now(), doubt.token)
    assert ledger.change(partial(in_doubt.decide, items=[said])) == [True]
    assert ledger.change(partial(in_doubt.decide, items=[said])) == [False]
    assert (ledger.read(sent_again.doubts), committed(ledger), states(ledger)["a"]) == ([], 0, "pending")
    assert undo(ledger) == [None]
    assert (ledger.read(sent_again.doubts), committed(ledger), states(ledger)["a"]) == ([doubt], ESTIMATE, "pending")
    assert undo(ledger) == []
    said = replace(said, at=utc_now())
    assert ledger.change(partial(in_doubt.decide, items=[said])) == [True]
    found = Found(SPRING, RowKey("a"), intent.token, VideoId("late"), 60, "someone", utc_now(), "c2")
    assert ledger.change(partial(in_doubt.book, items=[found])) == [True]
    assert ledger.change(partial(in_doubt.book, items=[found])) == [False]
    assert (committed(ledger), states(ledger)["a"], attempt(ledger, intent.token)["video_id"]) == (
        60,
        "pending",
        "late",
    )
    assert attempt(ledger, intent.token)["refund_due_at"] is not None  # what it costs in the end is asked for
    assert undo(ledger) == ["its attempt was answered since (submitted); what the API said stands"]
    later = utc_now() + timedelta(days=2)
    for unknown in (False, True):  # one that the API does not know is asked about for a day
        look = RefundLook(intent.token, later, unknown=unknown)
        ledger.change(partial(due.end_refund_looks, items=[look]))
        assert (attempt(ledger, intent.token)["refund_due_at"] is None) is unknown


def test_an_id_that_turns_up_is_that_of_a_row_that_still_asks_for_it(worker: Worker) -> None:
    """Said to have made nothing, not sent since: the row has its video and is not sent again."""
    (intent,) = doubted(worker)
    decide(worker.ledger, "a")
    found = Found(SPRING, RowKey("a"), intent.token, VideoId("late"), 60, "someone", utc_now(), "c2")
    assert worker.ledger.change(partial(in_doubt.book, items=[found])) == [True]
    assert (states(worker.ledger)["a"], entry(worker.ledger, "a")["video_id"]) == ("queued", "late")
    assert committed(worker.ledger) == 60
    (problem,) = undo(worker.ledger)
    assert problem is not None
