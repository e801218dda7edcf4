"""`reconcile --by-balance`: what it says of the sum is true, and where two things may be true it says both."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from accounts import PRICE, Customer
from sqlalchemy import Connection, update

from reelbatch.ledger import Ledger
from reelbatch.ledger.schema import runs
from reelbatch.sandbox import RunningSandbox, start

PERIOD = "2026-12-24T08:00:00Z"


@pytest.fixture(scope="module")
def running() -> Iterator[RunningSandbox]:
    """One API for all tests here, each with a results table of its own; videos are finished at once."""
    with start(render_video=False, queue_seconds=0, render_seconds=0) as sandbox:
        yield sandbox


@pytest.fixture
def customer(tmp_path: Path, sandbox: RunningSandbox) -> Iterator[Customer]:
    yield Customer(tmp_path, sandbox)
    sandbox.set_prices()


def doubtful(
    customer: Customer, *lost: str, prompts: tuple[str, ...] = ("pan", "zoom", "tilt"), **columns: Any
) -> None:
    """A run of three rows, one after the other, that is settled; `lost` is what became of the first creates."""
    customer.api.set_faults(script=lost)
    customer.generate(customer.manifest("spring", *prompts, **columns), concurrency=1, settle=True)


def forget_balance(connection: Connection, run_id: str) -> None:
    """The API did not answer when that run began."""
    connection.execute(update(runs).where(runs.c.run_id == run_id).values(balance=None))


def sums(customer: Customer) -> dict[str, Any]:
    """What `--json` says, and what everybody is shown."""
    sheet = customer.asked("reconcile", "--by-balance")
    shown = customer.run("reconcile", "--by-balance")
    assert (shown.code, "Traceback" in shown.err) == (1, False)
    assert customer.tokens()  # nothing was decided
    return {**sheet, "shown": shown.out}


def charged(sheet: dict[str, Any]) -> list[list[tuple[int, int]]]:
    """Of each reading how many at which price."""
    return [[(part["count"], part["price"]) for part in reading] for reading in sheet["readings"]]


def test_a_row_that_was_charged_is_left_over(customer: Customer) -> None:
    """The balance is short by its price; the command that would follow names its token."""
    doubtful(customer, "lost_after")
    sheet = sums(customer)
    assert (sheet["silent"], sheet["left_over"], charged(sheet)) == ([], PRICE, [[(1, PRICE)]])
    assert sheet["known"] == {"videos": 2, "charged": 2 * PRICE, "final": 2 * PRICE, "without_figure": 0}
    assert sheet["start"]["balance"] - sheet["balance"] == 3 * PRICE
    assert (
        f"--row spring-1 --video-id ID   # of the video whose name ends in {sheet['doubts'][0]['token']}"
        in (sheet["shown"])
    )
    assert "or something else was charged to this account" in sheet["shown"]


def test_a_row_that_was_not_charged_leaves_nothing_over(customer: Customer) -> None:
    """And the command says that there is no video."""
    doubtful(customer, "lost_before")
    sheet = sums(customer)
    assert (sheet["silent"], sheet["left_over"], charged(sheet)) == ([], 0, [[]])
    assert "--row spring-1 --not-created" in sheet["shown"]


def test_a_top_up_of_exactly_one_price_hides_a_charge(customer: Customer) -> None:
    """Nothing is left over although the row was charged: both readings are shown."""
    doubtful(customer, "lost_after")
    customer.api.top_up(PRICE)
    sheet = sums(customer)
    assert (sheet["left_over"], charged(sheet)) == (0, [[]])
    assert "none of these rows is charged" in sheet["shown"]
    assert "or some of them are charged and as much came in besides, by a top-up" in sheet["shown"]


def test_a_larger_top_up_leaves_no_reading(customer: Customer) -> None:
    """More came in than went: of the row the sum says nothing."""
    doubtful(customer, "lost_after")
    customer.api.top_up(4000)
    sheet = sums(customer)
    assert (sheet["left_over"], sheet["readings"]) == (PRICE - 4000, [])
    assert "more came in than the table knows of" in sheet["shown"]
    assert "--video-id" not in sheet["shown"]


def test_a_foreign_charge_of_the_same_price_can_not_be_told_apart(customer: Customer) -> None:
    """The row was not charged, someone else was: the row is named as one reading, the other stands beside it."""
    doubtful(customer, "lost_before")
    customer.spend_elsewhere()
    sheet = sums(customer)
    assert (sheet["left_over"], charged(sheet)) == (PRICE, [[(1, PRICE)]])
    assert "or something else was charged to this account" in sheet["shown"]


def test_a_foreign_charge_of_another_price_is_no_rows(customer: Customer) -> None:
    """No set of the rows costs that, so none is named."""
    doubtful(customer, "lost_before")
    customer.spend_elsewhere(seconds=3)
    sheet = sums(customer)
    assert (sheet["left_over"], sheet["readings"]) == (72, [])
    assert "no set of these rows costs that: something else was charged" in sheet["shown"]


def test_rows_of_one_price_are_not_told_apart(customer: Customer) -> None:
    """One of two was charged: which, the sum does not know, and it names no command for either."""
    doubtful(customer, "lost_after", "lost_before")
    sheet = sums(customer)
    assert (sheet["left_over"], charged(sheet)) == (PRICE, [[(1, PRICE)]])
    assert "1 of these 2 at 48: spring-1 of spring, spring-2 of spring" in sheet["shown"]
    assert "--row" not in sheet["shown"]


def test_two_sets_of_rows_that_cost_the_same_are_both_shown(customer: Customer) -> None:
    """One video of four seconds, or two of two."""
    doubtful(customer, "lost_before", "lost_after", "lost_after", end_seconds=[4, 2, 2])
    sheet = sums(customer)
    assert (sheet["left_over"], charged(sheet)) == (2 * PRICE, [[(1, 2 * PRICE)], [(2, PRICE)]])
    assert "charged: spring-1 of spring at 96" in sheet["shown"]
    assert "charged: spring-2 of spring, spring-3 of spring at 48" in sheet["shown"]


def test_it_is_silent_where_a_price_rose(customer: Customer) -> None:
    """The rows in doubt may have cost the old price or the new one: said once for all of a price."""
    customer.api.set_prices(prices={"ltx-2.3": {"480p": 30}})
    doubtful(customer, "lost_after", "lost_after")
    sheet = sums(customer)
    assert (sheet["left_over"], sheet["readings"]) == (None, [])
    assert ["the price drifted" in reason for reason in sheet["silent"]] == [True]
    assert "spring-1 of spring and 1 more were estimated at 48, and such videos cost 60" in sheet["shown"]


def test_a_price_that_rose_unseen_is_no_rows(customer: Customer) -> None:
    """Only the row in doubt was charged the new price: what is printed stays true, and names no row."""
    customer.api.set_prices(price_change={"after_creates": customer.api.books()["creates"], "factor": 1.25})
    doubtful(customer, "lost_after", prompts=("pan",))
    sheet = sums(customer)
    assert (sheet["silent"], sheet["left_over"], sheet["readings"]) == ([], 60, [])
    assert "no set of these rows costs that" in sheet["shown"]


def test_a_figure_that_is_not_believed_is_no_refund(customer: Customer) -> None:
    """A create that names no figure cost what its video came to; no sum is drawn, and it is said why."""
    doubtful(customer, "lost_after", "charge_null")
    sheet = sums(customer)
    assert sheet["known"] == {"videos": 2, "charged": 2 * PRICE, "final": 2 * PRICE, "without_figure": 1}
    assert (sheet["left_over"], sheet["readings"]) == (None, [])
    (reason,) = sheet["silent"]
    assert (
        "of 1 of the videos since then the API named no figure that is believed: `reelbatch status --json`" in reason
    )
    assert customer.asked("status")["batches"][0]["odd_figures"] == [{"row_key": "spring-2", "why": "no figure"}]
    assert "refunded               0  of these" in sheet["shown"]


def test_what_a_finished_video_is_charged_more_is_no_refund(customer: Customer) -> None:
    """The create was charged nothing, its video 48: that is in the sum, and is not called a refund of -48."""
    doubtful(customer, "lost_after", "charge_zero")
    sheet = sums(customer)
    assert (sheet["silent"], sheet["left_over"]) == ([], PRICE)
    assert "charged later        -48  of these, once they were finished" in sheet["shown"]
    assert "refunded" not in sheet["shown"].partition("What the sum allows")[0]


def test_it_is_silent_while_a_refund_may_be_on_its_way(customer: Customer) -> None:
    """A video that is not settled, or failed and was not refunded when it was looked at."""
    customer.api.set_faults(script=["lost_after"], match=[{"text": "breaks", "kind": "render_error"}])
    customer.generate(customer.manifest("spring", "pan", "breaks"), concurrency=1)
    sheet = sums(customer)
    assert (sheet["left_over"], sheet["readings"]) == (None, [])
    assert ["not settled" in reason for reason in sheet["silent"]] == [True]
    customer.generate(customer.manifest("autumn", "leaves"), settle=True)  # another batch of the account
    assert sums(customer)["silent"] != []
    customer.generate(customer.manifest("spring", "pan", "breaks"), settle=True)
    sheet = sums(customer)
    assert (sheet["silent"], sheet["left_over"], charged(sheet)) == ([], PRICE, [[(1, PRICE)]])
    assert sheet["known"]["charged"] - sheet["known"]["final"] == PRICE  # the refund is in the sum


def test_a_refund_that_may_be_in_the_balance_or_not_is_not_guessed(customer: Customer) -> None:
    """Charged before the run began, seen to be given back after it: an earlier balance tells, else it is silent."""
    customer.api.set_faults(
        match=[{"text": "breaks", "kind": "render_error"}, {"text": "lost", "kind": "lost_after"}]
    )
    customer.generate(customer.manifest("winter", "breaks"))  # charged, not settled, refunded by now
    customer.generate(customer.manifest("spring", "lost"))
    customer.generate(customer.manifest("winter", "breaks"), settle=True)
    sheet = sums(customer)
    assert (sheet["silent"], sheet["left_over"], sheet["known"]["videos"]) == ([], PRICE, 1)
    with Ledger(customer.results) as ledger:
        ledger.change(partial(forget_balance, run_id=sheet["start"]["run_id"]))
    assert ["since the balance was read" in reason for reason in sums(customer)["silent"]] == [True]


def test_a_refund_that_was_seen_before_the_balance_does_not_matter(customer: Customer) -> None:
    """It is in the balance already."""
    customer.api.set_faults(
        match=[{"text": "breaks", "kind": "render_error"}, {"text": "lost", "kind": "lost_after"}]
    )
    customer.generate(customer.manifest("winter", "breaks"), settle=True)
    customer.generate(customer.manifest("spring", "lost"))
    sheet = sums(customer)
    assert (sheet["silent"], sheet["left_over"], sheet["known"]["videos"]) == ([], PRICE, 0)


def test_it_is_silent_where_the_period_changed(tmp_path: Path) -> None:
    """With a new period come credits that no charge explains."""
    with start(render_video=False, data=tmp_path / "api", subscription={"current_period_end": PERIOD}) as api:
        customer = Customer(tmp_path, api)
        customer.api.set_faults(script=["lost_after"])
        customer.generate(customer.manifest("spring", "pan"))
        assert sums(customer)["silent"] == []
    with start(render_video=False, data=tmp_path / "api") as api:
        sheet = sums(Customer(tmp_path, api))
    assert ["period is another one" in reason for reason in sheet["silent"]] == [True]
    assert sheet["left_over"] is None


def test_it_decides_nothing_and_says_so_to_who_asks_for_both(customer: Customer) -> None:
    """Options that decide are refused beside it."""
    doubtful(customer, "lost_after")
    ran = customer.run("reconcile", "--by-balance", "--row", "spring-1", "--not-created")
    assert (ran.code, "decides nothing" in ran.err) == (2, True)


def test_without_doubts_there_is_nothing_to_explain(customer: Customer) -> None:
    """Exit 0; the sum is shown all the same."""
    doubtful(customer)
    ran = customer.run("reconcile", "--by-balance")
    assert (ran.code, "No rows are in doubt" in ran.out) == (0, True)


def test_an_api_that_does_not_say_is_an_error_with_a_remedy(customer: Customer) -> None:
    """Where it can't be reached, and where it refuses the key."""
    doubtful(customer, "lost_after")
    away = customer.run("reconcile", "--by-balance", REELBATCH_BASE_URL="http://127.0.0.1:9")
    assert (away.code, "`reelbatch doctor` says whether http://127.0.0.1:9 can be reached" in away.err) == (2, True)
    refused = customer.run("reconcile", "--by-balance", MAGIC_HOUR_API_KEY="wrong")
    assert (refused.code, "Check MAGIC_HOUR_API_KEY." in refused.err) == (2, True)
