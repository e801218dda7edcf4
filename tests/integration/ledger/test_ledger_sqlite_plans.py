"""The questions that are asked again and again are answered from an index, however large the table."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from acting import SPRING, load, rows_of
from sqlalchemy import Connection, event

from reelbatch.domain import RowKey, RowState, RunId
from reelbatch.ledger import (
    Ledger,
    claims,
    due,
    earlier_attempts,
    in_doubt,
    paid_requests,
    queries,
    utc_now,
    waiting_rows,
)
from reelbatch.ledger.claims import Claim
from reelbatch.ledger.earlier_attempts import Line
from reelbatch.ledger.selection import Scope


@pytest.fixture
def ledger_url(tmp_path: Path) -> str:
    """Only SQLite explains itself in these words."""
    return f"sqlite:///{tmp_path / 'results.db'}"


def plan_of(ledger: Ledger, work: Callable[[Connection], Any]) -> str:
    """How SQLite goes about the statements of `work`."""
    seen: list[tuple[str, object]] = []

    def remember(_: object, __: object, statement: str, values: object, *___: object) -> None:
        seen.append((statement, values))

    engine = ledger._engine
    event.listen(engine, "before_cursor_execute", remember)
    ledger.change(work)
    event.remove(engine, "before_cursor_execute", remember)
    return "\n".join(
        str(line)
        for statement, values in seen
        for line in ledger.change(
            lambda connection, s=statement, v=values: connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {s}", v).all()
        )
    )


def test_the_claim_reads_only_pending_rows(ledger: Ledger) -> None:
    """However large the table, a claim looks at the pending rows of its span and at nothing else."""
    load(ledger, rows_of("a", "b"))
    for rerun in (False, True):
        item = Claim(Scope("spring", RunId("run-1"), rerun), (1, 2), 10)
        plan = plan_of(ledger, lambda connection, item=item: claims.claim(connection, [item]))
        assert "USING INDEX results_state (batch=? AND state=? AND row_number>? AND row_number<?)" in plan
        assert "SCAN generations" not in plan


def test_the_claim_of_named_rows_reads_only_those(ledger: Ledger) -> None:
    """However many wait beside them."""
    load(ledger, rows_of("a", "b"))
    item = Claim(Scope("spring", RunId("run-1"), sample=(RowKey("b"), RowKey("a"))), (1, 2), 10)
    plan = plan_of(ledger, lambda connection: claims.claim(connection, [item]))
    assert "sqlite_autoindex_generations_1 (batch=? AND row_key=?)" in plan
    assert "SCAN generations" not in plan


def test_an_earlier_attempts_video_is_looked_up_row_by_row(ledger: Ledger) -> None:
    """However many videos there are, and however many rows were refused at once."""
    load(ledger, rows_of("a", "b"))
    lines = {Line(SPRING, RowKey(key), 1): utc_now() for key in "ab"}
    plan = plan_of(ledger, lambda connection: earlier_attempts.accept(connection, lines))
    assert plan.count("attempts USING INDEX attempts_row (batch=? AND row_key=?)") == 2
    assert "attempts_video" not in plan
    assert "SCAN" not in plan


def test_recovery_reads_only_held_rows(ledger: Ledger) -> None:
    """Looking for dead workers costs nothing while no one holds anything."""
    load(ledger, rows_of("a"))
    plan = plan_of(ledger, lambda connection: claims.recover(connection, [RunId("run-1"), RunId("run-2")]))
    assert plan.count("USING INDEX results_held (run_id=?)") == 2
    assert "SCAN generations" not in plan
    assert "SCAN attempts" not in plan


def test_settling_reads_only_what_is_due(ledger: Ledger) -> None:
    """Rows that are due are found by time, without a sort."""
    load(ledger, rows_of("a"))
    plan = plan_of(ledger, lambda connection: connection.execute(due.due("spring", utc_now(), 10)).all())
    assert "results_due (batch=? AND due_at<?)" in plan
    assert "TEMP B-TREE" not in plan


def test_counting_what_is_left_reads_only_pending_rows(ledger: Ledger) -> None:
    """The question that is asked every second does not read the whole table."""
    load(ledger, rows_of("a"))
    scope = Scope("spring", RunId("run-1"))
    plan = plan_of(ledger, lambda connection: waiting_rows.claimable(connection, scope))
    assert "(batch=? AND state=?)" in plan


def test_counting_by_state_reads_an_index_and_no_rows(ledger: Ledger) -> None:
    """Each state is counted where the index has it, whatever else a row holds."""
    load(ledger, rows_of("a"))
    plan = plan_of(ledger, lambda connection: queries.counts(connection, "spring"))
    assert plan.count("USING COVERING INDEX results_state (batch=? AND state=?)") == len(RowState)


def test_the_owner_of_an_id_is_found_by_an_index(ledger: Ledger) -> None:
    """Each group of answers asks for it, and each report for the rows that share one."""
    load(ledger, rows_of("a"))
    plan = plan_of(ledger, lambda connection: in_doubt.owners_of(connection, "vid-1"))
    assert "USING INDEX attempts_video (video_id=?)" in plan
    plan = plan_of(ledger, lambda connection: paid_requests.shared_ids(connection, "spring", 10))
    assert "attempts_same (batch=?)" in plan
    assert "SCAN" not in plan
