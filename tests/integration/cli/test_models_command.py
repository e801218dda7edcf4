"""`reelbatch models`: what is known of prices, what was charged, and where both differ."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from accounts import Customer

from reelbatch.cli import render
from reelbatch.pipeline.prices import Observed
from reelbatch.sandbox import RunningSandbox, start


@pytest.fixture(scope="module")
def running() -> Iterator[RunningSandbox]:
    """One API for all tests here; videos are finished at once."""
    with start(render_video=False, queue_seconds=0, render_seconds=0) as sandbox:
        yield sandbox


@pytest.fixture
def customer(tmp_path: Path, sandbox: RunningSandbox) -> Iterator[Customer]:
    yield Customer(tmp_path, sandbox)
    sandbox.set_prices()


def test_it_needs_no_results_table(customer: Customer) -> None:
    """Every model with what it accepts and costs; nothing was charged, so nothing drifted."""
    told = customer.asked("models")
    kling = told["models"]["kling-3.0"]
    assert (kling["rates"]["720p"], kling["audio_rates"]["720p"], kling["seconds"][0]) == (48, 24, 3)
    assert (told["observed"], told["drifted"]) == ([], 0)
    assert customer.run("models", "--check").code == 0
    shown = customer.run("models").out
    assert "48+24" in shown
    assert not (customer.folder / "r.db").exists()


def test_prices_as_estimated_are_no_drift(customer: Customer) -> None:
    """Shown as charged and settled, and `--check` ends with 0."""
    report = customer.generate(customer.manifest("spring", "pan"), settle=True)
    (seen,) = customer.asked("models")["observed"]
    assert (seen["charged"], seen["settled"], seen["estimate"], seen["has_drifted"]) == (48, 48, 48, False)
    assert customer.run("models", "--check").code == 0
    assert report.as_json()["price_drift"] == []


@pytest.mark.parametrize(("rate", "drift"), [(30, 0.25), (18, -0.25)])
def test_a_price_that_moved_is_told_by_the_run_and_by_the_check(
    customer: Customer, rate: int, drift: float, capsys: pytest.CaptureFixture[str]
) -> None:
    """Dearer or cheaper, without any cap; a run of another kind of video is not bothered with it."""
    customer.api.set_prices(prices={"ltx-2.3": {"480p": rate}})
    report = customer.generate(customer.manifest("spring", "pan"), settle=True)
    words = f"ltx-2.3 480p, 2 s: {2 * rate} credits when settled, 48 by the table of models"
    assert report.as_json()["price_drift"] == [words]
    render.print_report(report, [])
    assert "reelbatch models --check" in capsys.readouterr().err
    (seen,) = customer.asked("models")["observed"]
    assert (seen["drift"], seen["has_drifted"]) == (drift, True)
    check = customer.run("models", "--check")
    assert (check.code, words in check.out) == (1, True)
    assert customer.run("models").code == 0
    other = customer.generate(customer.manifest("autumn", "rain", model="minimax-h3"), settle=True)
    assert other.as_json()["price_drift"] == []


def test_a_price_that_no_one_estimated_can_not_drift(customer: Customer) -> None:
    """A model of unknown rate is shown with what it was charged."""
    customer.api.set_prices(prices={"nova-1": {"480p": 30}})
    customer.generate(customer.manifest("spring", "pan", model="nova-1"), settle=True)
    (seen,) = customer.asked("models")["observed"]
    assert (seen["model"], seen["settled"], seen["estimate"], seen["drift"]) == ("nova-1", 60, None, None)
    assert customer.run("models", "--check").code == 0


def test_a_plan_says_what_rows_of_unknown_rate_would_cost_by_what_was_charged(customer: Customer) -> None:
    """Marked as observed, beside the estimate and no part of it: a cap still needs a rate. Only for the same kind."""
    customer.api.set_prices(prices={"nova-1": {"480p": 30}})
    customer.generate(customer.manifest("spring", "pan", model="nova-1"), settle=True)
    seconds = [2, 2, 3]
    summer = customer.manifest("summer", "a", "b", "c", model="nova-1", end_seconds=seconds)
    plan = customer.asked("plan", summer)
    assert (plan["credits_estimated"], plan["unknown_rate"]) == (0, 3)
    assert (plan["observed_rows"], plan["credits_observed"], plan["observed_models"]) == (2, 120, ["nova-1"])
    assert (customer.asked("plan", summer, "--limit", "1")["credits_observed"]) == 60
    words = "2 of them would cost 120 by what nova-1 was charged before (observed)"
    assert words in customer.run("plan", summer).out
    report = customer.generate(summer, max_credits=1000)
    assert (report.sent, report.unsent) == (0, {"unknown_rate": 3})
    assert customer.asked("plan", summer)["credits_observed"] == 120  # rows that wait in the table count, too
    rated = customer.asked("plan", summer, "--rate", "10")
    assert (rated["observed_rows"], rated["credits_estimated"]) == (0, 70)


def test_a_drift_is_more_than_two_per_cent_either_way() -> None:
    """By settled figures: what a create charged may be an estimate of the API's own."""
    kind = {"api": "local", "account": "a", "model": "m", "resolution": "720p", "audio": False, "seconds": 5.0}
    seen = Observed(**kind, charged=400, settled=102, estimate=100, seen_at=datetime.now(UTC))
    drifted = {settled: replace(seen, settled=settled).has_drifted for settled in (97, 98, 102, 103, None)}
    assert drifted == {97: True, 98: False, 102: False, 103: True, None: False}
    assert replace(seen, estimate=0).has_drifted
