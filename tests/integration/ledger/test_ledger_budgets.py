"""A budget holds to the credit in its period, over all batches of an account and all workers."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest
from acting import ESTIMATE, SPRING, Worker, attempt, begin, load, row, rows_of, tell
from sqlalchemy import update

from reelbatch.domain import Batch, Budget, ClaimedRow, RowState
from reelbatch.errors import LedgerError, LedgerUnusable
from reelbatch.ledger import Ledger, Origin, accounts, budget_counters, budgets, runs, settlements, utc_now
from reelbatch.ledger.accounts import Payer
from reelbatch.ledger.admission import Admission, Intent
from reelbatch.ledger.attempts import Ending
from reelbatch.ledger.budgets import BudgetLeft
from reelbatch.ledger.due import Rendered
from reelbatch.ledger.schema import attempts, prices
from reelbatch.ledger.settlements import Final

AUTUMN = Batch("autumn")
SHOP, OTHER_SHOP = Payer("local", "shop", "key-1"), Payer("local", "other shop", "key-2")


def _noon() -> str:
    """A zone in which it is about noon, so that no test runs over midnight."""
    return f"Etc/GMT{(utc_now().hour - 12):+d}"


A_DAY = Budget(10 * ESTIMATE, "day", _noon())


def fill(ledger: Ledger, rows: int = 20, batch: Batch = SPRING, payer: Payer = SHOP) -> None:
    """A batch of an account, of a kind of video whose price was seen."""
    load(ledger, rows_of(*(f"{batch}-{number:03}" for number in range(rows))), batch=batch, origin=_of(payer))
    asked = {"model": "ltx-2.3", "resolution": "default", "audio": False, "seconds": 2.0}
    seen = {"api": "local", "account": payer.account, "charged": ESTIMATE, "seen_at": utc_now(), **asked}
    known = accounts.PriceClass("local", payer.account or "", "ltx-2.3", "default", audio=False, seconds=2.0)
    if not ledger.read(lambda connection: accounts.price_of(connection, known)).is_fresh:
        ledger.change(lambda connection: connection.execute(prices.insert().values(seen)))


def _of(payer: Payer) -> Origin:
    return Origin(mark=str, payer=payer)


def intent(worker: Worker, taken: ClaimedRow, budget: Budget | None = A_DAY) -> Intent:
    """Under a budget."""
    return replace(worker.intent(taken), budget=budget)


def admissions(worker: Worker, taken: Sequence[ClaimedRow], budget: Budget | None = A_DAY) -> list[Admission]:
    """What these rows are told, each after the one before it was answered."""
    told = []
    for each in taken:
        wanted = intent(worker, each, budget)
        told.append(worker.admit(wanted))
        if told[-1] is Admission.ADMITTED:
            tell(worker.ledger, wanted)
    return told


def left(ledger: Ledger, payer: Payer = SHOP, budget: Budget = A_DAY) -> BudgetLeft:
    """How the budget stands, checked against the sum over the attempts."""
    account = payer.account or ""
    found = ledger.read(lambda connection: budgets.left(connection, payer.api, account, budget))
    ledger.change(lambda connection: budget_counters.forget(connection, payer.api, account))
    assert ledger.read(lambda connection: budgets.left(connection, payer.api, account, budget)) == found
    return found


def turn_the_day(ledger: Ledger) -> None:
    """All that was done was done yesterday."""
    with_times = ledger.read(lambda c: c.execute(attempts.select()).mappings().all())
    for each in with_times:
        past = update(attempts).where(attempts.c.token == each["token"])
        earlier = each["started_at"] - timedelta(days=1)
        ledger.change(lambda c, past=past, earlier=earlier: c.execute(past.values(started_at=earlier)))
    ledger.change(lambda connection: budget_counters.forget(connection, "local", "shop"))


def settled(ledger: Ledger, sent: Intent, final: int, state: RowState = RowState.COMPLETE) -> None:
    """The video has ended."""
    video = Rendered(sent.row.batch, sent.row.row_key, f"vid-{sent.token}", sent.token, RowState.QUEUED)  # type: ignore[arg-type]  # an id
    ended = Final(row=video, state=state, at=utc_now(), credits_final=final)
    ledger.change(lambda connection: settlements.record_finals(connection, [ended]))


def test_all_batches_of_an_account_share_its_budget(ledger: Ledger) -> None:
    """Another account has its own, and so has a run without a budget, whose rows count all the same."""
    fill(ledger)
    fill(ledger, batch=AUTUMN)
    fill(ledger, batch=Batch("elsewhere"), payer=OTHER_SHOP)
    one, other = begin(ledger), begin(ledger, "run-2", batch=AUTUMN)
    assert set(admissions(one, one.claim(6))) == {"admitted"}
    assert set(admissions(other, other.claim(2), budget=None)) == {"admitted"}
    assert admissions(other, other.claim(3)) == ["admitted", "admitted", "over_budget"]
    third = begin(ledger, "run-3", batch=Batch("elsewhere"))
    assert set(admissions(third, third.claim(4))) == {"admitted"}
    assert (left(ledger).left, left(ledger, OTHER_SHOP).left) == (0, 6 * ESTIMATE)


def test_smaller_rows_are_tried_and_a_row_dearer_than_the_whole_is_named(ledger: Ledger) -> None:
    """Each row is measured by itself, in order."""
    sizes = [40, 70, 101, 60, 1]
    load(ledger, [row(str(n), n, credits_estimated=size) for n, size in enumerate(sizes, 1)], origin=_of(SHOP))
    worker, budget = begin(ledger), Budget(100, "day", A_DAY.timezone)
    told = admissions(worker, worker.claim(5), budget)
    assert told == ["admitted", "over_budget", "too_dear", "admitted", "over_budget"]


def test_refunds_and_doubts_count_on_the_day_of_their_charge(ledger: Ledger) -> None:
    """Yesterday's refund does not pay for today, and today's doubt is not over tomorrow."""
    fill(ledger)
    worker = begin(ledger)
    first, second, third = (intent(worker, each) for each in worker.claim(3))
    for each in (first, second, third):
        assert worker.admit(each) is Admission.ADMITTED
        tell(ledger, each)
    settled(ledger, first, 0, RowState.ERROR)
    assert left(ledger).used == 2 * ESTIMATE
    turn_the_day(ledger)
    assert left(ledger).used == 0
    doubtful = intent(worker, worker.claim(1)[0])
    assert worker.admit(doubtful) is Admission.ADMITTED
    tell(ledger, doubtful, Ending.IN_DOUBT)
    settled(ledger, second, 0, RowState.ERROR)
    settled(ledger, third, 1)
    assert left(ledger).used == ESTIMATE
    turn_the_day(ledger)
    tell(ledger, doubtful, Ending.REJECTED)
    assert set(admissions(worker, worker.claim(10))) == {"admitted"}
    assert left(ledger).left == 0


def test_the_clock_of_the_database_says_which_day_it_is() -> None:
    """A worker whose clock is forty days ahead takes nothing of another month's budget."""
    from databases import postgres_url

    with Ledger(postgres_url()) as ledger:
        fill(ledger)
        worker = begin(ledger)
        ahead = replace(intent(worker, worker.claim(1)[0]), at=utc_now() + timedelta(days=40))
        assert worker.admit(ahead) is Admission.ADMITTED
        assert abs(attempt(ledger, ahead.token)["started_at"] - utc_now()) < timedelta(hours=1)
        assert left(ledger).used == ESTIMATE


