"""Intents and answers: what each leaves in the row, the attempt, the batch's worst case and the run."""

from typing import Any

import pytest
from acting import (
    ESTIMATE,
    LEASE,
    SPRING,
    Worker,
    answer,
    attempt,
    begin,
    committed,
    die,
    entry,
    load,
    row,
    rows_of,
    run_entry,
    set_row,
    states,
    tell,
)
from sqlalchemy import update

from reelbatch.domain import RowState, Token, VideoId
from reelbatch.errors import LedgerError, StateConflict
from reelbatch.ledger import Ledger, attempts, queries, reruns, schema
from reelbatch.ledger.admission import Admission, Intent
from reelbatch.ledger.attempts import Ending
from reelbatch.ledger.intents import record_intents
from reelbatch.ledger.reruns import Selection

AFTER = {
    Ending.SUBMITTED: ("queued", 60, 0, 60),
    Ending.RETRY: ("claimed", 0, 0, 0),
    Ending.REJECTED: ("rejected", 0, 0, 0),
    Ending.IN_DOUBT: ("in_doubt", ESTIMATE, ESTIMATE, 0),
    Ending.HALTED: ("pending", 0, 0, 0),
    Ending.WITHDRAWN: ("pending", 0, 0, 0),
}
"""The row's state, the batch's worst case, and what the run holds back and has spent."""


@pytest.fixture
def worker(ledger: Ledger) -> Worker:
    """A run on a batch of three rows."""
    load(ledger, rows_of("a", "b", "c"))
    return begin(ledger)


def settled(ledger: Ledger, intent: Intent, final: int) -> None:
    """The video's final cost is known."""
    more = update(schema.attempts).where(schema.attempts.c.token == intent.token).values(credits_final=final)
    ledger.change(lambda connection: connection.execute(more))


def again_in_doubt(ledger: Ledger) -> None:
    """Someone asks for the rows in doubt to be sent again."""
    chosen = Selection(batch=SPRING, states=frozenset({RowState.IN_DOUBT}))
    assert ledger.change(lambda connection: reruns.request(connection, chosen)) == 1


def test_an_intent_is_on_disk_before_anything_leaves(worker: Worker) -> None:
    """Row, attempt, worst case and run know of a request before it is sent."""
    taken = worker.claim(1)[0]
    intent = worker.intend(taken)
    found, kept = entry(worker.ledger, "a"), attempt(worker.ledger, intent.token)
    assert (found["state"], found["token"], found["attempts"]) == ("sending", intent.token, 1)
    assert (kept["outcome"], kept["credits_reserved"], kept["run_id"]) == (None, ESTIMATE, worker.run_id)
    assert kept["started_at"] >= intent.at
    assert committed(worker.ledger) == ESTIMATE
    assert run_entry(worker)["reserved"] == ESTIMATE


@pytest.mark.parametrize("ending", Ending)
def test_every_ending_has_its_place(worker: Worker, ending: Ending) -> None:
    """The row moves, the attempt closes, and the credits are spent, held back or free, for each way to end."""
    charged = 60 if ending is Ending.SUBMITTED else None
    answered = {"status": 200, "credits_charged": charged, "code": "why", "message": "because"}
    intent = worker.send(worker.claim(1)[0], ending, **answered)
    state, worst, held, spent = AFTER[ending]
    kept, run = attempt(worker.ledger, intent.token), run_entry(worker)
    assert states(worker.ledger)["a"] == state
    assert committed(worker.ledger) == worst
    assert (run["reserved"], run["spent"]) == (held, spent)
    assert (kept["outcome"], kept["http_status"], kept["credits_charged"]) == (ending, 200, charged)
    assert kept["ended_at"] is not None
    failed = ending not in {Ending.SUBMITTED, Ending.WITHDRAWN}
    assert entry(worker.ledger, "a")["error_code"] == ("why" if failed else None)


@pytest.mark.parametrize("ending", Ending)
def test_the_same_answer_twice_counts_once(worker: Worker, ending: Ending) -> None:
    """An answer that is recorded again, because no one knows whether it was, changes nothing."""
    intent = worker.send(worker.claim(1)[0], ending)
    before = entry(worker.ledger, "a"), committed(worker.ledger), run_entry(worker)
    twice = [answer(intent, ending), answer(intent, ending)]
    worker.ledger.change(lambda connection: attempts.record_answers(connection, twice))
    assert (entry(worker.ledger, "a"), committed(worker.ledger), run_entry(worker)) == before


