"""Everything goes wrong at once, and the books still agree with the table."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from bench import PRICE, Bench, assert_books_agree
from proof.histories import judge, read

from reelbatch.sandbox import RunningSandbox
from reelbatch.sandbox.faults import CREATE_KINDS, FAULTS, FaultKind

HALTING = {kind for kind in CREATE_KINDS if FAULTS[kind].status in {401, 402}}
STALLING = {FaultKind.STALL_BEFORE, FaultKind.STALL_AFTER}
KINDS = sorted(CREATE_KINDS - HALTING)
CERTAIN = [
    FaultKind.RATE_LIMITED,
    FaultKind.SERVER_ERROR,
    FaultKind.BAD_GATEWAY,
    FaultKind.UNAVAILABLE,
    FaultKind.FORBIDDEN,
    FaultKind.INVALID,
]


def books_of(bench: Bench, sandbox: RunningSandbox) -> list[dict[str, Any]]:
    """The charges of this bench's rows."""
    return [charge for charge in sandbox.books()["charges"] if str(charge["row"]).startswith(bench.batch)]


@pytest.mark.parametrize("seed", [1, 2])
def test_a_mix_of_all_faults_is_paid_for_once(bench: Bench, sandbox: RunningSandbox, seed: int) -> None:
    """Every kind of fault over 150 rows, then the same command again until nothing is pending."""
    share = {kind: 0.008 if kind in STALLING else 0.02 for kind in KINDS}
    sandbox.set_faults(share=share, seed=seed, retry_after_s=0, stall_seconds=60)
    told = {"request_timeout_s": 2.0, "concurrency": 24, "history": bench.folder / "history.jsonl"}
    report = bench.generate(bench.rows(150), **told)
    assert_books_agree(bench, sandbox, report)
    sandbox.set_faults()
    again = bench.generate(bench.rows(150), **told)
    assert_books_agree(bench, sandbox, again)
    assert set(bench.states()) <= {"queued", "in_doubt", "rejected"}
    assert bench.states()["queued"] > 60
    judgement = judge(read([bench.folder / "history.jsonl"]), books_of(bench, sandbox))
    assert judgement.contradictions == []
    assert (judgement.counts["runs"], judgement.counts["rows"]) == (2, 150)


def test_without_doubt_the_books_are_equal(bench: Bench, sandbox: RunningSandbox) -> None:
    """Faults that surely charge nothing leave nothing in doubt, and estimated equals charged."""
    sandbox.set_faults(share=dict.fromkeys(CERTAIN, 0.06), seed=3, retry_after_s=0)
    report = bench.generate(bench.rows(150))
    assert_books_agree(bench, sandbox, report)
    assert report.status.credits.in_doubt == 0
    assert report.status.credits.worst_case == PRICE * bench.states()["queued"]


def test_server_errors_that_charged_all_the_same_are_held(bench: Bench, sandbox: RunningSandbox) -> None:
    """`server_errors: hold` for those who do not trust an error to mean that nothing was charged."""
    kinds = ["server_error", "bad_gateway", "unavailable"]
    sandbox.set_faults(share=dict.fromkeys(kinds, 0.1), charge_anyway=kinds, seed=4)
    report = bench.generate(bench.rows(60), server_errors="hold")
    assert_books_agree(bench, sandbox, report)
    assert report.status.credits.in_doubt > 0
    assert bench.states().keys() == {"queued", "in_doubt"}


def test_each_attempt_has_its_own_token_and_is_kept(bench: Bench, sandbox: RunningSandbox) -> None:
    """A row that needed three attempts has three tokens in `attempts`, and its video carries the last one."""
    manifest = bench.rows(10)
    key = manifest["row_key"][4]
    sandbox.set_faults(match=[{"text": key, "kind": "unavailable", "times": 2}])
    bench.generate(manifest)
    tried = [attempt for attempt in bench.attempts() if attempt["row_key"] == key]
    assert [attempt["outcome"] for attempt in tried] == ["retry", "retry", "submitted"]
    assert [attempt["http_status"] for attempt in tried] == [503, 503, 200]
    assert len({attempt["token"] for attempt in bench.attempts()}) == 12
    (charge,) = (charge for charge in bench.charges(sandbox) if charge["row"] == key)
    (row,) = (row for row in bench.table() if row["row_key"] == key)
    assert charge["token"] == row["token"] == tried[-1]["token"]
    assert (row["attempts"], row["error_message"]) == (3, None)


def test_a_row_whose_attempts_are_used_up_is_sent_by_the_next_run(bench: Bench, sandbox: RunningSandbox) -> None:
    """It stays pending with its reason; the others are done; nothing was charged for it."""
    manifest = bench.rows(10)
    key = manifest["row_key"][4]
    sandbox.set_faults(match=[{"text": key, "kind": "unavailable"}])
    report = bench.generate(manifest, retry_attempts=3)
    (row,) = (row for row in bench.table() if row["row_key"] == key)
    assert (row["state"], row["error_code"], row["attempts"]) == ("pending", "http_503", 3)
    assert "overloaded" in row["error_message"]
    assert (report.exit_code, report.unsent) == (1, {"http_503": 1})
    assert_books_agree(bench, sandbox, report)
    sandbox.set_faults()
    assert bench.generate(manifest).exit_code == 0
    assert bench.states() == {"queued": 10}
    assert Counter(charge["row"] for charge in bench.charges(sandbox)).most_common(1)[0][1] == 1


def test_one_bad_row_never_stops_the_others(bench: Bench, sandbox: RunningSandbox) -> None:
    """Rejected, lost, garbled: each row's own affair."""
    manifest = bench.rows(40)
    bad = dict(zip(manifest["row_key"][::10], ["invalid", "lost_after", "garbled_json", "redirect"], strict=True))
    sandbox.set_faults(match=[{"text": key, "kind": kind} for key, kind in bad.items()])
    report = bench.generate(manifest)
    assert bench.states() == {"queued": 36, "rejected": 2, "in_doubt": 2}
    assert (report.exit_reason, report.exit_code) == ("done", 1)
    assert_books_agree(bench, sandbox, report)


def test_identical_rejections_stop_the_run(bench: Bench, sandbox: RunningSandbox) -> None:
    """A fault of the whole manifest is noticed after that many rows, not after all of them."""
    sandbox.set_faults(share={"forbidden": 1.0})
    report = bench.generate(bench.rows(120), identical_rejections=10, concurrency=4)
    assert (report.exit_reason, report.exit_code) == ("same_failure", 3)
    states = bench.states()
    assert 10 <= states["rejected"] <= 10 + 8
    assert states["pending"] == 120 - states["rejected"]


def test_different_rejections_do_not_stop_the_run(bench: Bench, sandbox: RunningSandbox) -> None:
    """Forty bad rows that are bad in turn in two ways are forty bad rows."""
    sandbox.set_faults(script=["forbidden", "invalid"] * 20)
    report = bench.generate(bench.rows(45), identical_rejections=3, concurrency=1)
    assert (report.exit_reason, bench.states()) == ("done", {"rejected": 40, "queued": 5})


def test_a_success_in_between_starts_the_count_again(bench: Bench, sandbox: RunningSandbox) -> None:
    """Only rejections in a row count."""
    sandbox.set_faults(script=[*["forbidden"] * 4, None] * 4)
    report = bench.generate(bench.rows(24), identical_rejections=5, concurrency=1)
    assert (report.exit_reason, bench.states()) == ("done", {"rejected": 16, "queued": 8})