def test_prices_are_found_out_by_one_row_of_the_account(ledger: Ledger) -> None:
    """Also over its batches; near the budget's end rows go one at a time."""
    load(ledger, rows_of("a", "b"), origin=_of(SHOP))
    load(ledger, rows_of("c", "d", "e", "f"), batch=AUTUMN, origin=_of(SHOP))
    one, other = begin(ledger), begin(ledger, "run-2", batch=AUTUMN)
    probe = intent(one, one.claim(1)[0])
    assert one.admit(probe) is Admission.ADMITTED
    taken = other.claim(4)
    assert other.admit(intent(other, taken[0])) is Admission.WAIT
    tell(ledger, probe)
    small = replace(A_DAY, credits=3 * ESTIMATE)
    assert [other.admit(intent(other, each, small)) for each in taken[:2]] == ["admitted", "wait"]


def test_what_is_unknown_is_said(ledger: Ledger) -> None:
    """No budget can be held on top of a request that may have cost anything; a row of unknown rate is not sent."""
    load(
        ledger,
        [row("a", 1, credits_estimated=None), row("b", 2), row("c", 3, credits_estimated=None)],
        origin=_of(SHOP),
    )
    worker = begin(ledger)
    first, second, third = worker.claim(3)
    assert admissions(worker, [third]) == ["unknown_rate"]
    sent = intent(worker, first, None)
    assert worker.admit(sent) is Admission.ADMITTED
    tell(ledger, sent, Ending.IN_DOUBT)
    assert admissions(worker, [second]) == ["unknown_cost"]
    assert left(ledger).unknown == 1


