"""Looks at money and at what ran say the same on SQLite and on Postgres."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from acting import ESTIMATE, SPRING, Worker, batch_names, begin, end, load, rows_of
from sqlalchemy import Connection, update

from reelbatch.domain import Credits, RowKey, RowState, VideoId
from reelbatch.ledger import (
    Ledger,
    account_books,
    accounts,
    due,
    history,
    inspection,
    queries,
    runs,
    settlements,
    spending,
    utc_now,
)
from reelbatch.ledger.accounts import Payer, PriceClass, SeenAccount
from reelbatch.ledger.attempts import Ending
from reelbatch.ledger.columns import VERSION
from reelbatch.ledger.due import Rendered
from reelbatch.ledger.schema import attempts, schema_version
from reelbatch.ledger.schema import runs as runs_table
from reelbatch.ledger.settlements import Final
from reelbatch.ledger.spending import Wanted

PAYER = Payer("local", "acc_7", "hash")
FIRST = datetime(2026, 11, 1, 7, tzinfo=UTC)
ADDED_IN_6 = {
    "accounts": ["period_end"],
    "batches": ["archived_at"],
    "runs": ["account", "balance", "balance_at", "period_end"],
    "attempts": ["settled_at"],
}


def send_all(worker: Worker, *endings: Ending) -> None:
    """Each row to its answer."""
    for taken, ending in zip(worker.claim(), endings, strict=True):
        worker.send(taken, ending)


def at(ledger: Ledger, *moments: datetime) -> None:
    """When the requests of rows a, b, c, … left."""

    def work(connection: Connection) -> None:
        for key, moment in zip("abcdefgh", moments, strict=False):
            connection.execute(update(attempts).where(attempts.c.row_key == key).values(started_at=moment))

    ledger.change(work)


def test_periods_add_up_to_everything(ledger: Ledger) -> None:
    """However many there are: each request is in the one whose beginning it does not precede."""
    load(ledger, rows_of("a", "b", "c", "d"))
    send_all(begin(ledger), Ending.SUBMITTED, Ending.SUBMITTED, Ending.IN_DOUBT, Ending.REJECTED)
    days = [FIRST + timedelta(days=number) for number in range(400)]
    at(ledger, days[0], days[7] - timedelta(microseconds=1), days[399], days[399])
    found = ledger.read(partial(spending.by_period, wanted=Wanted(), edges=days))
    known = {number: (money.charged, money.in_doubt) for number, money in found.items() if money != Credits()}
    assert known == {0: (ESTIMATE, 0), 6: (ESTIMATE, 0), 399: (0, ESTIMATE)}
    assert ledger.read(partial(spending.span, wanted=Wanted())) == (days[0], days[399])
    total = ledger.read(partial(spending.total, wanted=Wanted()))
    assert total == ledger.read(partial(queries.credits_of, batch=SPRING))
    assert ledger.read(partial(spending.by_batch, wanted=Wanted(SPRING))) == {SPRING: total}
    assert ledger.read(partial(spending.by_model, wanted=Wanted())) == {"ltx-2.3": total}
    few = Wanted(None, days[1], days[399])
    assert ledger.read(partial(spending.total, wanted=few)).charged == ESTIMATE


def note(ledger: Ledger, worker: Worker, credits_: int, moment: datetime) -> None:
    """The run begins with this balance."""
    seen = SeenAccount(
        api=PAYER.api,
        key_hash="hash",
        account="acc_7",
        tier="pro",
        credits_=credits_,
        seen_at=moment,
        period_end=FIRST,
    )
    ledger.change(partial(accounts.see, seen=seen))
    ledger.change(partial(runs.note_balance, items=[runs.Payment(worker.run_id, PAYER.api, "hash")]))


def test_a_run_keeps_the_balance_that_it_began_with(ledger: Ledger) -> None:
    """Whatever the API says later; the newest comes first, and another account's counts for nothing."""
    load(ledger, rows_of("a"))
    ledger.change(partial(runs.open_batch, batch=SPRING, payer=PAYER, base="."))
    first, second = begin(ledger, "run-1"), begin(ledger, "run-2")
    note(ledger, first, 1000, FIRST)
    note(ledger, second, 900, FIRST + timedelta(hours=1))
    points = ledger.read(partial(account_books.balance_points, payer=PAYER))
    assert [(point.run_id, point.balance, point.at, point.period_end) for point in points] == [
        ("run-2", 900, FIRST + timedelta(hours=1), FIRST),
        ("run-1", 1000, FIRST, FIRST),
    ]
    assert ledger.read(partial(account_books.balance_points, payer=PAYER._replace(account="acc_8"))) == []


