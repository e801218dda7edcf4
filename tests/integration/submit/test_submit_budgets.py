"""A budget, the account that it belongs to, and a pilot: what they promise, by the sandbox's books."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from bench import PRICE, Bench, assert_books_agree, scripted
from sqlalchemy import select, update

import reelbatch
from reelbatch.domain import Batch
from reelbatch.errors import LedgerUnusable
from reelbatch.ledger import Ledger, budget_counters
from reelbatch.ledger.schema import attempts, batches, runs
from reelbatch.ledger.selection import SendOptions
from reelbatch.pipeline.asking_once import asking_once
from reelbatch.pipeline.key_check import check_key
from reelbatch.pipeline.plan import GenerateOptions, plan
from reelbatch.pipeline.reach import Reach
from reelbatch.pipeline.rerun import RerunOptions, preview_with_account, selection
from reelbatch.pipeline.run_summary import RunReport
from reelbatch.sandbox import RunningSandbox, start
from reelbatch.settings import load_settings


def a_day(rows: int, more: int = 0) -> dict[str, Any]:
    """A daily budget for that many rows, in a zone where it is about noon: no test runs over midnight."""
    return {"credits": rows * PRICE + more, "per": "day", "timezone": f"Etc/GMT{datetime.now(UTC).hour - 12:+d}"}


def turn_the_day(bench: Bench) -> None:
    """All that was done was done yesterday."""
    with Ledger(bench.results) as ledger:
        found = ledger.read(lambda c: c.execute(select(attempts.c.token, attempts.c.started_at)).all())
        for token, at in found:
            past = update(attempts).where(attempts.c.token == token).values(started_at=at - timedelta(days=1))
            ledger.change(lambda c, past=past: c.execute(past))
        for api, account in ledger.read(lambda c: c.execute(select(batches.c.api, batches.c.account)).all()):
            ledger.change(lambda c, api=api, account=account: budget_counters.forget(c, api, account))


def paid(bench: Bench, sandbox: RunningSandbox) -> int:
    """By the books."""
    return sum(charge["credits"] for charge in bench.charges(sandbox))


def test_the_next_periods_run_sends_what_waits(bench: Bench, sandbox: RunningSandbox) -> None:
    """A period's end is no failure: exit 0, and said until when the rows wait; the same command goes on after it."""
    manifest, budget = bench.rows(50), a_day(20, PRICE - 1)
    report = bench.generate(manifest, budget=budget, concurrency=30)
    assert (report.exit_reason, report.exit_code, paid(bench, sandbox)) == ("budget", 0, 20 * PRICE)
    assert (report.message or "").startswith("30 rows wait until ")
    told = report.as_json()["budget"]
    assert (told["used"], told["left"]) == (20 * PRICE, PRICE - 1)
    for batch in (bench.batch, "another"):  # by the table alone, for any batch of its one account
        shown = reelbatch.plan(manifest, budget=budget, batch=batch, **bench.settings()).as_json()["budget"]
        assert (shown["left"], shown["covers"]["rows"]) == (PRICE - 1, 0)
    again = bench.generate(manifest, budget=budget)
    assert (again.exit_code, again.sent, paid(bench, sandbox)) == (0, 0, 20 * PRICE)
    for rows in (40, 50):
        turn_the_day(bench)
        report = bench.generate(manifest, budget=budget)
        assert paid(bench, sandbox) == rows * PRICE
    assert (report.exit_reason, bench.states()) == ("done", {"queued": 50})
    assert_books_agree(bench, sandbox, report)


def test_smaller_rows_are_sent_and_one_that_is_dearer_than_a_whole_day_is_named(
    bench: Bench, sandbox: RunningSandbox
) -> None:
    """Two seconds fit where four do not; thirty never will, and the run says so with exit 1."""
    manifest = bench.rows(6, end_seconds=[4, 4, 4, 2, 30, 2])
    report = bench.generate(manifest, budget=a_day(7, 1), concurrency=1)
    assert [row["state"] for row in bench.table()] == ["queued", "queued", "queued", "queued", "pending", "pending"]
    assert (report.exit_code, report.too_dear_rows, report.too_dear) == (1, 1, [f"{bench.batch}-005"])
    assert report.message == f"1 row waits until {report.budget.until if report.budget else ''}"
    assert paid(bench, sandbox) == 7 * PRICE


def test_smaller_rows_are_tried_under_a_cap_too(bench: Bench, sandbox: RunningSandbox) -> None:
    """The run ends at the cap when no row fits any more, and not before."""
    manifest = bench.rows(6, end_seconds=[4, 10, 4, 6, 2, 2])
    report = bench.generate(manifest, max_credits=6 * PRICE, concurrency=1)
    assert [row["state"] for row in bench.table()] == ["queued", "pending", "queued", "pending", "queued", "queued"]
    assert (report.exit_reason, report.exit_code, paid(bench, sandbox)) == ("cap", 3, 6 * PRICE)


