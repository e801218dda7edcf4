"""What a report says to type next."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from test_situations import run_of

from reelbatch.cli.options import settings_of
from reelbatch.domain import Batch, RowState
from reelbatch.domain.budget import Budget
from reelbatch.errors import SettingsError
from reelbatch.ledger.budgets import BudgetLeft
from reelbatch.ledger.orders import OpenOrder
from reelbatch.pipeline.advice import advice, after_trial, not_exported
from reelbatch.pipeline.hints import prefect_hints
from reelbatch.pipeline.next_step import Stuck, Waiting, next_step
from reelbatch.pipeline.pilot import Pilot
from reelbatch.submit import ExitReason
from reelbatch.submit.refusals import UNKNOWN_RATE_CODE
from reelbatch.typed_options import MANIFEST, command, joined, noting, parted


def test_after_a_run_of_chosen_rows_the_others_are_sent_by_generate() -> None:
    """The same command again would leave them once more, and a rerun reads no manifest that was corrected."""
    states = {RowState.PENDING: 3, RowState.INVALID: 1}
    assert advice(run_of(states)) == [
        "3 rows are still to be sent: the same command again.",
        "Correct the invalid rows in the manifest and run the same command again.",
    ]
    generate = "`reelbatch generate MANIFEST --batch spring`"
    assert advice(run_of(states, chosen_only=True)) == [
        f"3 rows are still to be sent: {generate}.",
        f"Correct the invalid rows in the manifest and run {generate}.",
    ]
    assert prefect_hints(run_of(states))[0].endswith(", with this run's parameters.")
    doubtful = prefect_hints(run_of({RowState.IN_DOUBT: 1}), "sqlite:///t/r 1.db")
    assert any("reelbatch reconcile --results 'sqlite:///t/r 1.db' --batch" in line for line in doubtful)
    assert prefect_hints(run_of(states, chosen_only=True))[0].endswith(", with the manifest and the batch.")


def test_rows_of_unknown_rate_hide_no_others_that_are_to_be_sent() -> None:
    """Such as those that a limit left to the next run."""
    report = run_of({RowState.PENDING: 3}, unsent={UNKNOWN_RATE_CODE: 2})
    assert advice(report)[-1] == "1 row is still to be sent: the same command again."
    assert any("Rows still to be sent: 1." in line for line in prefect_hints(report))


def test_no_run_is_advised_that_would_send_nothing() -> None:
    """Rows dearer than a whole budget, of unknown rate, or that wait for the next month: not now."""
    states = {RowState.PENDING: 2}
    budget = Budget(100, "month")
    left = BudgetLeft(budget, "acc", budget.period(datetime(2026, 11, 27, tzinfo=UTC)), 0)
    dear = prefect_hints(run_of(states, too_dear_rows=2, too_dear=["a", "b"], budget=left, unsent={"too_dear": 2}))
    assert dear == ["2 cost more than the budget of a whole month (100 credits) and are never sent with it: a, b."]
    (unknown,) = prefect_hints(run_of(states, unsent={UNKNOWN_RATE_CODE: 2}))
    assert "`rate`" in unknown
    (waits,) = prefect_hints(run_of(states, exit_reason=ExitReason.BUDGET, message="2 wait until 1 December"))
    assert waits.startswith("2 wait until 1 December: ")


def test_after_a_pilot_corrected_rows_are_sent_by_what_sends_the_rest() -> None:
    """The same command again goes on with its sample, and sends no other row."""
    sample = Pilot(rows=2, complete=2, failed=0, open=0, credits_final=9, credits_estimated=9, rest=[])
    run = replace(run_of({RowState.COMPLETE: 2, RowState.INVALID: 1}), pilot=sample)
    corrected = "Correct the invalid rows in the manifest and run"
    assert advice(run, "reelbatch generate a.csv") == [f"{corrected} `reelbatch generate a.csv`."]
    assert advice(run) == [f"{corrected} the same command without --pilot."]


def test_a_table_that_lacks_answers_is_not_called_complete() -> None:
    """Where the disk is full neither the table nor its export is written."""
    whole, lacking = not_exported("No space.", is_complete=True), not_exported("No space.", is_complete=False)
    assert whole == "The results table is complete, but was not exported. No space."
    assert lacking == "The results were not exported. No space."


def test_dismissed_rows_are_not_asked_for_again() -> None:
    """No one is told to correct what was dismissed."""
    states = {RowState.REJECTED: 1, RowState.INVALID: 1}
    assert advice(run_of(states, dismissed=states)) == []
    assert prefect_hints(run_of(states, dismissed=states)) == []


def test_dismissed_rows_are_no_next_step_of_a_batch() -> None:
    """As `reelbatch runs` and `batches` show it."""
    states = {RowState.REJECTED: 2, RowState.INVALID: 1}
    assert next_step(run_of(states, dismissed=states).status) is None
    some = run_of(states, dismissed={RowState.REJECTED: 1, RowState.INVALID: 1}).status
    assert next_step(some) == "reelbatch rerun --batch spring   # 1 failed"


@pytest.mark.parametrize(
    ("waiting", "step"),
    [
        (Waiting(), "generate MANIFEST --batch spring   # 3 to send"),
        (Waiting(cap=500, why="done"), "generate MANIFEST --batch spring --max-credits 500   # 3 to send"),
        (Waiting(held=1), "generate MANIFEST --batch spring   # 2 to send"),
        (Waiting(held=3), "plan MANIFEST --batch spring   # 3 held: it names what has paid for them"),
        (Waiting(unknown_rate=3), "generate MANIFEST --batch spring --rate N   # 3 of unknown rate"),
        (Waiting(too_dear=3, why="budget", until="1 December"), "plan MANIFEST --batch spring   # 3 cost more"),
        (Waiting(why="budget", until="1 December"), "generate MANIFEST --batch spring   # 3 to send when the budget"),
        (
            Waiting(cap=500, why="cap"),
            "generate MANIFEST --batch spring --max-credits N   # 3 to send: the cap of",
        ),
        (Waiting(why="no_credits"), "generate MANIFEST --batch spring   # 3 to send, once the account is topped up"),
    ],
)
def test_rows_that_wait_are_sent_by_the_command_that_is_named(waiting: Waiting, step: str) -> None:
    """Not by the same again where that sends none of them; what can be done now comes before what has to wait."""
    states = {RowState.PENDING: 3}
    alone = next_step(run_of(states).status, waiting) or ""
    assert alone.startswith(f"reelbatch {step}")
    is_first = waiting.until is None and waiting.held + waiting.unknown_rate + waiting.too_dear < 3
    beside = next_step(run_of({**states, RowState.QUEUED: 1}).status, waiting)
    assert beside == (alone if is_first else "reelbatch settle --batch spring   # 1 not finished")


def test_in_prefect_the_next_step_is_a_command_of_prefects() -> None:
    """Complete, with the batch; a name that reads as a number stays a name."""
    lines = prefect_hints(run_of({RowState.QUEUED: 1, RowState.ERROR: 1}))
    assert lines == [
        "Failed rows again: prefect deployment run rerun/rerun --param batch=spring",
        "Videos to their end: prefect deployment run settle/settle --param batch=spring",
    ]
    assert all("--regenerate" not in line and "same command" not in line for line in lines)


def typed(*words: str, **options: Any) -> str:
    """A command as it is printed by one that was typed with these options."""
    with noting():
        with suppress(SettingsError):
            settings_of(options.pop("config", None), **options)
        return command(*words)


def test_nothing_is_repeated_that_was_not_typed() -> None:
    """Without options a command is short; outside of the command line none were typed."""
    assert typed("generate", MANIFEST, "--repeats", "send") == "reelbatch generate MANIFEST --repeats send"
    typed("settle", results="sqlite:///r.db")
    assert command("settle") == "reelbatch settle"


def test_a_printed_command_repeats_what_it_takes_of_what_was_typed() -> None:
    """The same table, API, cap and manifest, as a shell takes them."""
    stated = {"results": "sqlite:///my r.db", "base_url": "https://api.example.com", "max_credits": 500}
    manifest = typed("generate", MANIFEST, "--limit", "2", manifest="a b.csv", batch="spring", **stated)
    own = "--results 'sqlite:///my r.db' --batch spring"
    assert (
        manifest
        == f"reelbatch generate 'a b.csv' {own} --base-url https://api.example.com --max-credits 500 --limit 2"
    )
    assert typed("status", batch="spring", **stated) == f"reelbatch status {own}"
    assert typed("settle", batch="spring", **stated) == f"reelbatch settle {own} --base-url https://api.example.com"


def test_after_a_trial_the_same_is_named_for_the_real_api() -> None:
    """In the table of real runs; not where the trial itself was halted."""
    stated = {"sandbox": True, "results": "sqlite:///trial.db", "batch": "spring", "config": None}
    with noting():
        with suppress(SettingsError):
            settings_of(manifest="a.csv", **stated)
        live = command("generate", MANIFEST, "--limit", "5", live=True)
    assert live == "reelbatch generate a.csv --batch spring --limit 5"
    report = run_of({RowState.QUEUED: 5}, sent=5)
    (line,) = after_trial(report, live)
    assert f"`{live}` makes the real videos" in line
    assert after_trial(report, None) == []
    assert after_trial(run_of({}, exit_reason=ExitReason.INTERRUPTED), live) == []


@pytest.mark.parametrize(
    ("results", "base_url"),
    [
        ("postgresql://me:marked-4711@db/reel", None),
        ("postgresql://me@db/reel?sslpassword=marked-4711", None),
        (None, "https://me:marked-4711@api.example.com"),
    ],
)
def test_an_address_with_a_secret_is_not_repeated(results: str | None, base_url: str | None) -> None:
    """Better a command that has to be completed than a password on the screen."""
    assert typed("settle", results=results, base_url=base_url, batch="a b") == "reelbatch settle --batch 'a b'"


def order_of(**states: int) -> OpenOrder:
    """An order of `generate --regenerate all`, with lines in these states."""
    lines = {RowState(name): rows for name, rows in states.items()}
    at = datetime(2026, 11, 27, tzinfo=UTC)
    stated = {"order_id": 1, "batch": Batch("spring"), "placed_at": at, "placed_by": "anna"}
    return OpenOrder(selection='{"regenerate": "all", "rows": null}', rows=3, states=lines, **stated)


@pytest.mark.parametrize(
    ("order", "waiting", "step"),
    [
        ({"pending": 2}, {"cap": 500, "why": "done"}, "--regenerate all --max-credits 500   # 2 of an order to send"),
        (
            {"pending": 2},
            {"cap": 500, "why": "cap"},
            "--regenerate all --max-credits N   # 2 of an order to send: the",
        ),
        ({"pending": 2}, {"why": "budget", "until": "1 December"}, "--regenerate all   # 2 of an order to send when"),
        ({"pending": 2}, {"of_order": Stuck(held=1)}, "--regenerate all   # 1 of an order to send"),
        (
            {"pending": 2},
            {"of_order": Stuck(unknown_rate=2)},
            "--regenerate all --rate N   # 2 of an order of unknown",
        ),
        ({"pending": 1, "gone": {"pending": 1}}, {}, "--regenerate cancel   # 1 of an order left the manifest"),
        ({"pending": 3, "gone": {"pending": 1}}, {}, "--regenerate all   # 2 of an order to send"),
    ],
)
def test_what_waits_of_an_order_goes_on_as_other_rows_do(
    order: dict[str, Any], waiting: dict[str, Any], step: str
) -> None:
    """Under the cap of its last run, not while a budget is used up, and not by a command that sends none of it."""
    gone = {RowState(state): rows for state, rows in order.pop("gone", {}).items()}
    report = run_of({RowState(state): rows for state, rows in order.items()}, gone=gone)
    status = replace(report.status, order=replace(order_of(queued=1, **order), gone=gone))
    assert (next_step(status, Waiting(**waiting)) or "").startswith(
        f"reelbatch generate MANIFEST --batch spring {step}"
    )
    held = next_step(status, Waiting(of_order=Stuck(held=status.order.to_send)))
    assert gone or (held or "").startswith(
        "reelbatch plan MANIFEST --batch spring --regenerate all   # 2 of an order held"
    )


def test_a_row_to_send_is_not_taken_for_one_of_an_order() -> None:
    """Neither lines of an order whose rows left the manifest nor those that are held are taken off twice."""
    report = run_of({RowState.PENDING: 3}, gone={RowState.PENDING: 1}, held_rows=1)
    order = replace(order_of(queued=1, pending=2), gone={RowState.PENDING: 1}, held=1)
    report = replace(report, status=replace(report.status, order=order))
    assert (report.status.to_send, report.waiting) == (1, 1)


def test_in_prefect_an_order_of_doubts_is_not_said_to_go_on() -> None:
    """Its rows in doubt have a line of their own."""
    for states, goes_on in (({"in_doubt": 1}, False), ({"pending": 1}, True)):
        report = run_of({RowState(name): rows for name, rows in states.items()})
        status = replace(report.status, order=order_of(queued=2, **states))
        (line,) = [each for each in prefect_hints(replace(report, status=status)) if "An order is open" in each]
        assert line.endswith("The same parameters go on with it.") is goes_on


def test_an_order_names_what_ends_it() -> None:
    """Rows in doubt are no affair of the same command, nor of a cancel: only `reconcile` closes an order of those."""
    (done,) = order_of(queued=3).next_steps
    assert done == "`reelbatch generate MANIFEST --batch spring --regenerate all` sends nothing more and closes it"
    (doubt,) = order_of(queued=2, in_doubt=1).next_steps
    assert doubt.startswith("`reelbatch reconcile --batch spring` ")
    go_on, drop = order_of(queued=1, pending=2).next_steps
    assert go_on == "`reelbatch generate MANIFEST --batch spring --regenerate all` goes on with it"
    assert drop == "`reelbatch generate MANIFEST --batch spring --regenerate cancel` drops what it has not sent"
    assert (order_of(queued=2, in_doubt=1).goes_on, order_of(queued=1, pending=2).goes_on) == (False, True)
    rejected, _ = order_of(queued=1, rejected=1).next_steps
    assert rejected.startswith("`reelbatch rerun --batch spring` ")


@pytest.mark.parametrize("words", [["a"], ["a, b", "c"], ['24" wide', "a"], ['"x', 'y"'], ["ä b", "-1"], ['a,"b"']])
def test_what_is_joined_for_an_option_is_parted_again(words: list[str]) -> None:
    """Keys with commas and quotation marks among them."""
    assert parted(joined(words)) == words


@pytest.mark.parametrize(
    ("stated", "words"),
    [("a, b,,c", ["a", "b", "", "c"]), ('"a,b", c', ["a,b", "c"]), ('"x,y', ['"x', "y"]), ('"a" b', ['"a" b'])],
)
def test_only_whole_words_stand_in_quotation_marks(stated: str, words: list[str]) -> None:
    """Any other mark is a part of its word."""
    assert parted(stated) == words
