"""A cap holds to the credit, with many in flight and with two processes at work."""

from __future__ import annotations

import json
import sys
import textwrap
from pathlib import Path

import forked
import pytest
from bench import PRICE, Answer, Bench, assert_books_agree, scripted

from reelbatch.ledger import Ledger
from reelbatch.pipeline.rerun import RerunOptions, preview, selection
from reelbatch.sandbox import RunningSandbox, start
from reelbatch.settings import load_settings


@pytest.mark.parametrize(("cap", "paid"), [(40 * PRICE, 40), (40 * PRICE - 1, 39), (40 * PRICE + 1, 40), (0, 0)])
def test_a_cap_holds_to_the_credit(bench: Bench, sandbox: RunningSandbox, cap: int, paid: int) -> None:
    """With fifty in flight; the rest stays pending, and a higher cap finishes it."""
    manifest = bench.rows(100)
    report = bench.generate(manifest, concurrency=50, max_credits=cap)
    assert sum(charge["credits"] for charge in bench.charges(sandbox)) == paid * PRICE
    assert (report.exit_reason, report.exit_code) == ("cap", 3)
    assert report.message == f"the next row would take the batch over its cap of {cap:,} credits"
    assert bench.states().get("pending") == 100 - paid
    report = bench.generate(manifest, concurrency=50, max_credits=100 * PRICE)
    assert (report.exit_code, bench.states()) == (0, {"queued": 100})
    assert_books_agree(bench, sandbox, report)


def test_a_cap_takes_nothing_back_that_is_within_it(bench: Bench) -> None:
    """The rows that were ready for the next free slots when the cap was reached are sent as well."""
    with scripted(lambda arrival: Answer(delay_s=0.05 + arrival.number % 16 * 0.02)) as api:
        bench.url = api.url
        report = bench.generate(bench.rows(60), concurrency=16, max_credits=34 * PRICE + 1)
    assert (report.exit_reason, len(api.arrivals)) == ("cap", 34)
    assert bench.states() == {"queued": 34, "pending": 26}
    assert len(bench.attempts()) == 34


def test_rows_in_doubt_count_against_the_cap(bench: Bench, sandbox: RunningSandbox) -> None:
    """They may have been charged, so their credits are not spent a second time."""
    sandbox.set_faults(script=["lost_after"] * 10)
    report = bench.generate(bench.rows(60), concurrency=20, max_credits=30 * PRICE, doubts_in_a_row=100)
    states = bench.states()
    assert states["in_doubt"] + states["queued"] == 30
    assert sum(charge["credits"] for charge in bench.charges(sandbox)) <= 30 * PRICE
    assert_books_agree(bench, sandbox, report)


def test_what_was_assumed_is_told_with_the_run(bench: Bench, sandbox: RunningSandbox) -> None:
    """By `generate` and by `rerun`: how much of the estimate, and as which models."""
    manifest = bench.rows(2, model=[None, "default"], resolution=["480p", "720p"], end_seconds=5)
    sandbox.set_faults(every={"invalid": 1})
    report = bench.generate(manifest).as_json()
    assert (report["credits_assumed"], report["assumed_models"]) == (150 + 240, ["kling-3.0", "seedance-1.5"])
    for stated, assumed in (({}, (390, ["kling-3.0", "seedance-1.5"])), ({"model_profile": "legacy"}, (0, []))):
        settings = load_settings(options={"results": bench.results, **stated})
        with Ledger(bench.results) as ledger:
            made = preview(ledger, selection(RerunOptions(batch=bench.batch), ledger), settings)
        assert (made.send, made.credits_estimated) == (2, 390)
        assert (made.credits_assumed, made.assumed_models) == assumed


def test_a_refused_row_gives_its_credits_back(bench: Bench, sandbox: RunningSandbox) -> None:
    """Ten that are refused and ten that are sent again leave room for sixty."""
    sandbox.set_faults(script=["invalid", "unavailable"] * 10)
    report = bench.generate(bench.rows(70), concurrency=5, max_credits=60 * PRICE)
    assert (report.exit_reason, bench.states()) == ("done", {"queued": 60, "rejected": 10})


_WORKER = textwrap.dedent("""
    import json, sys
    import pandas as pd
    from reelbatch import generate
    options = json.loads(sys.argv[1])
    report = generate(pd.read_json(sys.argv[2]), **options)
    print(json.dumps({"submitted": report.submitted, "reason": report.exit_reason}))
""")


def test_two_processes_on_one_table_share_the_rows(bench: Bench, tmp_path: Path) -> None:
    """None is sent twice, both do some, and a cap holds for the two together."""
    manifest, data = bench.rows(160), tmp_path / "rows.json"
    manifest.to_json(data)
    with start(latency_ms=60, queue_seconds=600) as own:
        bench.url = own.url
        options = {**bench.settings(concurrency=6, max_credits=150 * PRICE), "batch": bench.batch}
        command = [sys.executable, "-c", _WORKER, json.dumps(options), str(data)]
        workers = [forked.Popen(command, stdout=forked.PIPE, text=True) for _ in range(2)]
        ended = [json.loads(worker.communicate(timeout=60)[0]) for worker in workers]
        books = own.books()
    assert books["double_charged"] == {}
    assert books["charged"] == 150 * PRICE
    assert sum(end["submitted"] for end in ended) == 150
    assert min(end["submitted"] for end in ended) > 0
    assert "cap" in {end["reason"] for end in ended}
    assert bench.states() == {"queued": 150, "pending": 10}