_MYSTERY = {"model": ["mystery", "ltx-2.3", "ltx-2.3"]}


@pytest.mark.parametrize(
    ("columns", "bound", "ends"),
    [
        (_MYSTERY, {"max_credits": 1000}, [("done", 1), ("done", 1), ("none_sent", 3)]),
        (_MYSTERY, {"budget": a_day(20)}, [("done", 1), ("done", 1), ("none_sent", 3)]),
        ({"end_seconds": [10, 2, 2]}, {"max_credits": 2 * PRICE}, [("cap", 3)] * 3),
        ({"end_seconds": [2, 8, 2]}, {"budget": a_day(4)}, [("done", 0), ("budget", 0), ("budget", 0)]),
    ],
    ids=["rate and cap", "rate and budget", "cap", "budget"],
)
def test_a_row_that_is_refused_uses_up_no_limit(
    bench: Bench, columns: dict[str, Any], bound: dict[str, Any], ends: list[tuple[str, int]]
) -> None:
    """It is tried first every time; another goes in its place until there is none, and then the run ends.

    The plan announces the row that goes.
    """
    manifest = bench.rows(3, prompt=["a", "b", "c"], **columns)
    reports = []
    for _ in range(3):
        shown = reelbatch.plan(manifest, batch=bench.batch, limit=1, **bench.settings(**bound))
        reports.append(bench.generate(manifest, limit=1, **bound))
        sent = [row["prompt"] for row in bench.table() if row["run_id"] == reports[-1].run_id and row["video_id"]]
        if sent:
            assert (shown.send, shown.credits_estimated, shown.unknown_rate) == (1, PRICE, 0)
            assert [body["style"]["prompt"] for body in shown.requests[:1]] == sent
    assert [report.sent for report in reports] == [1, 1, 0]
    assert [(report.exit_reason, report.exit_code) for report in reports] == ends
    assert bench.states() == {"queued": 2, "pending": 1}


@pytest.fixture(scope="module")
def dear() -> Iterator[RunningSandbox]:
    """A sandbox that charges half as much again."""
    with start(queue_seconds=600, render_video=False, price_change={"after_creates": 0, "factor": 1.5}) as running:
        yield running


@pytest.mark.parametrize("limit", [None, 6])
@pytest.mark.parametrize("bound", ["max_credits", "budget"])
def test_a_dearer_price_that_was_seen_counts_in_what_is_announced(
    tmp_path: Path, dear: RunningSandbox, bound: str, limit: int | None
) -> None:
    """A cap or budget reaches as far as the run gets, which reserves each row at what such a video was charged."""
    bench, half = Bench(tmp_path, dear.url, dear.key), PRICE + PRICE // 2
    other = Bench(bench.folder, bench.url, bench.key)
    assert other.generate(other.rows(2, end_seconds=[2, 4])).credits_charged == 3 * half
    room = 5 * half + PRICE // 2
    manifest = bench.rows(12, prompt=[f"Pan {number}" for number in range(12)], end_seconds=[2, 2, 4, 4] + [2] * 8)
    bounds: dict[str, Any] = (
        {"max_credits": room} if bound == "max_credits" else {"budget": a_day(0, room + 3 * half)}
    )
    settings = {**bounds, "limit": limit, "concurrency": 1}
    shown = reelbatch.plan(manifest, batch=bench.batch, **bench.settings(**settings)).as_json()
    covers = (shown["cap"] or shown["budget"])["covers"]
    report = bench.generate(manifest, **settings)
    assert (report.sent, report.credits_charged) == (covers["rows"], covers["credits"])
    assert report.funds is not None
    told = report.funds.cap_reach or report.funds.budget_reach
    assert (told, report.funds.at_most) == (Reach(**covers), report.credits_charged)


def test_a_dearer_price_that_was_seen_counts_in_the_question_of_a_rerun(tmp_path: Path, dear: RunningSandbox) -> None:
    """The cap of three rows by the table of models is one of two by what was charged."""
    bench, half = Bench(tmp_path, dear.url, dear.key), PRICE + PRICE // 2
    other = Bench(bench.folder, bench.url, bench.key)
    other.generate(other.rows(1))
    dear.set_faults(script=["invalid"] * 4)
    bench.generate(bench.rows(4, prompt=list("abcd")))
    settings = bench.settings(max_credits=3 * PRICE)
    with Ledger(bench.results) as ledger:
        chosen = selection(RerunOptions(batch=bench.batch), ledger)
        asked = preview_with_account(ledger, chosen, load_settings(options=settings), None).funds
    assert asked is not None
    assert asked.cap_reach is not None
    assert (asked.cap_reach.rows, asked.at_most) == (2, 2 * half)
    assert f"By what such videos were charged before, the rows cost {4 * half} credits." in asked.lines()
    assert reelbatch.rerun(bench.batch, **settings).sent == 2