@pytest.mark.parametrize("charged", [0, 40, ESTIMATE, 60, None])
def test_the_charge_corrects_the_reservation(worker: Worker, charged: int | None) -> None:
    """The worst case follows what was charged upwards only: a lower figure may not be the last one."""
    worker.send(worker.claim(1)[0], credits_charged=charged)
    expected = max(ESTIMATE, charged or 0)
    assert committed(worker.ledger) == expected
    assert run_entry(worker)["spent"] == expected
    assert worker.ledger.read(lambda connection: queries.credits_of(connection, SPRING)).charged == expected


def test_each_retry_is_an_attempt_of_its_own(worker: Worker) -> None:
    """A second POST has its own token; the first stays in the books as not charged."""
    taken = worker.claim(1)[0]
    first = worker.send(taken, Ending.RETRY)
    second = worker.send(taken)
    assert attempt(worker.ledger, first.token)["outcome"] == "retry"
    assert entry(worker.ledger, "a")["attempts"] == 2
    assert entry(worker.ledger, "a")["token"] == second.token
    assert committed(worker.ledger) == ESTIMATE


def test_a_row_is_sent_by_its_holder_only_and_once(worker: Worker) -> None:
    """A second intent, or one of another run, is refused whole: no attempt, no credits."""
    first, second, _ = worker.claim()
    worker.intend(first)
    stranger = Worker(worker.ledger, "run-2")
    for intent in (worker.intent(first), stranger.intent(second)):
        with pytest.raises(StateConflict):
            worker.admit(intent)
    assert committed(worker.ledger) == ESTIMATE
    together = [worker.intent(second), worker.intent(first)]
    with pytest.raises(StateConflict, match="1 of 2 rows"):
        worker.ledger.change(lambda connection: record_intents(connection, together))
    assert states(worker.ledger)["b"] == "claimed"


def test_a_token_marks_one_attempt(worker: Worker) -> None:
    """A token that was used before is refused: an answer must find its own attempt."""
    first, second, _ = worker.claim()
    worker.intend(first, "rb_same")
    with pytest.raises(LedgerError):
        worker.admit(worker.intent(second, "rb_same"))
    assert states(worker.ledger)["b"] == "claimed"
    assert committed(worker.ledger) == ESTIMATE


def taken_over(worker: Worker) -> tuple[Intent, Worker]:
    """A worker dies within its first create; the one who sends that row again by consent."""
    early = worker.intend(worker.claim(1)[0])
    die(worker)
    worker.ledger.recover(LEASE)
    again_in_doubt(worker.ledger)
    return early, begin(worker.ledger, "run-2", rerun=True)


def test_an_id_for_a_row_that_was_taken_over_is_kept(worker: Worker) -> None:
    """Sent again by consent, and then the first id arrives: both ids and both charges are on record."""
    early, later = taken_over(worker)
    sent = later.send(later.claim(1)[0])
    assert not tell(worker.ledger, early)
    assert attempt(worker.ledger, early.token)["video_id"] == f"vid-{early.token}"
    assert entry(worker.ledger, "a")["video_id"] == f"vid-{sent.token}"
    assert committed(worker.ledger) == 2 * ESTIMATE


def test_a_late_answer_does_not_touch_the_attempt_under_way(worker: Worker) -> None:
    """While a row's second request is out, no answer to its first one frees or fails it."""
    early, later = taken_over(worker)
    later.intend(later.claim(1)[0])
    for ending in Ending:
        assert not tell(worker.ledger, early, ending)
        assert states(worker.ledger)["a"] == "sending"
    assert attempt(worker.ledger, early.token)["video_id"] == f"vid-{early.token}"
    assert committed(worker.ledger) == 2 * ESTIMATE


@pytest.mark.parametrize("ending", [ending for ending in Ending if ending is not Ending.SUBMITTED])
def test_an_id_that_is_known_is_not_taken_back(worker: Worker, ending: Ending) -> None:
    """An event names the id while the create still waits; however the create ends then, id and charge stay."""
    intent = worker.intend(worker.claim(1)[0])
    tell(worker.ledger, intent, credits_charged=60)
    assert not tell(worker.ledger, intent, ending)
    assert attempt(worker.ledger, intent.token)["video_id"] == f"vid-{intent.token}"
    assert states(worker.ledger)["a"] == "queued"
    assert committed(worker.ledger) == 60


def test_a_later_answer_without_a_figure_keeps_the_charge(worker: Worker) -> None:
    """The same id again, with less said about it, does not make its cost unknown."""
    intent = worker.send(worker.claim(1)[0], credits_charged=60)
    tell(worker.ledger, intent, credits_charged=None)
    assert committed(worker.ledger) == 60


