"""Runs that are to send a limited number of rows, and answers that come after someone gave up on them."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from acting import SPRING, answer, begin, entries, entry, load, row, set_row

from reelbatch.domain import RowKey, RowState
from reelbatch.ledger import Ledger, attempts, claims, in_doubt, reruns, samples, utc_now, waiting_rows
from reelbatch.ledger.attempts import Ending
from reelbatch.ledger.in_doubt import Decision, Verdict
from reelbatch.ledger.reruns import Selection


def _finished(ledger: Ledger, rows: int) -> None:
    load(ledger, [row(f"K{number}", number) for number in range(1, rows + 1)])
    for number in range(1, rows + 1):
        paid = {"video_id": f"v{number}", "credits_charged": 40, "token": f"rb_{number}"}
        set_row(ledger, f"K{number}", state=RowState.COMPLETE, **paid)


def _states(ledger: Ledger) -> list[str]:
    return [found["state"] for _, found in sorted(entries(ledger).items())]


def _ask(ledger: Ledger, limit: int) -> int:
    """As a rerun does."""
    exact = ledger.read(partial(reruns.choose, selection=Selection(batch=SPRING), limit=limit))
    return ledger.change(partial(reruns.request, selection=exact))


def test_a_limited_rerun_leaves_the_other_failed_rows_failed(ledger: Ledger) -> None:
    """They still count as failed, and another rerun finds them; rows that wait already count against the limit."""
    _finished(ledger, 4)
    for number in range(1, 5):
        set_row(ledger, f"K{number}", state=RowState.ERROR)
    assert [_ask(ledger, limit) for limit in (1, 1, 3)] == [1, 0, 2]
    assert _states(ledger) == ["pending", "pending", "pending", "error"]


def test_a_limited_rerun_asks_for_the_rows_that_its_preview_shows(ledger: Ledger) -> None:
    """The first by number, though an earlier rerun left a later one over; and the same ones when it is repeated."""
    load(ledger, [row(f"K{number}", number, credits_estimated=10**number) for number in (1, 2, 3)])
    for number in (1, 2, 3):
        set_row(ledger, f"K{number}", state=RowState.REJECTED)
    ledger.change(partial(reruns.request, selection=Selection(batch=SPRING, row_keys=(RowKey("K3"),))))
    for _ in range(2):
        exact = ledger.read(partial(reruns.choose, selection=Selection(batch=SPRING), limit=1))
        (shown,) = ledger.read(partial(reruns.alike, selection=exact))
        _ask(ledger, 1)
        assert (shown.rows, shown.credits_estimated) == (1, 10)
        assert _states(ledger) == ["pending", "rejected", "pending"]
        assert exact.row_keys == ("K1",)


@pytest.mark.parametrize("named", [0, 70_000])
def test_a_run_takes_none_but_the_rows_that_it_names(ledger: Ledger, named: int) -> None:
    """However long the list of their keys is: no database takes seventy thousand parameters."""
    load(ledger, [row("K1", 1), row("K2", 2)])
    for key in ("K1", "K2"):
        set_row(ledger, key, rerun_wanted=True)
    run = begin(ledger, rerun=True)
    scope = run.scope._replace(sample=tuple(RowKey(f"K{number}") for number in range(2, 2 + named)))
    of_scope = min(named, 1)
    assert ledger.read(partial(waiting_rows.claimable, scope=scope)) == of_scope
    assert len(ledger.read(partial(claims.chunks, scope=scope, rows_each=1, limit=None))) == of_scope
    (taken,) = ledger.change(partial(claims.claim, items=[claims.Claim(scope, (1, 10**6), 10)]))
    assert [each.row_key for each in taken] == ["K2"][:named]


def test_a_sample_may_be_larger_than_a_statement_takes_parameters(ledger: Ledger) -> None:
    """What became of it is looked up in parts."""
    _finished(ledger, 1)
    keys = [RowKey(f"K{number}") for number in range(70_000)]
    (found,) = ledger.read(partial(samples.outcomes, batch=SPRING, row_keys=keys))
    assert found.state is RowState.COMPLETE


def test_the_rows_that_were_named_are_taken_wherever_another_manifest_moves_them(ledger: Ledger) -> None:
    """Not those that have their numbers by then; keys may hold what SQL and drivers give a meaning to."""
    odd = 'it\'s 100% "a:b" \\ ? :c'
    load(ledger, [row("K1", 1), row(odd, 2)])
    run = begin(ledger)
    scope = run.scope._replace(sample=(RowKey(odd),))
    (span,) = ledger.read(partial(claims.chunks, scope=scope, rows_each=1, limit=None))
    load(ledger, [row("K0", 1), row("K1", 2), row(odd, 3)])
    (taken,) = ledger.change(partial(claims.claim, items=[claims.Claim(scope, span, 10)]))
    assert [each.row_key for each in taken] == [odd]


def test_an_id_that_comes_after_not_created_was_said_is_the_row_s_id(ledger: Ledger) -> None:
    """Someone said that there was no video, then the event for it came: the row is not sent and paid again."""
    load(ledger, [row("K1", 1)])
    worker = begin(ledger)
    intent = worker.intend(worker.claim()[0])
    ledger.change(partial(attempts.record_answers, items=[answer(intent, Ending.IN_DOUBT)]))
    (doubt,) = ledger.read(in_doubt.doubts)
    decision = Decision(doubt, Verdict.NOT_CREATED, "someone", utc_now(), intent.token)
    assert ledger.change(partial(in_doubt.decide, items=[decision])) == [True]
    assert entry(ledger, "K1")["state"] == "pending"
    assert ledger.change(partial(attempts.record_answers, items=[answer(intent)])) == [True]
    found = entry(ledger, "K1")
    assert (found["state"], found["video_id"]) == ("queued", f"vid-{intent.token}")


@pytest.mark.parametrize(
    "now",
    [{}, {"credits_estimated": 60}, {"problem": "no such image"}],
    ids=["as it was", "at another rate", "its image is gone"],
)
def test_an_id_that_comes_after_the_manifest_was_read_again_is_the_row_s_id(
    ledger: Ledger, now: dict[str, Any]
) -> None:
    """The row asks for what was asked for: the same holds, and a row that asks for something else is sent."""
    load(ledger, [row("K1", 1), row("K2", 2)])
    worker = begin(ledger)
    intents = [worker.intend(claimed) for claimed in worker.claim()]
    ledger.change(partial(attempts.record_answers, items=[answer(intent, Ending.IN_DOUBT) for intent in intents]))
    for doubt, intent in zip(ledger.read(in_doubt.doubts), intents, strict=True):
        decision = Decision(doubt, Verdict.NOT_CREATED, "someone", utc_now(), intent.token)
        assert ledger.change(partial(in_doubt.decide, items=[decision])) == [True]
    load(ledger, [row("K1", 1, **now), row("K2", 2, prompt="another")])
    late = [ledger.change(partial(attempts.record_answers, items=[answer(intent)])) for intent in intents]
    assert late == [[True], [False]]
    assert [entry(ledger, key)["state"] for key in ("K1", "K2")] == ["queued", "pending"]


def test_the_worker_s_answer_completes_what_an_event_could_not_know(ledger: Ledger) -> None:
    """The event was faster; the frame cost is only in the answer."""
    load(ledger, [row("K1", 1)])
    worker = begin(ledger)
    intent = worker.intend(worker.claim()[0])
    ledger.change(partial(attempts.record_answers, items=[answer(intent, credits_charged=None)]))
    ledger.change(
        partial(attempts.record_answers, items=[answer(intent, credits_charged=36, estimated_frame_cost=36)])
    )
    found = entry(ledger, "K1")
    assert (found["state"], found["credits_charged"], found["estimated_frame_cost"]) == ("queued", 36, 36)