def test_a_dearer_price_that_was_seen_counts_for_a_pilot(tmp_path: Path, dear: RunningSandbox) -> None:
    """The cap of three rows by the table of models covers two of the sample's four."""
    bench, half = Bench(tmp_path, dear.url, dear.key), PRICE + PRICE // 2
    other = Bench(bench.folder, bench.url, bench.key)
    other.generate(other.rows(1))
    options = GenerateOptions(source=bench.rows(8, prompt=list("abcdefgh")), send=SendOptions(pilot=4))
    shown = plan(options, load_settings(options=bench.settings(max_credits=3 * PRICE)))
    assert (shown.cap, shown.announced.credits) == (Reach(rows=2, of=4, credits=2 * half), 4 * PRICE)


def test_many_rows_that_are_refused_are_passed_over_within_a_limit(bench: Bench) -> None:
    """No more rows go than the limit says."""
    models = ["mystery"] * 30 + ["ltx-2.3"] * 10
    manifest = bench.rows(40, prompt=[f"Pan {number}" for number in range(40)], model=models)
    report = bench.generate(manifest, limit=4, max_credits=10_000)
    assert (report.sent, bench.states()) == (4, {"pending": 36, "queued": 4})


def test_all_batches_of_the_account_share_the_budget(bench: Bench, sandbox: RunningSandbox) -> None:
    """With refusals, lost answers and refused rows; what the books say is never above it."""
    other = Bench(bench.folder, bench.url, bench.key)
    budget = a_day(30)
    sandbox.set_faults(script=["lost_after", "invalid", "unavailable"] * 5)
    first = bench.generate(bench.rows(20), budget=budget, concurrency=10, doubts_in_a_row=100)
    sandbox.set_faults()
    second = other.generate(other.rows(40), budget=budget, concurrency=30, repeats="send")
    assert paid(bench, sandbox) + paid(other, sandbox) <= 30 * PRICE
    assert second.exit_reason == "budget"
    assert second.budget is not None
    assert second.budget.used == 30 * PRICE == first.status.credits.worst_case + second.status.credits.worst_case
    assert_books_agree(other, sandbox, second)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    """The account of a subscriber with 500 credits."""
    data = str(tmp_path_factory.mktemp("shop"))
    with start(port=0, data=data, account_id="shop", balance=500, plan="creator", subscription={}) as running:
        yield running


def test_balance_tier_and_how_far_they_reach_are_known_before_the_first_create(
    tmp_path: Path, shop: RunningSandbox
) -> None:
    """The tier is the account's where none is stated, and sets the window."""
    bench = Bench(tmp_path, shop.url, shop.key)
    report = bench.generate(bench.rows(20, end_seconds=4), limit=None, max_credits=0)
    account = report.as_json()["account"]
    assert (account["id"], account["tier"], account["render_window"]) == ("shop", "creator", 3)
    assert (account["credits"], account["covers"]["rows"], account["covers"]["of"]) == (500, 5, 20)
    assert report.funds is not None
    assert "Balance 500 · this run at most 0 · left 500" in report.funds.lines()
    assert "The balance covers 5 of 20 rows." in report.funds.lines()
    assert "window 3 (tier creator)" in report.funds.lines()
    stated = bench.generate(bench.rows(20, end_seconds=4), tier="pro", max_credits=0)
    assert stated.as_json()["account"]["render_window"] == 5


def test_a_batch_is_its_accounts(tmp_path: Path, shop: RunningSandbox, sandbox: RunningSandbox) -> None:
    """A run with another account's key is refused, and both are named."""
    bench = Bench(tmp_path, shop.url, shop.key)
    bench.generate(bench.rows(2))
    charged = paid(bench, shop)
    bench.url, bench.key = sandbox.url, sandbox.key
    with pytest.raises(LedgerUnusable, match=r"belongs to account shop, and this key is of account sandbox"):
        bench.generate(bench.rows(3))
    assert (paid(bench, shop), paid(bench, sandbox)) == (charged, 0)


def test_who_pays_has_to_be_known_for_a_budget(bench: Bench) -> None:
    """An API that names no account: without a budget the key stands for it, with one nothing is sent."""
    with scripted(lambda _: pytest.fail("nothing may be sent")) as api:  # type: ignore[arg-type, return-value]  # never answers
        bench.url = api.url
        report = bench.generate(bench.rows(2), budget=a_day(5))
        assert (report.exit_reason, report.exit_code, len(api.arrivals)) == ("no_account", 3, 0)


