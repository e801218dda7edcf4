"""A video that an earlier attempt of a row made after all: the row accepts it and is not paid for again."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from acting import (
    ESTIMATE,
    SPRING,
    Worker,
    attempt,
    begin,
    committed,
    end,
    entry,
    lines,
    load,
    row,
    rows_of,
    set_row,
    tell,
)
from sqlalchemy import update

from reelbatch.domain import Batch, RowState, VideoId
from reelbatch.ledger import Ledger, in_doubt, orders, reruns, settlements, undone_decisions, utc_now
from reelbatch.ledger.account_books import open_ends
from reelbatch.ledger.admission import Admission, Intent
from reelbatch.ledger.attempts import Ending
from reelbatch.ledger.due import Rendered, TakeUnrefunded, take_unrefunded
from reelbatch.ledger.in_doubt import Decision, Verdict
from reelbatch.ledger.reruns import Selection
from reelbatch.ledger.schema import attempts, schema_version
from reelbatch.ledger.selection import Regenerate
from reelbatch.ledger.settlements import Final
from reelbatch.ledger.undone_decisions import Undo

REFUSED = {"status": 500, "code": "http_500", "message": "no"}


@pytest.fixture
def worker(ledger: Ledger) -> Worker:
    """A run with one row."""
    load(ledger, rows_of("a"))
    return begin(ledger)


def tried_again(worker: Worker) -> tuple[Intent, Intent]:
    """The API said that the first request made nothing, and the second is under way."""
    (taken,) = worker.claim()
    first = worker.intend(taken)
    tell(worker.ledger, first, Ending.RETRY, **REFUSED)
    return first, worker.intend(taken)


def ended(ledger: Ledger, sent: Intent, state: RowState, *credits_left: int) -> None:
    """That attempt's video is looked at, once for each figure."""
    video = Rendered(SPRING, sent.row.row_key, VideoId(f"vid-{sent.token}"), sent.token, RowState.QUEUED)
    for left in credits_left:
        final = Final(row=video, state=state, at=utc_now(), credits_final=left)
        ledger.change(partial(settlements.record_finals, items=[final]))


def not_created(ledger: Ledger) -> bool:
    """Someone's word about the row in doubt."""
    (doubt,) = ledger.read(in_doubt.doubts)
    decision = Decision(doubt, Verdict.NOT_CREATED, "someone", utc_now(), doubt.token)
    return ledger.change(partial(in_doubt.decide, items=[decision]))[0]


def assert_has_the_video_of(ledger: Ledger, first: Intent) -> None:
    """The row waits for that video, has its token and its price, and is not sent again."""
    known = entry(ledger, "a")
    wanted = ("queued", f"vid-{first.token}", first.token, ESTIMATE, None)
    assert tuple(known[name] for name in ("state", "video_id", "token", "credits_charged", "error_code")) == wanted
    assert committed(ledger) == ESTIMATE
    load(ledger, rows_of("a"))
    assert begin(ledger, "later").claim() == []


@pytest.mark.parametrize("ending", [Ending.RETRY, Ending.REJECTED, Ending.HALTED, Ending.WITHDRAWN])
@pytest.mark.parametrize("is_early", [True, False])
def test_a_row_whose_last_request_made_nothing_accepts_the_video(
    ledger: Ledger, worker: Worker, ending: Ending, is_early: bool
) -> None:
    """Whether the id comes while the last request is under way or after its answer."""
    first, second = tried_again(worker)
    said = {} if ending is Ending.WITHDRAWN else REFUSED
    if is_early:
        assert not tell(ledger, first)
        assert entry(ledger, "a")["state"] == "sending"
    tell(ledger, second, ending, **said)
    if not is_early:
        assert tell(ledger, first)
    end(worker)
    assert_has_the_video_of(ledger, first)


def test_a_row_in_doubt_accepts_it_once_its_last_request_is_cleared_up(ledger: Ledger, worker: Worker) -> None:
    """Before that there may be a second video, whose charge someone has to look for."""
    first, second = tried_again(worker)
    tell(ledger, second, Ending.IN_DOUBT)
    end(worker)
    assert not tell(ledger, first)
    assert (entry(ledger, "a")["state"], committed(ledger)) == ("in_doubt", 2 * ESTIMATE)
    assert not_created(ledger)
    assert_has_the_video_of(ledger, first)


