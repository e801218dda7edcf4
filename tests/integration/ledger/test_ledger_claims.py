"""Handing out rows: every row to one worker, once."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

import pytest
from acting import SPRING, Worker, begin, end, entry, keys, load, row, rows_of, set_row, states
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reelbatch.domain import FAILED, RowState
from reelbatch.ledger import Ledger, claims, reruns, waiting_rows
from reelbatch.ledger.attempts import Ending
from reelbatch.ledger.reruns import Selection

NAMES = [f"key-{number:03}" for number in range(1, 201)]


def spans(worker: Worker, rows_each: int, limit: int | None = None) -> list[tuple[int, int]]:
    """The claimable rows in parts."""
    return worker.ledger.read(lambda connection: claims.chunks(connection, worker.scope, rows_each, limit))


def claimable(worker: Worker) -> int:
    """Rows that this run may still take."""
    return worker.ledger.read(lambda connection: waiting_rows.claimable(connection, worker.scope))


@pytest.fixture
def two_tables(ledger_url: str) -> Iterator[tuple[Ledger, Ledger]]:
    """Two processes' views of one table."""
    with Ledger(ledger_url) as one, Ledger(ledger_url) as other:
        yield one, other


def take_all(worker: Worker, start: threading.Barrier) -> list[str]:
    """Claim seven rows at a time until there are none."""
    start.wait()
    taken: list[str] = []
    while part := worker.claim(7):
        taken += keys(part)
    return taken


