"""How a run or a settle ends, row by row of the table of situations and exit codes."""

from __future__ import annotations

from typing import Any

import pytest

from reelbatch.domain import Batch, Credits, RowState, RunId
from reelbatch.ledger.selection import RepeatPolicy
from reelbatch.pipeline.headline import headline
from reelbatch.pipeline.run_summary import RunReport
from reelbatch.pipeline.settle_report import SettleReport
from reelbatch.pipeline.situations import EXIT_CODES, Situation, situation_of
from reelbatch.pipeline.status import BatchStatus
from reelbatch.settle import SettleReason, SettleStats
from reelbatch.submit import ExitReason

S = Situation
QUEUED, INVALID = {RowState.QUEUED: 2}, {RowState.INVALID: 2}


def run_of(
    states: dict[RowState, int], *, gone: Any = None, dismissed: Any = None, sent: int = 0, **stated: Any
) -> RunReport:
    """The report of a run whose batch ended in these states."""
    status = BatchStatus(
        batch=Batch("spring"),
        rows=sum(states.values()),
        states=states,
        credits=Credits.of([0] * 7),
        by_model={},
        gone=gone or {},
        dismissed=dismissed or {},
    )
    usual: dict[str, Any] = {
        "exit_reason": ExitReason.DONE,
        "message": None,
        "unsent": {},
        "max_credits": None,
        "submitted": sent,
        "retries": 0,
        "credits_charged": 0,
        "submit_seconds": 0.0,
        "rows_per_second": 0.0,
    }
    return RunReport(batch=status.batch, run_id=RunId("r"), sent=sent, status=status, **{**usual, **stated})


@pytest.mark.parametrize(
    ("report", "situation", "code"),
    [
        (run_of(QUEUED, sent=2), S.DONE, 0),
        (run_of(QUEUED), S.NOTHING_TO_DO, 0),
        (run_of({}), S.NOTHING_TO_DO, 0),
        (run_of({RowState.PENDING: 2}, exit_reason=ExitReason.BUDGET), S.BUDGET_REACHED, 0),
        (run_of(QUEUED, exit_reason=ExitReason.DECLINED), S.DONE, 0),
        (run_of(QUEUED | INVALID, sent=2), S.WITH_FAILURES, 1),
        (run_of(QUEUED | INVALID), S.WITH_FAILURES, 1),
        (run_of(QUEUED | {RowState.REJECTED: 1}, sent=3), S.WITH_FAILURES, 1),
        (run_of({RowState.REJECTED: 1}, sent=1, submitted=0), S.WITH_FAILURES, 1),
        (run_of({RowState.ERROR: 1}), S.WITH_FAILURES, 1),
        (run_of({RowState.CANCELED: 1}), S.WITH_FAILURES, 1),
        (run_of({RowState.IN_DOUBT: 1}, sent=1), S.WITH_FAILURES, 1),
        (run_of({RowState.PENDING: 1}, held_rows=1), S.WITH_FAILURES, 1),
        (run_of({RowState.COMPLETE: 2}, changed_invalid=1), S.WITH_FAILURES, 1),
        (run_of({RowState.PENDING: 1}, held_rows=1, repeats=RepeatPolicy.SKIP), S.NOTHING_TO_DO, 0),
        (run_of(QUEUED | {RowState.PENDING: 1}, sent=2, unsent={"upload": 1}), S.WITH_FAILURES, 1),
        (run_of(QUEUED, sent=2, settled=SettleStats(polled=9, answers=9, unsettled=1)), S.WITH_FAILURES, 1),
        (run_of(QUEUED, sent=2, settled=SettleStats(polled=9, answers=9, downloads_failed=1)), S.WITH_FAILURES, 1),
        (run_of(QUEUED, settled=SettleStats(polled=2, answers=2, complete=2)), S.DONE, 0),
        (run_of({RowState.PENDING: 2}, exit_reason=ExitReason.BUDGET, unsent={"upload": 1}), S.WITH_FAILURES, 1),
        (run_of(INVALID), S.ALL_INVALID, 1),
        (run_of(INVALID, dismissed={RowState.INVALID: 1}), S.ALL_INVALID, 1),
        (run_of(INVALID, dismissed=INVALID), S.NOTHING_TO_DO, 0),
        (run_of(INVALID | {RowState.REJECTED: 1}, gone=INVALID | {RowState.REJECTED: 1}), S.NOTHING_TO_DO, 0),
        (run_of({RowState.ERROR: 2}, dismissed={RowState.ERROR: 1}, gone={RowState.ERROR: 1}), S.NOTHING_TO_DO, 0),
        *(
            (run_of(QUEUED, sent=sent, exit_reason=reason), S.HALTED, 3)
            for sent in (0, 2)
            for reason in set(ExitReason)
            - {ExitReason.DONE, ExitReason.BUDGET, ExitReason.DECLINED, ExitReason.INTERRUPTED}
        ),
        (run_of(QUEUED, sent=2, exit_reason=ExitReason.INTERRUPTED), S.INTERRUPTED, 130),
    ],
)  # fmt: skip
def test_a_run_ends_as_the_table_says(report: RunReport, situation: Situation, code: int) -> None:
    """Rows that left the manifest and dismissed rows count for nothing; a halt comes before what became of rows."""
    assert (situation_of(report), report.exit_code) == (situation, code)