def test_the_books_of_an_account(ledger: Ledger) -> None:
    """What moved since, what is open, what is in doubt, and what no one can place before or after a moment."""
    load(ledger, rows_of("a", "b", "c", "d"))
    ledger.change(partial(runs.open_batch, batch=SPRING, payer=PAYER, base="."))
    worker = begin(ledger)
    taken = worker.claim()
    worker.send(taken[0])
    worker.send(taken[1], Ending.IN_DOUBT)
    worker.intend(taken[2])
    ask: Any = partial(partial, of=[SPRING])
    assert ledger.read(partial(due.batches_of, payer=PAYER)) == [SPRING]
    assert ledger.read(ask(account_books.open_ends)) == (1, 1)
    assert ledger.read(ask(account_books.flows_since, since=FIRST)) == (1, ESTIMATE, ESTIMATE, 0)
    (doubt,) = ledger.read(ask(account_books.doubtful))
    assert (doubt.row_key, doubt.credits_reserved, doubt.row_in_doubt) == ("b", ESTIMATE, True)
    at(ledger, FIRST, FIRST, FIRST)
    later = FIRST + timedelta(seconds=1)
    assert ledger.read(ask(account_books.unclear_at, moment=later)) == (3, 0)  # all were answered much later
    assert ledger.read(ask(account_books.unclear_at, moment=FIRST)) == (0, 0)


def test_runs_and_their_costs(ledger: Ledger) -> None:
    """The newest first, each with what its own requests have cost."""
    load(ledger, rows_of("a", "b"))
    first = begin(ledger, "run-1", max_credits=5 * ESTIMATE)
    send_all(first, Ending.SUBMITTED, Ending.IN_DOUBT)
    end(first, "cap")
    begin(ledger, "run-2")
    found = ledger.read(partial(history.past_runs, of=[SPRING], limit=5))
    assert [(run.run_id, run.exit_reason, run.max_credits) for run in found] == [
        ("run-2", None, None),
        ("run-1", "cap", 5 * ESTIMATE),
    ]
    costs = ledger.read(partial(history.costs, of=[run.run_id for run in found]))
    assert set(costs) == {"run-1"}
    assert (costs[first.run_id].requests, costs[first.run_id].videos) == (2, 1)
    assert (costs[first.run_id].credits.charged, costs[first.run_id].credits.in_doubt) == (ESTIMATE, ESTIMATE)


def test_an_archived_batch_is_there_and_not_meant(ledger: Ledger) -> None:
    """Until it is taken back; twice is once."""
    load(ledger, rows_of("a"))
    archive = partial(runs.archive, batch=SPRING)
    assert [ledger.change(partial(archive, at=FIRST)), ledger.change(partial(archive, at=FIRST))] == [True, False]
    assert (ledger.read(queries.current_batches), batch_names(ledger)) == ([], [SPRING])
    assert ledger.read(history.known_batches)[0].archived_at == FIRST
    assert ledger.change(partial(archive, at=None))
    assert ledger.read(queries.current_batches) == [SPRING]


def test_prices_that_were_seen_are_listed(ledger: Ledger) -> None:
    """And whether a batch has rows of such a kind."""
    load(ledger, rows_of("a"))
    worker = begin(ledger)
    worker.send(worker.claim()[0])
    (seen,) = ledger.read(accounts.seen_prices)
    assert (seen.price.charged, seen.price.settled, seen.kind.model) == (ESTIMATE, None, "ltx-2.3")
    has_kind = partial(accounts.has_kind, batch=SPRING)
    assert ledger.read(partial(has_kind, kind=seen.kind))
    other = PriceClass("local", "", "ltx-2.3", "default", audio=True, seconds=2.0)
    assert not ledger.read(partial(has_kind, kind=other))


def test_a_table_of_version_5_gets_its_columns(ledger_url: str) -> None:
    """On both databases; a look at it before that changes nothing."""
    with Ledger(ledger_url) as ledger:
        load(ledger, rows_of("a"))
        ledger.change(_as_version_5)
    assert inspection.look_at(ledger_url).version == 5
    assert inspection.look_at(ledger_url).version == 5
    with Ledger(ledger_url) as ledger:
        worker = begin(ledger)
        note(ledger, worker, 1000, FIRST)
        assert (
            ledger.read(lambda connection: connection.execute(runs_table.select()).mappings().one())["balance"]
            == 1000
        )
        assert ledger.read(queries.current_batches) == [SPRING]
    facts = inspection.look_at(ledger_url)
    assert (facts.version, facts.may_write) == (VERSION, True)


def _as_version_5(connection: Connection) -> None:
    for table, columns in ADDED_IN_6.items():
        for column in columns:
            connection.exec_driver_sql(f"ALTER TABLE {table} DROP COLUMN {column}")
    connection.execute(update(schema_version).values(version=5))


def test_a_refund_of_a_video_without_a_figure_makes_the_moment_before_unclear(ledger: Ledger) -> None:
    """No one knows what the balance of that moment had lost to it."""
    load(ledger, rows_of("a"))
    worker = begin(ledger)
    intent = worker.send(worker.claim()[0], credits_charged=None)
    before = utc_now()
    row = Rendered(SPRING, RowKey("a"), VideoId(f"vid-{intent.token}"), intent.token, RowState.QUEUED, 1)
    final = Final(row=row, state=RowState.ERROR, at=before + timedelta(seconds=1), credits_final=0)
    ledger.change(partial(settlements.record_finals, items=[final]))
    unclear = ledger.read(partial(account_books.unclear_at, of=[SPRING], moment=before))
    assert unclear == (0, 1)