def test_a_batch_that_is_bound_later_brings_its_costs_along(ledger: Ledger) -> None:
    """What was sent while no one knew whose account it was counts once that is known."""
    fill(ledger)
    unknown = Payer("local", None, "key-1")
    load(ledger, rows_of("x", "y"), batch=AUTUMN, origin=_of(unknown))
    early = begin(ledger, "run-0", batch=AUTUMN)
    assert admissions(early, early.claim(1), budget=None) == ["admitted"]
    with pytest.raises(LedgerError, match="belongs to no account"):
        early.admit(intent(early, early.claim(1)[0]))
    worker = begin(ledger)
    assert admissions(worker, worker.claim(1)) == ["admitted"]
    seen = accounts.SeenAccount(
        api="local", key_hash="key-1", account="shop", tier="pro", credits_=1, seen_at=utc_now()
    )
    ledger.change(lambda connection: accounts.see(connection, seen))
    with pytest.raises(Exception, match="belongs to account shop"):
        ledger.read(lambda connection: runs.check_batch(connection, AUTUMN, OTHER_SHOP))
    assert left(ledger).used == 2 * ESTIMATE


def test_a_batch_that_another_key_has_sent_is_not_bound(ledger: Ledger) -> None:
    """The API did not say whose key it was. It is no one else's: refused, and bound when its own key is known."""
    load(ledger, rows_of("x", "y"), batch=AUTUMN, origin=_of(Payer("local", None, "key-1")))
    bind = partial(accounts.bind, batch=AUTUMN, payer=OTHER_SHOP)
    payer_of, check = (partial(each, batch=AUTUMN) for each in (accounts.payer_of, runs.check_batch))
    ledger.read(partial(check, payer=OTHER_SHOP))  # nothing was sent yet
    early = begin(ledger, "run-0", batch=AUTUMN)
    assert admissions(early, early.claim(1), budget=None) == ["admitted"]
    for other in (OTHER_SHOP, Payer("local", None, "key-2")):
        with pytest.raises(LedgerUnusable, match="was sent with another key"):
            ledger.read(partial(check, payer=other))
        with pytest.raises(LedgerUnusable, match="Use the key that it was sent with"):
            ledger.change(partial(runs.open_batch, batch=AUTUMN, payer=other, base="."))
    ledger.change(bind)
    assert ledger.read(payer_of) == Payer("local", None, "key-1")
    ledger.change(partial(bind, payer=SHOP))
    assert ledger.read(payer_of) == SHOP


@pytest.mark.parametrize("key_hash", ["key-1", None])
def test_a_batch_of_which_nothing_was_sent_is_bound_by_any_key(ledger: Ledger, key_hash: str | None) -> None:
    """So is one that has no key's hash, of an old table."""
    load(ledger, rows_of("x"), batch=AUTUMN, origin=_of(Payer("local", None, key_hash)))
    if key_hash is None:
        early = begin(ledger, "run-0", batch=AUTUMN)
        assert admissions(early, early.claim(1), budget=None) == ["admitted"]
    ledger.change(partial(runs.open_batch, batch=AUTUMN, payer=OTHER_SHOP, base="."))
    assert ledger.read(partial(accounts.payer_of, batch=AUTUMN)) == OTHER_SHOP


def test_two_workers_never_pass_the_budget_together(ledger_url: str) -> None:
    """Whatever order answers come in, with refunds and doubts; the counter is what the attempts add up to."""
    chance = random.Random(7)
    with Ledger(ledger_url) as ledger:
        for batch in (SPRING, AUTUMN):
            fill(ledger, 40, batch)

    def work(name: str, batch: Batch, endings: list[Ending]) -> None:
        with Ledger(ledger_url) as own:
            worker = begin(own, name, batch=batch)
            for taken, ending in zip(worker.claim(len(endings)), endings, strict=True):
                wanted = intent(worker, taken)
                while (told := worker.admit(wanted)) is Admission.WAIT:
                    continue
                if told is Admission.ADMITTED:
                    tell(own, wanted, ending)
                    if ending is Ending.SUBMITTED and int(taken.row_number) % 5 == 0:
                        settled(own, wanted, ESTIMATE // 2)

    kinds = [Ending.SUBMITTED] * 6 + [Ending.REJECTED, Ending.IN_DOUBT, Ending.RETRY]
    threads = [
        threading.Thread(target=work, args=(f"run-{number}", batch, chance.choices(kinds, k=20)))
        for number, batch in enumerate([SPRING, AUTUMN, SPRING, AUTUMN])
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with Ledger(ledger_url) as ledger:
        assert A_DAY.credits - ESTIMATE < left(ledger).used <= A_DAY.credits
