"""What a report says to type next."""

from __future__ import annotations

from test_situations import run_of

from reelbatch.domain import RowState
from reelbatch.pipeline.advice import advice
from reelbatch.pipeline.hints import prefect_hints
from reelbatch.pipeline.next_step import next_step


def test_after_a_rerun_the_rows_that_it_never_takes_are_sent_by_generate() -> None:
    """The same command again would leave them once more."""
    states = {RowState.PENDING: 3}
    assert advice(run_of(states)) == ["3 rows are still to be sent: the same command again."]
    (line,) = advice(run_of(states, is_rerun=True))
    assert line == "3 rows are still to be sent: `reelbatch generate` with the manifest."


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
    assert next_step(some) == "reelbatch rerun   # 1 failed"


def test_in_prefect_the_next_step_is_a_command_of_prefects() -> None:
    """Complete, with the batch; a name that reads as a number stays a name."""
    lines = prefect_hints(run_of({RowState.QUEUED: 1, RowState.ERROR: 1}))
    assert lines == [
        "Failed rows again: prefect deployment run rerun/rerun --param batch=spring",
        "Videos to their end: prefect deployment run settle/settle --param batch=spring",
    ]
    assert all("--regenerate" not in line and "same command" not in line for line in lines)
