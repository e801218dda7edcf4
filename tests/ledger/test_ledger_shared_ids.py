"""One id for several rows does not go unnoticed."""

from __future__ import annotations

from acting import SPRING, answer, attempt, begin, committed, load, rows_of, states, tell

from reelbatch.domain import VideoId
from reelbatch.ledger import Ledger, sending
from reelbatch.ledger.shared_ids import SharedId, shared_ids


def told(ledger: Ledger) -> tuple[int, list[SharedId]]:
    """What the batch's report says."""
    return ledger.read(lambda connection: shared_ids(connection, SPRING, 10))


def test_an_id_that_another_row_has_is_kept_and_said(ledger: Ledger) -> None:
    """In the same group of answers or in a later one; every row keeps its id, and the books add up."""
    load(ledger, rows_of("a", "b", "c", "d"))
    worker = begin(ledger)
    intents = [worker.intend(taken) for taken in worker.claim()]
    same = [answer(intent, video_id=VideoId("vid-1")) for intent in intents[:3]]
    ledger.change(lambda connection: sending.record_answers(connection, same[:2]))
    ledger.change(lambda connection: sending.record_answers(connection, same[2:]))
    tell(ledger, intents[3])
    assert told(ledger) == (2, [SharedId(key, "vid-1", SPRING, "a") for key in ("b", "c")])
    assert set(states(ledger).values()) == {"queued"}
    assert "row a" in attempt(ledger, intents[2].token)["message"]
    assert attempt(ledger, intents[0].token)["message"] is None
    committed(ledger)


def test_the_same_answer_twice_is_no_other_row_s(ledger: Ledger) -> None:
    """An attempt is told its own id again."""
    load(ledger, rows_of("a"))
    worker = begin(ledger)
    intent = worker.send(worker.claim()[0])
    tell(ledger, intent)
    assert told(ledger) == (0, [])
