"""Videos that are made anew: what is paid for stays, and the same words never pay for more than they said."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from acting import (
    ESTIMATE,
    SPRING,
    Worker,
    begin,
    committed,
    end,
    entries,
    entry,
    keys,
    lines,
    load,
    row,
    rows_of,
    set_row,
    states,
    tell,
)
from sqlalchemy import Connection, select

from reelbatch.domain import Row, RowState, VideoId
from reelbatch.errors import OrderOpen
from reelbatch.ledger import Ledger, orders, queries, reruns, settlements, utc_now, waiting_rows
from reelbatch.ledger.attempts import Ending
from reelbatch.ledger.due import Rendered, TakeUnrefunded, take_unrefunded
from reelbatch.ledger.orders import OpenOrder
from reelbatch.ledger.reruns import Selection
from reelbatch.ledger.schema import generations
from reelbatch.ledger.selection import Action, Regenerate
from reelbatch.ledger.settlements import Final

ALL, CHANGED, NONE = Regenerate.ALL, Regenerate.CHANGED, Regenerate.NONE
KEYS = ("a", "b", "c")


@pytest.fixture
def finished(ledger: Ledger) -> Ledger:
    """Three rows with their videos."""
    load(ledger, rows_of(*KEYS))
    worker = begin(ledger, "first")
    for taken in worker.claim():
        settle(ledger, worker.send(taken).token)
    return ledger


def settle(ledger: Ledger, token: str, state: RowState = RowState.COMPLETE, credits_final: int | None = None) -> None:
    """A video is finished."""
    found = next(line for line in ledger.read(_every) if line["token"] == token)
    rendered = Rendered(SPRING, found["row_key"], found["video_id"], token, RowState.QUEUED, found["generation"])
    final = Final(row=rendered, state=state, at=utc_now(), credits_final=credits_final)
    assert ledger.change(lambda connection: settlements.record_finals(connection, [final])) != [None]


def _every(connection: Connection) -> list[dict[str, Any]]:
    return [dict(found) for found in connection.execute(select(generations)).mappings()]


def order_of(ledger: Ledger) -> OpenOrder:
    """The open order."""
    found = ledger.read(lambda connection: orders.open_order(connection, SPRING))
    assert found is not None
    return found


def again(ledger: Ledger, name: str = "again") -> Worker:
    """A worker of the open order."""
    return begin(ledger, name, order=order_of(ledger).order_id)


def close(ledger: Ledger) -> bool:
    """The run is reported."""
    return ledger.change(lambda connection: orders.close(connection, SPRING, utc_now()))


def counts(ledger: Ledger, *rows: Row, **options: Any) -> dict[Action, int]:
    """What the manifest would come to."""
    found = load(ledger, list(rows), **options).counts
    return {count.action: count.rows for count in found}


def test_what_is_paid_for_is_shown_until_its_successor_has_an_id(finished: Ledger) -> None:
    """From the order to the new video: the row has an id at every moment, and both videos stay."""
    first = entry(finished, "a")["video_id"]
    load(finished, rows_of(*KEYS), ALL)
    seen = [entry(finished, "a")["video_id"]]
    worker = again(finished)
    taken = worker.claim()[0]
    seen.append(entry(finished, "a")["video_id"])
    intent = worker.intend(taken)
    seen.append(entry(finished, "a")["video_id"])
    assert seen == [first] * 3
    tell(finished, intent, video_id=VideoId("second"))
    assert entry(finished, "a")["video_id"] == "second"
    assert [line["video_id"] for line in lines(finished, "a")] == [first, "second"]
    assert [line["state"] for line in lines(finished, "a")] == ["complete", "queued"]
    assert entries(finished).keys() == set(KEYS)


def test_plain_generate_leaves_an_order_alone(finished: Ledger) -> None:
    """Anyone who runs every night neither pays for what someone ordered nor stands in its way."""
    load(finished, rows_of(*KEYS), ALL)
    assert counts(finished, *rows_of(*KEYS, "d")) == {Action.SKIP: 3, Action.SEND: 1}
    assert keys(begin(finished, "nightly").claim()) == ["d"]
    assert order_of(finished).count(RowState.PENDING) == 3


def test_the_same_words_go_on_with_an_order_and_never_extend_it(finished: Ledger) -> None:
    """Rows that came later, or have their new video, are not made again by it."""
    load(finished, rows_of(*KEYS), ALL)
    worker = again(finished)
    worker.send(worker.claim(1)[0])
    found = load(finished, rows_of(*KEYS, "d"), ALL)
    assert {count.action: count.rows for count in found.counts} == {Action.SKIP: 1, Action.SEND: 3}
    assert order_of(finished).rows == 3
    assert keys(again(finished, "later").claim()) == ["b", "c", "d"]
    assert [len(lines(finished, key)) for key in "abcd"] == [2, 2, 2, 1]


def test_a_limit_bounds_a_run_and_not_the_order(finished: Ledger) -> None:
    """`--limit 2` typed three times makes each row once more, and not two rows three times."""
    sent = []
    for turn in range(3):
        found = load(finished, rows_of(*KEYS), ALL, limit=2) if turn < 2 or _is_open(finished) else None
        if found is None:
            break
        announced = sum(count.rows for count in found.counts if count.action is Action.SEND)
        worker = again(finished, f"turn-{turn}")
        taken = worker.claim(2)
        assert len(taken) == announced == (2, 1)[turn]
        sent += [claimed.row_key for claimed in taken]
        for claimed in taken:
            settle(finished, worker.send(claimed).token)
        close(finished)
    assert sent == ["a", "b", "c"]
    assert [len(lines(finished, key)) for key in KEYS] == [2, 2, 2]


def _is_open(ledger: Ledger) -> bool:
    return ledger.read(lambda connection: orders.open_order(connection, SPRING)) is not None


def test_another_order_has_to_wait(finished: Ledger) -> None:
    """It is named, with what goes on with it; nothing is changed."""
    load(finished, rows_of(*KEYS), ALL, row_keys=("b",))
    for options in ({"regenerate": ALL}, {"regenerate": CHANGED}, {"regenerate": ALL, "row_keys": ("a",)}):
        with pytest.raises(OrderOpen, match=r"--regenerate all --rows b.* 0 of 1 rows have a new id, 1 pending"):
            load(finished, rows_of(*KEYS), **options)
    assert [len(lines(finished, key)) for key in KEYS] == [1, 2, 1]


def test_it_closes_once_every_row_has_a_new_id(finished: Ledger) -> None:
    """A new one is placed only then."""
    load(finished, rows_of("a", "b"), ALL)
    worker = again(finished)
    one, other = worker.claim()
    worker.send(one)
    assert not close(finished)
    worker.send(other)
    assert order_of(finished).is_done  # and open until it is reported
    assert close(finished)
    assert not _is_open(finished)


@pytest.mark.parametrize("ending", [Ending.REJECTED, Ending.IN_DOUBT])
def test_refused_and_doubtful_rows_keep_it_open(finished: Ledger, ending: Ending) -> None:
    """They count for status and exit code beside the first video, and a rerun finds the refused one."""
    load(finished, rows_of("a"), ALL)
    worker = again(finished)
    worker.send(worker.claim()[0], ending, code="x", message="why")
    assert not close(finished)
    assert states(finished)["a"] == "complete"
    assert finished.read(lambda connection: queries.counts(connection, SPRING))[RowState(ending.value)] == 1
    committed(finished)
    assert counts(finished, *rows_of("a"), regenerate=ALL) == {
        Action.FAILED if ending is Ending.REJECTED else Action.IN_DOUBT: 1
    }
    wanted = finished.change(lambda connection: reruns.request(connection, Selection(batch=SPRING)))
    assert wanted == (1 if ending is Ending.REJECTED else 0)
    if wanted:
        rerunning = begin(finished, "rerun", rerun=True)
        rerunning.send(rerunning.claim()[0])
        assert close(finished)


def test_what_was_not_sent_can_be_dropped(finished: Ledger) -> None:
    """What may have been charged stays, and keeps the order open until it is cleared up."""
    load(finished, rows_of(*KEYS), ALL)
    worker = again(finished)
    first, second, third = worker.claim()
    worker.send(first)
    worker.send(second, Ending.IN_DOUBT)
    worker.release(third)
    order, dropped = finished.change(lambda connection: orders.cancel(connection, SPRING, utc_now()))
    assert (order.count(RowState.PENDING), dropped) == (1, 1)
    assert [len(lines(finished, key)) for key in KEYS] == [2, 2, 1]
    assert order_of(finished).count(RowState.IN_DOUBT) == 1
    assert finished.change(lambda connection: orders.cancel(connection, SPRING, utc_now()))[1] == 0


def test_the_late_id_of_a_line_that_was_dropped_is_seen_beside_its_row(finished: Ledger) -> None:
    """It was refused and the order canceled, and its video exists all the same: it counts, is listed and followed."""
    load(finished, rows_of(*KEYS), ALL)
    worker = again(finished)
    refused = worker.send(worker.claim(1)[0], Ending.REJECTED, status=500, code="http_500", message="no")
    end(worker)
    finished.change(lambda connection: orders.cancel(connection, SPRING, utc_now()))
    assert len(lines(finished, "a")) == 1
    assert not tell(finished, refused)
    listed = finished.read(partial(queries.first_rows, batch=SPRING, limit=2))
    assert [(row["row_key"], row["state"]) for row in listed] == [
        ("a", "complete"),
        ("a", "beside"),
        ("b", "complete"),
    ]
    assert (listed[1]["video_id"], listed[1]["credits_charged"]) == (f"vid-{refused.token}", ESTIMATE)
    assert committed(finished) == 4 * ESTIMATE
    item = TakeUnrefunded((SPRING,), utc_now(), 10, timedelta(seconds=5))
    (followed,) = finished.change(partial(take_unrefunded, items=[item]))[0]
    assert (followed.token, followed.generation) == (refused.token, 2)
    final = Final(row=followed, state=RowState.COMPLETE, at=utc_now(), credits_final=ESTIMATE)
    finished.change(partial(settlements.record_refunds, items=[final]))
    assert finished.read(partial(queries.first_rows, batch=SPRING, limit=1))[1]["credits_final"] == ESTIMATE


def test_dropping_all_closes_it(finished: Ledger) -> None:
    """The next order is a new one."""
    load(finished, rows_of(*KEYS), ALL)
    assert finished.change(lambda connection: orders.cancel(connection, SPRING, utc_now()))[1] == 3
    assert not _is_open(finished)
    assert finished.change(lambda connection: orders.cancel(connection, SPRING, utc_now())) is None
    assert states(finished) == dict.fromkeys(KEYS, "complete")


def test_a_row_that_renders_joins_once_it_has_settled(ledger: Ledger) -> None:
    """What it costs is known before another video is ordered for it."""
    load(ledger, rows_of("a", "b"))
    worker = begin(ledger, "first")
    rendering, done = (worker.send(taken).token for taken in worker.claim())
    settle(ledger, done)
    assert counts(ledger, *rows_of("a", "b"), regenerate=ALL) == {Action.LATER: 1, Action.SEND: 1}
    assert keys(again(ledger).claim()) == ["b"]
    assert counts(ledger, *rows_of("a", "b"), regenerate=ALL)[Action.LATER] == 1
    settle(ledger, rendering)
    assert keys(again(ledger, "later").claim()) == ["a"]


def test_rows_that_left_the_manifest_are_not_made_again(finished: Ledger) -> None:
    """Neither by the order nor by a rerun."""
    load(finished, rows_of(*KEYS), ALL)
    load(finished, rows_of("a", "b"), ALL)
    assert keys(again(finished).claim()) == ["a", "b"]


def test_what_was_not_sent_is_made_as_the_manifest_says_now(finished: Ledger) -> None:
    """The first video stays as it was ordered."""
    changed = [row("a", 1, "Fast zoom"), *rows_of(*KEYS)[1:]]
    load(finished, changed, CHANGED)
    assert order_of(finished).rows == 1
    load(finished, [row("a", 1, "Slow spin"), *rows_of(*KEYS)[1:]])
    assert [line["prompt"] for line in lines(finished, "a")] == ["Slow pan", "Slow spin"]
    assert [taken.request.prompt for taken in again(finished).claim()] == ["Slow spin"]


def test_only_the_rows_that_are_named(finished: Ledger) -> None:
    """No others are sent, new ones neither; keys that the manifest lacks are told."""
    found = load(finished, rows_of(*KEYS, "d"), ALL, row_keys=("c", "no one"))
    assert found.unknown_keys == ["no one"]
    assert {count.action: count.rows for count in found.counts} == {
        Action.SKIP: 2,
        Action.SEND: 1,
        Action.NOT_CHOSEN: 1,
    }
    only = begin(finished, "only", order=order_of(finished).order_id)
    scope = only.scope._replace(only_order=True)
    assert finished.read(lambda connection: waiting_rows.claimable(connection, scope)) == 1


def test_rows_that_wait_are_not_counted_where_an_order_of_others_goes_on(ledger: Ledger) -> None:
    """It is for the rows that were named, in each of its runs."""
    load(ledger, rows_of("a", "b"))
    worker = begin(ledger, "first")
    for taken in worker.claim():
        settle(ledger, worker.send(taken).token)
    named = {"regenerate": ALL, "row_keys": ("a", "b")}
    every = rows_of("a", "b", "c", "d")
    assert counts(ledger, *every, **named) == {Action.SEND: 2, Action.NOT_CHOSEN: 2}
    run = Worker(ledger, begin(ledger, "second").run_id, order=order_of(ledger).order_id)
    run.send(run.claim(1)[0])
    assert counts(ledger, *every, **named)[Action.SEND] == 1


def test_rows_that_wait_unchanged_are_not_counted_where_others_are_named(ledger: Ledger) -> None:
    """Neither as sent nor in what it costs: a run takes none of them."""
    load(ledger, rows_of(*KEYS))
    worker = begin(ledger)
    settle(ledger, worker.send(worker.claim(1)[0]).token)
    new = row("a", 1, prompt="other")
    found = counts(ledger, new, *rows_of(*KEYS)[1:], regenerate=CHANGED, row_keys=("a",))
    assert found == {Action.SEND: 1, Action.NOT_CHOSEN: 2}


def test_the_money_counts_every_video(finished: Ledger) -> None:
    """The first one is paid for whatever becomes of the second."""
    before = committed(finished)
    load(finished, rows_of("a"), ALL)
    worker = again(finished)
    intent = worker.send(worker.claim()[0])
    assert committed(finished) == before + intent.reserve
    settle(finished, intent.token, RowState.ERROR, credits_final=0)
    assert committed(finished) == before
    by_model = finished.read(lambda connection: queries.credits_by_model(connection, SPRING))
    assert sum(money.worst_case for money in by_model.values()) == before


def test_an_earlier_video_that_failed_does_not_count_once_there_is_a_later_one(ledger: Ledger) -> None:
    """Status and exit code speak of rows, not of their history."""
    load(ledger, rows_of("a"))
    worker = begin(ledger, "first")
    token = worker.send(worker.claim()[0]).token
    load(ledger, rows_of("a"), ALL)
    settle(ledger, token, RowState.ERROR, credits_final=0)
    assert ledger.read(lambda connection: queries.counts(connection, SPRING)) == {
        RowState.ERROR: 1,
        RowState.PENDING: 1,
    }
    later = again(ledger)
    settle(ledger, later.send(later.claim()[0]).token)
    assert ledger.read(lambda connection: queries.counts(connection, SPRING)) == {RowState.COMPLETE: 1}
    assert ledger.change(lambda connection: reruns.request(connection, Selection(batch=SPRING))) == 0


def test_an_order_without_rows_is_none(ledger: Ledger) -> None:
    """Where nothing has a video yet, there is nothing to make again."""
    load(ledger, rows_of("a"), ALL)
    assert not _is_open(ledger)
    set_row(ledger, "a", state="rejected")
    load(ledger, rows_of("a"), ALL)
    assert not _is_open(ledger)


def test_rows_beside_an_order_are_as_the_manifest_says_now(finished: Ledger) -> None:
    """One row that was made again does not keep the others from being corrected."""
    load(finished, [*rows_of(*KEYS), row("d", 4)], ALL, row_keys=("a",))
    assert counts(finished, *rows_of(*KEYS), row("d", 4, "Slow spin")) == {Action.SKIP: 3, Action.SEND: 1}
    assert [taken.request.prompt for taken in begin(finished, "nightly").claim()] == ["Slow spin"]


def test_a_corrected_video_of_a_closed_order_is_announced_until_it_is_sent(finished: Ledger) -> None:
    """Also where the run that was to send it stopped, and where the manifest is as it was before."""
    load(finished, rows_of(*KEYS), ALL)
    worker = again(finished)
    for taken in worker.claim():
        settle(finished, worker.send(taken).token, RowState.ERROR if taken.row_key == "a" else RowState.COMPLETE)
    assert close(finished)
    corrected = [row("a", 1, "Corrected"), *rows_of(*KEYS)[1:]]
    plain = begin(finished, "plain").scope
    for manifest in (corrected, corrected, rows_of(*KEYS)):
        assert counts(finished, *manifest) == {Action.SEND: 1, Action.SKIP: 2}
        assert finished.read(partial(waiting_rows.claimable, scope=plain)) == 1
    last = begin(finished, "last")
    (taken,) = last.claim()
    last.send(taken)
    assert (taken.row_key, taken.generation) == ("a", 2)
    assert counts(finished, *rows_of(*KEYS)) == {Action.SKIP: 3}


@pytest.mark.parametrize("ending", [Ending.REJECTED, Ending.HALTED])
def test_what_a_rerun_left_of_a_closed_order_is_announced(finished: Ledger, ending: Ending) -> None:
    """The order is over: what fails after it is a row like any other, which a corrected manifest sends."""
    load(finished, rows_of(*KEYS), ALL)
    worker = again(finished)
    for taken in worker.claim():
        settle(finished, worker.send(taken).token, RowState.ERROR if taken.row_key == "a" else RowState.COMPLETE)
    assert close(finished)
    finished.change(partial(reruns.request, selection=Selection(batch=SPRING)))
    rerun = begin(finished, "rerun", rerun=True)
    rerun.send(rerun.claim()[0], ending, status=422, code="http_422", message="no")
    unchanged = {Action.FAILED: 1} if ending is Ending.REJECTED else {Action.SEND: 1}
    assert counts(finished, *rows_of(*KEYS)) == {**unchanged, Action.SKIP: 2}
    corrected = [row("a", 1, "Corrected"), *rows_of(*KEYS)[1:]]
    assert counts(finished, *corrected) == {Action.SEND: 1, Action.SKIP: 2}
    last = begin(finished, "last")
    assert [(taken.row_key, taken.request.prompt) for taken in last.claim()] == [("a", "Corrected")]


@pytest.mark.parametrize("problem", [None, "no prompt"])
@pytest.mark.parametrize("is_open", [True, False])
def test_what_a_rerun_asked_for_is_sent_as_the_manifest_says_now(
    finished: Ledger, problem: str | None, is_open: bool
) -> None:
    """The plan says what the row asks for by now, and so does the request; what fails its checks is not sent."""
    load(finished, rows_of(*KEYS), ALL)
    worker = again(finished)
    for taken in worker.claim():
        refused = is_open and taken.row_key == "a"
        ending = Ending.REJECTED if refused else Ending.SUBMITTED
        token = worker.send(taken, ending, **({"code": "http_422", "message": "no"} if refused else {})).token
        if not refused:
            settle(finished, token, RowState.ERROR if taken.row_key == "a" else RowState.COMPLETE)
    assert close(finished) is not is_open
    finished.change(partial(reruns.request, selection=Selection(batch=SPRING)))
    manifest = [row("a", 1, "Corrected", problem=problem), *rows_of(*KEYS)[1:]]
    action = Action.SEND if problem is None else Action.INVALID
    found = load(finished, manifest, ALL if is_open else NONE).counts
    assert {count.action: count.rows for count in found} == {action: 1, Action.SKIP: 2}
    run = again(finished, "last") if is_open else begin(finished, "last")
    assert [taken.request.prompt for taken in run.claim()] == (["Corrected"] if problem is None else [])