def test_two_workers_never_get_the_same_row(two_tables: tuple[Ledger, Ledger]) -> None:
    """Workers that claim at the same time share the rows out without a double and without a gap."""
    load(two_tables[0], rows_of(*NAMES))
    start = threading.Barrier(4)
    workers = [begin(two_tables[number % 2], f"run-{number}") for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        taken = list(pool.map(lambda worker: take_all(worker, start), workers))
    assert sorted(chain.from_iterable(taken)) == NAMES
    for worker, rows in zip(workers, taken, strict=True):
        assert all(entry(worker.ledger, key)["run_id"] == worker.run_id for key in rows[:3])


def test_rows_come_in_the_manifests_order(ledger: Ledger) -> None:
    """Rows are handed out by row number, not by key."""
    load(ledger, rows_of("c", "a", "b"))
    assert keys(begin(ledger).claim(2)) == ["c", "a"]


def test_a_claim_keeps_to_its_span(ledger: Ledger) -> None:
    """Both ends of a span are included and nothing beside it is taken."""
    load(ledger, rows_of(*NAMES[:10]))
    assert keys(begin(ledger).claim(span=(3, 5))) == NAMES[2:5]


@pytest.mark.parametrize("state", sorted(set(RowState) - {RowState.PENDING}))
def test_only_pending_rows_are_handed_out(ledger: Ledger, state: RowState) -> None:
    """A row in any other state is no one's to claim."""
    load(ledger, rows_of("a"))
    set_row(ledger, "a", state=state, video_id="vid-1", rerun_wanted=True)
    assert begin(ledger).claim() == []
    assert begin(ledger, "run-2", rerun=True).claim() == []


def test_a_rerun_takes_only_what_was_asked_for(ledger: Ledger) -> None:
    """A rerun pays for the failed rows and for no others, and not for rows that have left the manifest."""
    load(ledger, rows_of("a", "b", "c"))
    set_row(ledger, "a", state="error", video_id="vid-1")
    set_row(ledger, "b", state="rejected")
    load(ledger, [row("b", 1), row("c", 2)])
    assert ledger.change(lambda connection: reruns.request(connection, Selection(batch=SPRING))) == 1
    worker = begin(ledger, rerun=True)
    assert claimable(worker) == 1
    assert keys(worker.claim()) == ["b"]
    assert (states(ledger)["a"], states(ledger)["c"]) == ("error", "pending")


def test_a_rerun_that_did_not_get_to_its_rows_goes_on(ledger: Ledger) -> None:
    """Asking again neither forgets nor doubles what an earlier rerun asked for, nor goes round in circles."""
    load(ledger, rows_of("a", "b"))
    set_row(ledger, "a", state="rejected")
    asked = [ledger.change(lambda connection: reruns.request(connection, Selection(batch=SPRING))) for _ in "12"]
    assert asked == [1, 0]
    first = begin(ledger, rerun=True)
    first.release(first.claim()[0], code="http_503")
    ledger.change(lambda connection: reruns.request(connection, Selection(batch=SPRING)))
    assert first.claim() == []
    assert keys(begin(ledger, "run-2", rerun=True).claim()) == ["a"]


@pytest.mark.parametrize("state", sorted(set(RowState) - FAILED - {RowState.IN_DOUBT}))
def test_a_rerun_never_takes_rows_that_are_held_or_unchecked(ledger: Ledger, state: RowState) -> None:
    """Rows under way would be paid for twice and invalid ones in vain: asking for them is an error."""
    unfit = {RowState.CLAIMED, RowState.SENDING, RowState.INVALID, RowState.PENDING}
    unfit |= {RowState.QUEUED, RowState.RENDERING, RowState.COMPLETE}  # a new video is a further generation
    if state in unfit:
        with pytest.raises(ValueError, match=f"no row in state {state}"):
            Selection(batch=SPRING, states=frozenset({state}))
    else:
        assert Selection(batch=SPRING, states=frozenset({state})).states == {state}


def test_a_rerun_by_key_and_by_error(ledger: Ledger) -> None:
    """Keys and error codes narrow a rerun down; keys that the batch lacks are named."""
    load(ledger, rows_of("a", "b", "c"))
    for key, code in (("a", "http_422"), ("b", "http_404"), ("c", "http_422")):
        set_row(ledger, key, state="rejected", error_code=code)
    chosen = Selection(batch=SPRING, error_codes=frozenset({"http_422"}), row_keys=("c", "b", "no one"))
    missing = ledger.read(lambda connection: reruns.unknown_keys(connection, chosen.batch, chosen.row_keys))
    assert missing == ["no one"]
    counts = reruns.by_failure(ledger.read(lambda connection: reruns.alike(connection, chosen)))
    assert [(count.state, count.error_code, count.rows, count.credits_estimated) for count in counts] == [
        ("rejected", "http_422", 1, 48)
    ]
    ledger.change(lambda connection: reruns.request(connection, chosen))
    assert keys(begin(ledger, rerun=True).claim()) == ["c"]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(taken=st.sets(st.integers(1, 30)), rows_each=st.integers(1, 12), limit=st.none() | st.integers(1, 40))
def test_chunks_cover_each_claimable_row_once(
    ledger: Ledger, taken: set[int], rows_each: int, limit: int | None
) -> None:
    """Whatever is claimable lies in one chunk, in order, up to the limit; what is not lies in none."""
    load(ledger, rows_of(*NAMES[:30]))
    ledger.change(
        lambda connection: connection.exec_driver_sql("UPDATE generations SET state = 'pending', run_id = NULL")
    )
    for number in taken:
        set_row(ledger, NAMES[number - 1], state="rejected")
    worker = Worker(ledger, "run-1")
    parts = spans(worker, rows_each, limit)
    handed_out = [keys(worker.claim(span=span)) for span in parts]
    free = [name for number, name in enumerate(NAMES[:30], start=1) if number not in taken]
    assert list(chain.from_iterable(handed_out)) == free[:limit]
    assert all(len(part) == rows_each for part in handed_out[:-1])


def test_a_run_never_claims_again_what_it_gave_back(ledger: Ledger) -> None:
    """A row whose retries are used up waits for the next run; this one would only go round in circles."""
    load(ledger, rows_of("a", "b"))
    worker = begin(ledger)
    first = worker.claim(1)[0]
    assert worker.release(first, code="http_503", message="busy")
    assert keys(worker.claim()) == ["b"]
    assert claimable(worker) == 0
    assert spans(worker, 10) == []
    assert entry(ledger, "a")["error_code"] == "http_503"
    assert keys(begin(ledger, "run-2").claim()) == ["a"]


def test_an_image_that_proved_unusable_makes_its_row_invalid(ledger: Ledger) -> None:
    """A row that could not be uploaded for its content is reported and not tried again."""
    load(ledger, rows_of("a"))
    worker = begin(ledger)
    assert worker.release(worker.claim()[0], code="image", message="no image", invalid=True)
    assert entry(ledger, "a")["state"] == "invalid"
    assert begin(ledger, "run-2").claim() == []


def test_a_row_of_someone_else_is_not_released(ledger: Ledger) -> None:
    """Giving back what another run took over meanwhile changes nothing."""
    load(ledger, rows_of("a"))
    worker, other = begin(ledger, "run-1"), begin(ledger, "run-2")
    taken = worker.claim()[0]
    worker.release(taken)
    other.claim()
    assert not worker.release(taken)
    assert entry(ledger, "a")["state"] == "claimed"
    assert entry(ledger, "a")["run_id"] == "run-2"


def test_a_row_under_way_is_not_released(ledger: Ledger) -> None:
    """While a request may have left, its row is not given back."""
    load(ledger, rows_of("a"))
    worker = begin(ledger)
    taken = worker.claim()[0]
    worker.intend(taken)
    assert not worker.release(taken)
    assert states(ledger) == {"a": "sending"}


def test_a_runs_end_returns_what_it_held(ledger: Ledger) -> None:
    """Claimed rows go back at the end; those under way, those answered and those of others stay."""
    load(ledger, rows_of("a", "b", "c", "d"))
    worker, other = begin(ledger, "run-1"), begin(ledger, "run-2")
    first, second, _ = worker.claim(3)
    other.claim()
    worker.send(first, Ending.SUBMITTED)
    worker.intend(second)
    assert ledger.change(lambda connection: claims.release_all(connection, [worker.run_id])) == [1]
    end(worker)
    assert states(ledger) == {"a": "queued", "b": "sending", "c": "pending", "d": "claimed"}
