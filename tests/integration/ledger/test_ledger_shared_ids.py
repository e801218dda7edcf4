"""One id for several rows does not go unnoticed."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from acting import SPRING, answer, attempt, begin, committed, load, rows_of, states, tell
from databases import postgres_url
from sqlalchemy import Connection, text
from waiting import wait_until

from reelbatch.domain import VideoId
from reelbatch.ledger import Ledger, attempts
from reelbatch.ledger.paid_requests import SharedId, shared_ids

_WAITS = text("SELECT count(*) FROM pg_locks WHERE NOT granted")


def told(ledger: Ledger) -> tuple[int, list[SharedId]]:
    """What the batch's report says."""
    return ledger.read(lambda connection: shared_ids(connection, SPRING, 10))


def test_an_id_that_another_row_has_is_kept_and_said(ledger: Ledger) -> None:
    """In the same group of answers or in a later one; every row keeps its id, and the books add up."""
    load(ledger, rows_of("a", "b", "c", "d"))
    worker = begin(ledger)
    intents = [worker.intend(taken) for taken in worker.claim()]
    same = [answer(intent, video_id=VideoId("vid-1")) for intent in intents[:3]]
    ledger.change(lambda connection: attempts.record_answers(connection, same[:2]))
    ledger.change(lambda connection: attempts.record_answers(connection, same[2:]))
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


def waits(ledger: Ledger) -> bool:
    """Whether a transaction waits for another."""
    return bool(ledger.read(lambda connection: connection.scalar(_WAITS)))


@pytest.fixture
def url() -> str:
    """An empty schema on Postgres, where two may write at once."""
    return postgres_url()


def test_two_workers_told_one_id_at_one_moment_see_each_other(url: str) -> None:
    """The second has its answer before the first has committed: the one id is noticed all the same."""
    with Ledger(url) as ledger, Ledger(url) as other, Ledger(url) as watching, ThreadPoolExecutor(1) as thread:
        load(ledger, rows_of("a", "b"))
        worker = begin(ledger)
        first, second = [answer(worker.intend(taken), video_id=VideoId("vid-1")) for taken in worker.claim()]

        def tell_both(connection: Connection) -> Future[list[bool]]:
            attempts.record_answers(connection, [first])
            theirs = thread.submit(other.change, lambda connection: attempts.record_answers(connection, [second]))
            wait_until(lambda: theirs.done() or waits(watching), "the second worker is at it too")
            return theirs

        assert ledger.change(tell_both).result() == [True]
        assert told(ledger) == (1, [SharedId("b", "vid-1", SPRING, "a")])