def test_the_account_that_was_seen_last_stands_in(bench: Bench, sandbox: RunningSandbox) -> None:
    """Where the API does not answer, a bound batch goes on, and the budget is the same one."""
    budget = a_day(5)
    bench.generate(bench.rows(3), budget=budget)
    sandbox.set_faults(every={"account_fail": 1})
    report = bench.generate(bench.rows(9), budget=budget, retry_attempts=1)
    assert (report.exit_reason, paid(bench, sandbox)) == ("budget", 5 * PRICE)
    assert report.as_json()["account"]["asked"] is False


def test_a_key_that_no_account_is_known_of_goes_on_with_its_batch(bench: Bench, sandbox: RunningSandbox) -> None:
    """The key check knows it by its hash, while the API does not say whose it is and once it does."""
    settings = load_settings(None, bench.settings())
    sandbox.set_faults(every={"account_fail": 1})
    bench.generate(bench.rows(2), retry_attempts=1)
    check_key(settings, Batch(bench.batch))
    sandbox.set_faults()
    check_key(settings, Batch(bench.batch))


def test_a_command_asks_once_whose_key_it_is(bench: Bench, sandbox: RunningSandbox) -> None:
    """Key check, question and run share an answer, and the balance keeps its time; another command asks anew."""

    def asked() -> int:
        return int(sandbox.books(summary=True)["requests"]["account"])

    settings, manifest, before = load_settings(None, bench.settings()), bench.rows(1), asked()
    with asking_once():
        check_key(settings, Batch(bench.batch))
        shown = plan(GenerateOptions(source=manifest, batch=bench.batch), settings, asks_account=True)
        assert bench.generate(manifest).submitted == 1
    assert shown.funds is not None
    assert (shown.funds.account, asked() - before) == ("sandbox", 1)
    bench.generate(manifest)
    assert asked() - before == 2
    with Ledger(bench.results) as ledger:
        first = ledger.read(lambda c: c.execute(select(runs.c.balance_at, runs.c.started_at)).first())
    assert first is not None
    assert first.balance_at < first.started_at


@pytest.mark.parametrize("again", [{}, {"regenerate": "all"}], ids=["first", "made again"])
def test_a_pilot_that_was_stopped_goes_on_with_its_rows(bench: Bench, again: dict[str, Any]) -> None:
    """The same command finishes the sample, also where a row has left the manifest; a larger one adds rows."""

    def pilot(rows: pd.DataFrame, size: int, **options: Any) -> RunReport:
        return bench.generate(rows, pilot=size, poll_interval_s=0.05, **options, **again)

    with start(port=0, data=str(bench.folder / "api"), queue_seconds=0, render_seconds=0) as quick:
        bench.url, bench.key = quick.url, quick.key
        manifest = bench.rows(40, prompt=[f"Pan {number}" for number in range(40)])
        if again:
            bench.generate(manifest, settle=True, poll_interval_s=0.05)
        stopped = pilot(manifest, 8, max_credits=paid(bench, quick) + 3 * PRICE)
        assert (stopped.sent, stopped.pilot.rows if stopped.pilot else 0) == (3, 8)
        waiting = [row["row_number"] for row in bench.table() if row["state"] == "pending"]
        left = manifest if again else manifest.drop(index=waiting[0] - 1)
        assert pilot(left, 8).sent in {5, 6}
        assert pilot(left, 8).sent == 0
        assert 1 <= pilot(left, 11).sent <= 3


def test_a_pilot_says_what_the_rest_would_cost(bench: Bench) -> None:
    """A sample over all kinds is made and settled; its rows are the batch's, so that nothing is paid for twice."""
    with start(port=0, data=str(bench.folder / "api"), queue_seconds=0, render_seconds=0) as quick:
        bench.url, bench.key = quick.url, quick.key
        kinds = bench.rows(30, end_seconds=[2] * 20 + [4] * 9 + [10])
        pilot = bench.generate(kinds, pilot=6, poll_interval_s=0.05).as_json()["pilot"]
        assert (pilot["rows"], pilot["complete"], pilot["failed"]) == (6, 6, 0)
        assert pilot["credits_final"] == paid(bench, quick)
        assert {row["end_seconds"] for row in bench.table() if row["state"] == "complete"} == {2, 4, 10}
        assert pilot["rest"]["rows"] == 24
        again = bench.generate(kinds, pilot=6)
        assert (again.sent, again.exit_code, again.as_json()["pilot"]) == (0, 0, pilot)
        report = bench.generate(kinds)
        assert paid(bench, quick) == pilot["credits_final"] + pilot["rest"]["credits"] == (20 + 18 + 5) * PRICE
        assert_books_agree(bench, quick, report)