def test_another_id_for_the_same_attempt_leaves_a_note(worker: Worker) -> None:
    """Where the id that someone typed was not the API's, the API's is kept and the other one mentioned."""
    intent = worker.send(worker.claim(1)[0], video_id=VideoId("typed"))
    tell(worker.ledger, intent, video_id=VideoId("answered"))
    assert attempt(worker.ledger, intent.token)["video_id"] == "answered"
    assert "typed" in attempt(worker.ledger, intent.token)["message"]
    assert committed(worker.ledger) == ESTIMATE


def test_what_was_cleared_up_as_not_created_is_not_doubted_again(worker: Worker) -> None:
    """A time-out says nothing new about an attempt that someone has looked up."""
    intent = worker.send(worker.claim(1)[0], Ending.IN_DOUBT)
    tell(worker.ledger, intent, Ending.RETRY)
    assert states(worker.ledger)["a"] == "pending"
    assert not tell(worker.ledger, intent, Ending.IN_DOUBT)
    assert attempt(worker.ledger, intent.token)["outcome"] == "retry"
    assert committed(worker.ledger) == 0


def test_an_answer_after_the_final_cost_changes_no_sum(worker: Worker) -> None:
    """The settled figure stands, whatever is recorded again."""
    intent = worker.send(worker.claim(1)[0], credits_charged=60)
    settled(worker.ledger, intent, 0)
    before = worker.ledger.read(lambda connection: queries.worst_case(connection, SPRING))
    tell(worker.ledger, intent, credits_charged=60)
    assert worker.ledger.read(lambda connection: queries.worst_case(connection, SPRING)) == before


def test_an_id_whose_attempt_the_table_lacks_is_kept(ledger: Ledger) -> None:
    """A table restored from a backup knows nothing of the attempt; its id goes to the attempts all the same."""
    load(ledger, rows_of("a"))
    worker = begin(ledger)
    intent = worker.intent(worker.claim()[0], "rb_unknown")
    assert not tell(ledger, intent, credits_charged=60)
    assert attempt(ledger, "rb_unknown")["video_id"] == "vid-rb_unknown"
    assert committed(ledger) == 60


@pytest.mark.parametrize(
    "odd",
    [
        {"credits_charged": 10**30},
        {"estimated_frame_cost": -(10**30)},
        {"message": "half \ud83c a character"},
        {"raw_body": "nul \x00 and \udfff"},
        {"status": 10**12},
    ],
    ids=lambda odd: next(iter(odd)),
)
def test_no_odd_answer_costs_us_its_id(worker: Worker, odd: dict[str, Any]) -> None:
    """Numbers without end, half characters and NUL are kept as far as they can be; the id is kept always."""
    intent = worker.send(worker.claim(1)[0], **odd)
    assert attempt(worker.ledger, intent.token)["video_id"] == f"vid-{intent.token}"
    assert states(worker.ledger)["a"] == "queued"
    assert committed(worker.ledger) == ESTIMATE


def test_an_id_with_half_a_character_is_kept_readable(worker: Worker) -> None:
    """An id is stored in a form that can be read and looked up by hand."""
    intent = worker.send(worker.claim(1)[0], video_id=VideoId("vid\ud83c"))
    assert attempt(worker.ledger, intent.token)["video_id"] == "vid\\ud83c"


def test_nothing_is_sent_for_an_unknown_row(worker: Worker) -> None:
    """A row that is not in the table can't be paid for."""
    taken = worker.claim(1)[0]
    set_row(worker.ledger, "a", row_key="renamed")
    with pytest.raises(StateConflict):
        worker.admit(worker.intent(taken, Token("rb_1")))


def test_a_refusal_that_comes_late_clears_the_doubt(ledger: Ledger) -> None:
    """The worker was taken for dead, and the API refused the create after all: no one need look for a video."""
    load(ledger, rows_of("a"))
    worker = begin(ledger)
    intent = worker.intend(worker.claim()[0])
    die(worker)
    ledger.recover(LEASE)
    assert states(ledger) == {"a": "in_doubt"}
    assert tell(ledger, intent, Ending.REJECTED, code="bad_request", message="no such model")
    assert states(ledger) == {"a": "rejected"}
    assert committed(ledger) == 0


def test_a_claim_of_what_the_row_asked_for_before_is_worth_nothing(ledger: Ledger) -> None:
    """Taken from a worker, changed by the manifest and claimed by the same worker again: only the new one is sent."""
    load(ledger, rows_of("a"))
    worker = begin(ledger)
    (old,) = worker.claim()
    die(worker)
    ledger.recover(LEASE)
    load(ledger, [row("a", 1, "Another prompt")])
    (new,) = worker.claim()
    with pytest.raises(StateConflict):
        worker.admit(worker.intent(old))
    assert worker.admit(worker.intent(new)) is Admission.ADMITTED