def test_an_export_that_failed_is_a_failure_and_no_halt() -> None:
    """The rows are sent and written down: only the file is missing."""
    report = run_of(QUEUED, sent=2)
    assert situation_of(report, export_failed=True) is S.WITH_FAILURES
    assert headline(report, "the disk is full").endswith("; the table was not exported: the disk is full")


@pytest.mark.parametrize(
    ("stats", "more", "situation", "code"),
    [
        (SettleStats(), {}, S.NOTHING_TO_DO, 0),
        (SettleStats(polled=2, answers=2, complete=2), {}, S.DONE, 0),
        (SettleStats(downloaded=1), {}, S.DONE, 0),
        (SettleStats(polled=2, answers=2, error=1), {"failed_rows": 1}, S.WITH_FAILURES, 1),
        (SettleStats(polled=2, answers=2, error=1), {"failed_rows": 0}, S.DONE, 0),
        (SettleStats(polled=2, answers=2, unsettled=1), {}, S.WITH_FAILURES, 1),
        (SettleStats(polled=2, answers=1, unsettled=1, reason=SettleReason.TIMED_OUT), {}, S.WITH_FAILURES, 1),
        (SettleStats(polled=2, answers=2, complete=2), {"export_problem": "no room"}, S.WITH_FAILURES, 1),
        (SettleStats(polled=2, failed_polls=2, unsettled=2), {}, S.HALTED, 3),
        (SettleStats(polled=2, failed_polls=2, unsettled=2, reason=SettleReason.TIMED_OUT), {}, S.HALTED, 3),
        (SettleStats(polled=2, failed_polls=2, unsettled=2, reason=SettleReason.UNREACHABLE), {}, S.HALTED, 3),
        (SettleStats(polled=1, failed_polls=1, reason=SettleReason.BAD_KEY), {}, S.HALTED, 3),
        (SettleStats(reason=SettleReason.LEDGER_FAILED), {}, S.HALTED, 3),
        (SettleStats(reason=SettleReason.CRASHED), {}, S.HALTED, 3),
        (SettleStats(polled=1, reason=SettleReason.INTERRUPTED), {}, S.INTERRUPTED, 130),
    ],
)
def test_a_settle_ends_as_the_table_says(
    stats: SettleStats, more: dict[str, Any], situation: Situation, code: int
) -> None:
    """`failed_rows` are those that the manifest still has and that were not dismissed."""
    report = SettleReport(stats=stats, batches=(Batch("spring"),), **more)
    assert (report.situation, report.exit_code) == (situation, code)


def test_every_situation_has_an_exit_code() -> None:
    """None is left to chance."""
    assert set(EXIT_CODES) == set(Situation)


def test_a_headline_has_what_happened_the_counts_and_the_reason() -> None:
    """Anyone who is woken at 3 a.m. reads one line."""
    report = run_of(
        QUEUED | {RowState.PENDING: 10, RowState.REJECTED: 1},
        sent=3,
        submitted=2,
        exit_reason=ExitReason.SAME_FAILURE,
        message="status 422: no",
        unsent={"http_503": 4},
    )
    assert headline(report) == (
        "same_failure (status 422: no): 2 of 13 rows got their id in this run; "
        "spring: 2 queued, 10 pending, 1 rejected, given back: 4 http_503"
    )


def test_a_run_that_was_halted_before_its_manifest_was_read_says_nothing_of_the_manifest() -> None:
    """The manifest has rows: only the results table has none of them yet."""
    report = run_of({}, exit_reason=ExitReason.BAD_KEY, message="status 401")
    assert headline(report) == "bad_key (status 401): nothing was sent; spring: no rows in the results table yet"