@pytest.mark.parametrize("state", [RowState.QUEUED, RowState.RENDERING, RowState.COMPLETE])
def test_a_decision_after_which_the_row_accepted_it_is_taken_back(
    ledger: Ledger, worker: Worker, state: RowState
) -> None:
    """Nothing was sent since, so the row is in doubt as it was; a video that is finished stays, and that is said."""
    first, second = tried_again(worker)
    tell(ledger, second, Ending.IN_DOUBT)
    end(worker)
    tell(ledger, first)
    before = entry(ledger, "a")
    assert not_created(ledger)
    set_row(ledger, "a", state=state)
    made = ledger.read(partial(undone_decisions.last_made, batch=SPRING))
    (problem,) = ledger.change(partial(undone_decisions.undo, items=[Undo(made[0], "someone", utc_now())]))
    if state is RowState.COMPLETE:
        assert problem is not None
        assert "reelbatch reconcile --batch spring --by-balance" in problem
        return
    assert (problem, entry(ledger, "a"), committed(ledger)) == (None, before, 2 * ESTIMATE)
    assert [video.token for video in looked_for(ledger)] == [first.token]
    assert not_created(ledger)
    assert_has_the_video_of(ledger, first)


def test_a_row_that_has_a_video_keeps_it(ledger: Ledger, worker: Worker) -> None:
    """The other id is kept with its attempt, and both charges are in the sums."""
    first, second = tried_again(worker)
    tell(ledger, second)
    assert not tell(ledger, first)
    assert (entry(ledger, "a")["video_id"], committed(ledger)) == (f"vid-{second.token}", 2 * ESTIMATE)
    assert attempt(ledger, first.token)["video_id"] == f"vid-{first.token}"


def looked_for(ledger: Ledger, after: timedelta = timedelta()) -> list[Rendered]:
    """Videos whose cost settle looks for, beside those that rows wait for."""
    item = TakeUnrefunded((SPRING,), utc_now() + after, 10, timedelta(seconds=5))
    return ledger.change(partial(take_unrefunded, items=[item]))[0]


@pytest.mark.parametrize(("state", "figure"), [(RowState.COMPLETE, ESTIMATE), (RowState.ERROR, 0)])
def test_a_video_beside_its_row_is_followed_to_its_final_figure(
    ledger: Ledger, worker: Worker, state: RowState, figure: int
) -> None:
    """Its refund counts, and nothing stays unsettled for good."""
    first, second = tried_again(worker)
    tell(ledger, second)
    assert looked_for(ledger) == []
    tell(ledger, first)
    (video,) = looked_for(ledger)
    assert (video.video_id, video.token, looked_for(ledger)) == (f"vid-{first.token}", first.token, [])
    (video,) = looked_for(ledger, timedelta(hours=1))  # it renders still
    own = Rendered(SPRING, second.row.row_key, VideoId(f"vid-{second.token}"), second.token, RowState.QUEUED)
    done = Final(row=own, state=RowState.COMPLETE, at=utc_now(), credits_final=ESTIMATE)
    ledger.change(partial(settlements.record_finals, items=[done]))
    final = Final(row=video, state=state, at=utc_now(), credits_final=figure)
    (refund,) = ledger.change(partial(settlements.record_refunds, items=[final]))
    assert refund == (ESTIMATE - figure, figure)
    assert (entry(ledger, "a")["video_id"], committed(ledger)) == (own.video_id, ESTIMATE + figure)
    assert ledger.read(lambda connection: open_ends(connection, [SPRING])) == (0, 0)
    assert looked_for(ledger, timedelta(days=2)) == []


def test_a_table_of_before_follows_the_videos_beside_its_rows(
    ledger: Ledger, worker: Worker, ledger_url: str
) -> None:
    """Once it is migrated; those that rows have are followed by their rows."""
    first, second = tried_again(worker)
    tell(ledger, second)
    tell(ledger, first)
    ledger.change(lambda connection: connection.execute(update(attempts).values(refund_due_at=None)))
    ledger.change(lambda connection: connection.execute(update(schema_version).values(version=6)))
    assert looked_for(ledger) == []
    with Ledger(ledger_url) as migrated:
        assert [video.token for video in looked_for(migrated)] == [first.token]


def test_a_row_that_asks_for_something_else_since_does_not_accept_it(ledger: Ledger, worker: Worker) -> None:
    """It was corrected, and another run has sent it: that video is of another request."""
    first = worker.send(worker.claim()[0], Ending.REJECTED, **REFUSED)
    end(worker)
    load(ledger, [row("a", 1, "Corrected")])
    later = begin(ledger, "run-2")
    later.send(later.claim()[0], Ending.REJECTED, **REFUSED)
    assert not tell(ledger, first)
    assert (entry(ledger, "a")["state"], committed(ledger)) == ("rejected", ESTIMATE)


@pytest.mark.parametrize("ending", [Ending.HALTED, Ending.REJECTED])
def test_another_run_in_between_changes_nothing(ledger: Ledger, worker: Worker, ending: Ending) -> None:
    """The account was dry, say, and nothing was made; the first run's video becomes known after that."""
    (taken,) = worker.claim()
    first = worker.intend(taken)
    tell(ledger, first, Ending.RETRY, **REFUSED)
    worker.release(taken, code="http_500", message="no")
    end(worker)
    other = begin(ledger, "run-2")
    other.send(other.claim()[0], ending, **REFUSED)
    end(other)
    assert tell(ledger, first)
    assert_has_the_video_of(ledger, first)


@pytest.mark.parametrize("charged", [0, None, ESTIMATE])
@pytest.mark.parametrize("refunded", [0, ESTIMATE // 2, ESTIMATE])
def test_a_video_that_failed_is_not_accepted_again(
    ledger: Ledger, worker: Worker, charged: int | None, refunded: int
) -> None:
    """It was the row's own, and a rerun asks for another one: a refusal of that leaves the row to be sent."""
    first = worker.send(worker.claim()[0], credits_charged=charged)
    end(worker)
    ended(ledger, first, RowState.ERROR, *dict.fromkeys([charged or 0, max(0, (charged or 0) - refunded)]))
    assert ledger.change(partial(reruns.request, selection=Selection(batch=SPRING))) == 1
    later = begin(ledger, "run-2", rerun=True)
    later.send(later.claim()[0], Ending.HALTED, **REFUSED)
    end(later)
    assert (entry(ledger, "a")["state"], attempt(ledger, first.token)["video_id"]) == (
        "pending",
        f"vid-{first.token}",
    )


def test_an_id_that_another_row_has_is_not_accepted(ledger: Ledger) -> None:
    """It is one video, and it is that row's."""
    load(ledger, rows_of("a", "b"))
    worker = begin(ledger)
    taken, other = worker.claim()
    worker.send(other, video_id=VideoId("shared"))
    first = worker.intend(taken)
    tell(ledger, first, Ending.RETRY, **REFUSED)
    worker.send(taken, Ending.REJECTED, **REFUSED)
    tell(ledger, first, video_id=VideoId("shared"))
    assert entry(ledger, "a")["state"] == "rejected"


@pytest.mark.parametrize("again_ended", [None, Ending.HALTED, Ending.REJECTED])
@pytest.mark.parametrize("since", [{}, {"prompt": "Corrected", "credits_estimated": 9}, {"problem": "no prompt"}])
def test_a_canceled_order_keeps_what_may_have_been_charged(
    ledger: Ledger, worker: Worker, again_ended: Ending | None, since: dict[str, Any]
) -> None:
    """Also where a rerun had asked for it again, and sent it or not: it can be cleared up as before.

    What a manifest has asked for since is not what is in doubt.
    """
    worker.send(worker.claim()[0])
    set_row(ledger, "a", state="complete")
    end(worker)
    load(ledger, rows_of("a"), Regenerate.ALL)
    order = ledger.read(partial(orders.open_order, batch=SPRING))
    again = begin(ledger, "run-2", order=order.order_id)
    doubtful = again.send(again.claim()[0], Ending.IN_DOUBT)
    end(again)
    known = lines(ledger, "a")[1]
    del known["attempts"]
    asked = Selection(batch=SPRING, states=frozenset({RowState.IN_DOUBT}))
    assert ledger.change(partial(reruns.request, selection=asked)) == 1
    if again_ended is not None:
        rerun = begin(ledger, "run-3", rerun=True)
        rerun.send(rerun.claim()[0], again_ended, **REFUSED)
        end(rerun)
    if since:
        load(ledger, [row("a", 1, **since)], Regenerate.ALL)
    _, dropped = ledger.change(partial(orders.cancel, batch=SPRING, at=utc_now()))
    (doubt,) = ledger.read(in_doubt.doubts)
    assert (dropped, doubt.token) == (0, doubtful.token)
    (_, line) = lines(ledger, "a")
    assert {name: line[name] for name in known} == known
    assert ledger.read(partial(orders.open_order, batch=SPRING)) is not None
    assert not_created(ledger)
    _, dropped = ledger.change(partial(orders.cancel, batch=SPRING, at=utc_now()))
    assert (dropped, entry(ledger, "a")["generation"]) == (1, 1)


@pytest.mark.parametrize("ending", [Ending.RETRY, Ending.REJECTED])
@pytest.mark.parametrize("is_early", [True, False])
def test_a_request_that_a_manifest_states_anew_goes_by_the_video_that_it_made(
    ledger: Ledger, worker: Worker, ending: Ending, is_early: bool
) -> None:
    """The manifest had another prompt in between, and the row forgot its request; the id came late."""
    (taken,) = worker.claim()
    first = worker.intend(taken)
    tell(ledger, first, ending, **REFUSED)
    if ending is Ending.RETRY:
        worker.release(taken, code="http_500", message="no")
    end(worker)
    load(ledger, [row("a", 1, "Another prompt")])
    if is_early:
        assert not tell(ledger, first)
    load(ledger, rows_of("a"))
    if not is_early:
        assert not tell(ledger, first)
    later = begin(ledger, "run-2")
    intent = later.intent(later.claim()[0])
    assert later.admit(intent) is Admission.MADE
    end(later)
    assert_has_the_video_of(ledger, first)
    # Under another name it is known to be paid for, as any other row's is.
    assert entry(ledger, "a")["request_sha256"] == intent.asked.request_sha256
    assert len(load(ledger, rows_of("a"), batch=Batch("summer")).held) == 1


def test_a_finished_video_that_came_cheaper_is_accepted(ledger: Ledger, worker: Worker) -> None:
    """Some models are charged by the frame, and settle lower than they begin."""
    first = worker.send(worker.claim()[0], Ending.REJECTED, **REFUSED)
    end(worker)
    load(ledger, [row("a", 1, "Another prompt")])
    tell(ledger, first)
    ended(ledger, first, RowState.COMPLETE, ESTIMATE - 10)
    load(ledger, rows_of("a"))
    later = begin(ledger, "run-2")
    assert later.admit(later.intent(later.claim()[0])) is Admission.MADE


def test_an_order_that_is_placed_anew_goes_by_a_video_of_the_one_that_was_dropped(
    ledger: Ledger, worker: Worker
) -> None:
    """Its request had made one after all, and both have one number."""
    worker.send(worker.claim()[0])
    set_row(ledger, "a", state="complete")
    end(worker)

    def ordered(name: str) -> Worker:
        load(ledger, rows_of("a"), Regenerate.ALL)
        return begin(ledger, name, order=ledger.read(partial(orders.open_order, batch=SPRING)).order_id)

    again = ordered("run-2")
    (taken,) = again.claim()
    refused = again.send(taken, Ending.RETRY, **REFUSED)
    again.release(taken, code="http_500", message="no")
    end(again)
    ledger.change(partial(orders.cancel, batch=SPRING, at=utc_now()))
    assert not tell(ledger, refused)
    anew = ordered("run-3")
    assert anew.admit(anew.intent(anew.claim()[0])) is Admission.MADE
    assert committed(ledger) == 2 * ESTIMATE


def test_another_request_does_not_go_by_it(ledger: Ledger, worker: Worker) -> None:
    """The manifest asks for something else for good."""
    first = worker.send(worker.claim()[0], Ending.REJECTED, **REFUSED)
    end(worker)
    load(ledger, [row("a", 1, "Another prompt")])
    assert not tell(ledger, first)
    later = begin(ledger, "run-2")
    second = later.send(later.claim()[0])
    assert (entry(ledger, "a")["token"], committed(ledger)) == (second.token, 2 * ESTIMATE)
