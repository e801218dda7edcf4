"""What only Postgres has: connections that break, several clocks, many machines."""

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import forked
import psycopg
import pytest
from acting import LEASE, attempt, begin, committed, entry, keys, load, rows_of, set_run, states, tell
from databases import Gate, postgres_url
from own_postgres import OwnPostgres
from sqlalchemy import Connection, event, select, text, update
from waiting import WAIT_S, wait_until

from reelbatch.domain import RunId
from reelbatch.errors import LedgerError, LedgerUnusable
from reelbatch.ledger import Ledger, claims, runs, schema, throttles
from reelbatch.ledger.accounts import Payer
from reelbatch.ledger.admission import Admission, Window
from reelbatch.ledger.attempts import Ending
from reelbatch.ledger.claims import Claim
from reelbatch.ledger.columns import VERSION
from reelbatch.ledger.intents import record_intents
from reelbatch.ledger.paid_requests import serialize
from reelbatch.ledger.schema import generations, schema_version, writers
from reelbatch.ledger.selection import Scope
from reelbatch.ledger.transactions import PATIENCE_S
from reelbatch.ledger.urls import has_secret, parse_url, shown

KEYS = [f"key-{number:03}" for number in range(40)]
PASSWORD = "s3cret"  # noqa: S105 - of no one
OPENER = """
import sys
from pathlib import Path
from acting import begin
from reelbatch.ledger import Ledger
while not Path(sys.argv[2]).exists():
    pass
with Ledger(sys.argv[1]) as ledger:
    begin(ledger, sys.argv[3])
"""


@pytest.fixture
def ledger_url() -> str:
    """An empty schema."""
    return postgres_url()


@pytest.fixture
def gate(ledger_url: str) -> Iterator[Gate]:
    """The only way to the database for the ledger under test."""
    with Gate(ledger_url) as gate:
        yield gate


@pytest.fixture
def ledger(gate: Gate) -> Iterator[Ledger]:
    """A table behind the gate, whose owner does not wait for long."""
    with Ledger(gate.url) as ledger:
        ledger.transactor.patience_s = 5
        yield ledger


def test_a_commit_whose_answer_is_lost_counts_once(ledger: Ledger, gate: Gate) -> None:
    """The transaction took place: it is neither done again nor reported as failed."""
    load(ledger, rows_of("a", "b"))
    worker = begin(ledger)
    first, _ = worker.claim()
    intent = worker.intent(first)
    gate.swallow_commits = 1
    assert worker.admit(intent) is Admission.ADMITTED
    assert gate.swallowed == 1
    assert states(ledger) == {"a": "sending", "b": "claimed"}
    assert entry(ledger, "a")["attempts"] == 1
    assert committed(ledger) == intent.reserve


def test_a_commit_that_never_arrived_is_done_again(ledger: Ledger, gate: Gate) -> None:
    """The transaction did not take place: it is repeated whole, on a new connection."""
    load(ledger, rows_of("a"))
    worker = begin(ledger)
    (row,) = worker.claim()
    intent = worker.intent(row)
    gate.lose_commits = 1
    assert worker.admit(intent) is Admission.ADMITTED
    assert gate.swallowed == 1
    assert entry(ledger, "a")["attempts"] == 1
    assert attempt(ledger, intent.token)["outcome"] is None
    assert committed(ledger) == intent.reserve


async def test_a_group_in_flight_survives_a_lost_connection(ledger: Ledger, gate: Gate) -> None:
    """Forty intents while the network flickers: each is recorded once, and each of them is answered once."""
    load(ledger, rows_of(*KEYS))
    worker = begin(ledger)
    intents = [worker.intent(row) for row in worker.claim()]
    writes = (ledger.write(record_intents, intent) for intent in intents)
    _, *admitted = await asyncio.gather(asyncio.to_thread(flicker, gate), *writes)
    assert {ruling.admission for ruling in admitted} == {Admission.ADMITTED}
    assert set(states(ledger).values()) == {"sending"}
    assert {entry(ledger, key)["attempts"] for key in KEYS} == {1}
    gate.cut()
    assert all(tell(ledger, intent) for intent in intents)
    assert committed(ledger) == sum(intent.reserve for intent in intents)


def flicker(gate: Gate) -> None:
    """The network fails again and again."""
    for _ in range(5):
        time.sleep(0.01)  # some writes come through in between
        gate.cut()


def test_a_database_that_comes_back_is_waited_for(ledger: Ledger, gate: Gate) -> None:
    """A restart of a second or two costs a second or two; reads and writes go on."""
    load(ledger, rows_of("a"))
    gate.close()
    threading.Timer(1.0, lambda: setattr(gate, "open", True)).start()
    worker = begin(ledger)
    assert keys(worker.claim()) == ["a"]


def test_a_database_that_stays_away_ends_in_words(ledger: Ledger, gate: Gate) -> None:
    """After the patience is used up: one error, which names no password, and the table as it was."""
    load(ledger, rows_of("a"))
    ledger.transactor.patience_s = 0.5
    gate.close()
    for question in (lambda: states(ledger), lambda: begin(ledger)):
        with pytest.raises(LedgerError, match="lost and did not come back; run the same command again"):
            question()
    gate.open = True
    assert states(ledger) == {"a": "pending"}


def test_workers_in_each_others_way_try_again(ledger_url: str) -> None:
    """Two that lock the same rows in opposite order: the database ends one, which is simply done again."""
    with Ledger(ledger_url) as one, Ledger(ledger_url) as other:
        load(one, rows_of("a", "b"))
        meet = threading.Barrier(2, timeout=20)
        tries: list[str] = []

        def lock(first: str, second: str) -> object:
            def work(connection: Connection) -> None:
                tries.append(first)
                change(connection, first)
                if tries.count(first) == 1:
                    meet.wait()
                change(connection, second)

            return work

        def change(connection: Connection, key: str) -> None:
            where = generations.c.row_key == key
            connection.execute(update(generations).where(where).values(attempts=generations.c.attempts + 1))

        thread = threading.Thread(target=one.change, args=(lock("a", "b"),))
        thread.start()
        other.change(lock("b", "a"))
        thread.join()
        assert len(tries) == 3
        assert [entry(one, key)["attempts"] for key in ("a", "b")] == [2, 2]


def test_an_id_that_is_there_before_the_intent_is_the_rows(ledger_url: str) -> None:
    """Another process records it between the look for such ids and the intent: it waits, or the row goes by it."""
    with Ledger(ledger_url) as here, Ledger(ledger_url) as webhook, Ledger(ledger_url) as third:
        load(here, rows_of("a"))
        first = begin(here)
        refused = first.send(first.claim()[0], Ending.REJECTED, status=500, code="http_500", message="no")
        for prompt in ("Another prompt", "Slow pan"):  # the row forgets its request, and asks for the same again
            load(here, rows_of("a", prompt=prompt))
        worker = begin(here, "run-2")
        intent = worker.intent(worker.claim()[0])
        may_go_on, is_held = threading.Event(), threading.Event()

        def hold(connection: Connection) -> None:
            serialize(connection, [intent.asked.request_sha256 or ""])  # which the intent comes to after its look
            is_held.set()
            may_go_on.wait(WAIT_S)

        with ThreadPoolExecutor() as threads:
            holding = threads.submit(third.change, hold)
            is_held.wait(WAIT_S)
            admitted = threads.submit(worker.admit, intent)
            wait_until(lambda: waiting_for_locks(ledger_url) == 1, "the intent waits")
            recorded = threads.submit(tell, webhook, refused)
            wait_until(lambda: recorded.done() or waiting_for_locks(ledger_url) == 2, "the id is there, or waits")
            was_first = recorded.done()
            may_go_on.set()
            holding.result()
        assert (admitted.result() is Admission.MADE) is was_first
        assert attempt(here, refused.token)["video_id"] == f"vid-{refused.token}"


def test_two_workers_at_one_moment_have_one_probe(ledger_url: str) -> None:
    """The second waits for the batch while the first begins to find out a price: it sees that when its turn comes."""
    with Ledger(ledger_url) as here, Ledger(ledger_url) as there:
        load(here, rows_of("a", "b", "c", "d"))
        one, other = begin(here, max_credits=1000), begin(there, "run-2", max_credits=1000)
        mine, theirs = (worker.intent(worker.claim(1)[0]) for worker in (one, other))
        is_held, may_go_on = threading.Event(), threading.Event()

        def probe(connection: Connection) -> object:
            (ruling,) = record_intents(connection, [mine])
            is_held.set()
            may_go_on.wait(WAIT_S)
            return ruling.admission

        with ThreadPoolExecutor() as threads:
            first = threads.submit(here.change, probe)
            is_held.wait(WAIT_S)
            second = threads.submit(other.admit, theirs)
            wait_until(lambda: waiting_for_locks(ledger_url) == 1, "the second waits")
            may_go_on.set()
        assert (first.result(), second.result()) == (Admission.ADMITTED, Admission.WAIT)


def test_a_create_that_is_answered_meanwhile_keeps_its_place(ledger_url: str) -> None:
    """Between the two looks by which places in the render window are counted, it goes from one to the other."""
    with Ledger(ledger_url) as here, Ledger(ledger_url) as there:
        load(here, rows_of("a", "b"))
        one, other = begin(here), begin(there, "run-2")
        leaving = other.intend(other.claim(1)[0])
        intent = replace(one.intent(one.claim(1)[0]), window=Window(Payer("local"), 1))
        told: list[bool] = []

        def answer_meanwhile(_: object, __: object, statement: str, *___: object) -> None:
            if "count(" in statement and not told:
                told.append(tell(there, leaving))

        event.listen(here._engine, "after_cursor_execute", answer_meanwhile)
        assert one.admit(intent) is Admission.WINDOW_FULL
        assert told == [True]


@pytest.mark.parametrize("known", [False, True])
def test_a_longer_wait_that_is_told_at_the_same_moment_holds(ledger_url: str, known: bool) -> None:
    """Two workers of an account hear "too fast" at once; the one that is told a second leaves the other's minute."""
    with Ledger(ledger_url) as here, Ledger(ledger_url) as there:
        minute, second = (throttles.Told("payer", RunId(f"run-{wait_s}"), wait_s) for wait_s in (60.0, 1.0))
        if known:
            here.change(lambda connection: throttles.tell(connection, [second]))
        is_told, may_go_on = threading.Event(), threading.Event()

        def tell_slowly(connection: Connection) -> None:
            throttles.tell(connection, [minute])
            is_told.set()
            may_go_on.wait(WAIT_S)

        with ThreadPoolExecutor() as threads:
            first = threads.submit(here.change, tell_slowly)
            is_told.wait(WAIT_S)
            other = threads.submit(there.change, lambda connection: throttles.tell(connection, [second]))
            wait_until(lambda: waiting_for_locks(ledger_url) == 1, "the second waits")
            may_go_on.set()
            first.result()
            other.result()
        found = here.read(lambda connection: throttles.latest(connection, "payer"))
        assert found is not None
        assert found.left_s > 30


def waiting_for_locks(url: str) -> int:
    """Connections of this test's database that wait for a lock."""
    with psycopg.connect(url.replace("postgresql+psycopg", "postgresql")) as connection:
        query = "SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted"
        found = connection.execute(query).fetchone()
    return 0 if found is None else int(found[0])


def test_a_worker_that_loses_every_deadlock_for_a_while_ends_nothing(ledger_url: str) -> None:
    """Twenty workers that clear up after a restart may choose the same one as the victim more than ten times."""
    collide = text("DO $$ BEGIN RAISE EXCEPTION 'deadlock detected' USING ERRCODE = '40P01'; END $$")
    left = [None] * 12

    def work(connection: Connection) -> str:
        if left:
            left.pop()
            connection.execute(collide)
        return "done"

    with Ledger(ledger_url) as ledger:
        assert ledger.change(work) == "done"
        left += [None]
        assert ledger.read(work) == "done"


def test_a_counter_that_was_cleared_away_is_made_again(ledger: Ledger) -> None:
    """Of a process that ran for months: its next write makes it anew."""
    load(ledger, rows_of("a"))
    with ledger.connection() as connection:
        connection.execute(writers.delete())
        connection.commit()
    assert keys(begin(ledger).claim()) == ["a"]
    assert len(ledger.read(lambda connection: connection.scalars(select(writers.c.writer)).all())) == 1


def test_a_lost_commit_that_no_one_can_look_up_is_not_guessed_at(ledger: Ledger, ledger_url: str, gate: Gate) -> None:
    """Without its counter no one knows whether it took place: it is neither repeated nor called done."""
    load(ledger, rows_of("a"))
    worker = begin(ledger)
    (row,) = worker.claim()
    gate.swallow_commits = 1
    gate.on_swallowed = lambda: clear_counters(ledger_url)
    with pytest.raises(LedgerError, match="what became of it can't be found out"):
        worker.admit(worker.intent(row))
    assert entry(ledger, "a")["attempts"] == 1


def clear_counters(url: str) -> None:
    """As an administrator might."""
    with psycopg.connect(parse_url(url).set(drivername="postgresql").render_as_string()) as connection:
        connection.execute("DELETE FROM writers")


def test_a_run_that_just_begins_is_not_taken_for_one_that_ended(ledger_url: str) -> None:
    """Another worker begins, claims and sends between the two looks that a recovery takes."""
    with Ledger(ledger_url) as one, Ledger(ledger_url) as other:
        load(one, rows_of("a", "b"))
        begun: list[bool] = []

        def begin_meanwhile(_: object, __: object, statement: str, *___: object) -> None:
            if "DISTINCT" in statement and not begun:
                begun.append(True)
                worker = begin(other, "run-2")
                first, _ = worker.claim()
                worker.intend(first)

        event.listen(one._engine, "after_cursor_execute", begin_meanwhile)
        assert one.recover(LEASE) == (0, 0)
        assert begun
        assert states(one) == {"a": "sending", "b": "claimed"}


def test_what_is_confirmed_is_on_disk(ledger_url: str) -> None:
    """A server or role whose commits are quick and loose is not: a request leaves on the strength of a commit."""
    with Ledger(f"{ledger_url}%20-csynchronous_commit%3Doff%20-cstatement_timeout%3D50") as ledger:
        asked = [
            ledger.read(lambda connection, name=name: connection.scalar(text(f"SHOW {name}")))
            for name in ("synchronous_commit", "statement_timeout")
        ]
    assert asked == ["on", "0"]


def test_two_claim_at_once_and_share(ledger_url: str) -> None:
    """Rows that another worker is just taking are passed over, not waited for."""
    with Ledger(ledger_url) as one, Ledger(ledger_url) as other:
        load(one, rows_of(*KEYS))
        worker = begin(other, "run-2")
        scope = Scope("spring", RunId("run-1"))
        both: list[list[str]] = []

        def claim_while_the_other_does(connection: Connection) -> None:
            mine = claims.claim(connection, [Claim(scope, (1, 100), 10)])[0]
            both.append(keys(mine))
            both.append(keys(worker.claim(10)))

        one.change(claim_while_the_other_does)
        assert both == [KEYS[:10], KEYS[10:20]]


def test_the_claim_reads_only_pending_rows(ledger_url: str) -> None:
    """However large the table: the index by state, up to the rows that are wanted, and no sort."""
    with Ledger(ledger_url) as ledger:
        load(ledger, rows_of(*(f"key-{number:05}" for number in range(5000))))
        ledger.change(lambda connection: connection.execute(settled()))
        ledger.change(lambda connection: connection.exec_driver_sql("ANALYZE generations"))
        plan = plan_of(ledger, Claim(Scope("spring", RunId("run-1")), (1, 5000), 16))
    assert "Index Scan using results_state on generations" in plan
    assert "Seq Scan" not in plan
    assert "Sort" not in plan


def settled() -> object:
    """All but the last hundred rows have their video."""
    done = {"state": "complete", "video_id": "vid"}
    return update(generations).where(generations.c.row_number <= 4900).values(done)


def plan_of(ledger: Ledger, item: Claim) -> str:
    """How Postgres goes about a claim."""
    seen: list[tuple[str, object]] = []

    def remember(_: object, __: object, statement: str, values: object, *___: object) -> None:
        if "SKIP LOCKED" in statement:
            seen.append((statement, values))

    event.listen(ledger._engine, "before_cursor_execute", remember)
    ledger.change(lambda connection: claims.claim(connection, [item]))
    event.remove(ledger._engine, "before_cursor_execute", remember)
    ((statement, values),) = seen
    with ledger.connection() as connection:
        return "\n".join(connection.exec_driver_sql(f"EXPLAIN {statement}", values).scalars())


def test_five_processes_may_open_a_new_table_at_once(ledger_url: str, tmp_path: Path) -> None:
    """Workers that start together make the tables once, and none of them fails."""
    go = tmp_path / "go"
    commands = [[sys.executable, "-c", OPENER, ledger_url, str(go), f"run-{number}"] for number in range(5)]
    here = Path(__file__).parent
    path = {"PYTHONPATH": f"{here}:{here.parent / 'support'}"}
    workers = [forked.Popen(command, cwd=here, stderr=subprocess.PIPE, text=True, env=path) for command in commands]
    go.touch()
    assert [worker.communicate()[1] for worker in workers] == [""] * 5
    with Ledger(ledger_url) as ledger:
        versions = ledger.read(lambda connection: connection.scalars(select(schema_version.c.version)).all())
        assert versions == [VERSION]
        assert ledger.read(lambda connection: connection.scalar(text("SELECT count(*) FROM runs"))) == 5
        assert ledger.read(lambda connection: connection.scalars(select(writers.c.writer)).all()) == []


def test_a_lease_goes_by_the_databases_clock(ledger_url: str) -> None:
    """Two machines whose clocks are an hour apart do not take each other for dead."""
    with Ledger(ledger_url) as ledger:
        load(ledger, rows_of("a"))
        slow = begin(ledger)
        slow.claim()
        set_run(slow, host="elsewhere")
        hour_ago = runs.Heartbeat(slow.run_id, runs_time(ledger) - 60 * LEASE)
        ledger.change(lambda connection: runs.beat(connection, [hour_ago]))
        assert ledger.recover(LEASE) == (0, 0)
        set_run(slow, heartbeat_at=runs_time(ledger) - 2 * LEASE)
        assert ledger.recover(LEASE) == (1, 0)


@pytest.mark.parametrize(
    ("lease_s", "stopped", "dropped"),
    [
        (600, "10s", ("10", "5", "30000")),
        (60, "10s", ("10", "5", "30000")),
        (24, "8s", ("4", "2", "12000")),
        (3, "1s", ("1", "1", "1500")),
    ],
)
def test_what_is_waited_for_scales_with_the_lease(
    gate: Gate, lease_s: float, stopped: str, dropped: tuple[str, str, str]
) -> None:
    """A worker that was stopped in a transaction, or cut off, holds its locks for less than a lease."""
    names = ("keepalives_idle", "keepalives_interval", "tcp_user_timeout")
    with Ledger(gate.url, lease_s) as ledger, ledger.connection() as connection:
        assert connection.scalar(text("SHOW idle_in_transaction_session_timeout")) == stopped
        stated = connection.connection.driver_connection.info.get_parameters()
        assert tuple(stated[name] for name in names) == dropped
        assert ledger.transactor.patience_s == min(30, lease_s / 2)


def runs_time(ledger: Ledger) -> datetime:
    """The database's time."""
    return ledger.read(lambda connection: connection.execute(text("SELECT clock_timestamp()")).scalar_one())


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql+psycopg://u:s3cret@127.0.0.1:1/db", "nothing answers there"),
        ("postgresql://u:s3cret@127.0.0.1:1/db", "nothing answers there"),
        ("postgres://u:s3cret@127.0.0.1:1/db", "nothing answers there"),
        ("postgresql+psycopg://u:s3cret@nowhere.invalid/db", "no host of this name"),
        ("postgresql+asyncpg://u:s3cret@127.0.0.1/db", "SQLite .* or Postgres"),
        ("mysql://u:s3cret@127.0.0.1/db", "SQLite .* or Postgres"),
        ("postgresql+psycopg://u@127.0.0.1:1/db?sslpassword=s3cret&sslmode=disable", "nothing answers there"),
    ],
)
def test_what_can_not_be_opened_is_said_without_the_password(url: str, says: str) -> None:
    """One line with what to do, at once, and nothing secret in it."""
    with pytest.raises(LedgerUnusable, match=says) as raised:
        Ledger(url)
    assert PASSWORD not in str(raised.value)
    assert has_secret("postgresql://u:s3cret@h/db")


def test_a_database_that_is_not_there_is_named(ledger_url: str) -> None:
    """With the remedy."""
    with pytest.raises(LedgerUnusable, match='database "nowhere" does not exist; make it with createdb'):
        Ledger(ledger_url.replace("/postgres?", "/nowhere?"))


def test_tls_that_the_server_does_not_speak_is_said(gate: Gate) -> None:
    """Anyone who asks for TLS does not get a connection without it."""
    with pytest.raises(LedgerUnusable, match="speaks no TLS"):
        Ledger(f"{gate.url}&sslmode=require")


def test_a_user_without_rights_is_told(ledger_url: str) -> None:
    """A role that may not make tables there hears which right it lacks."""
    with psycopg.connect(
        parse_url(ledger_url).set(drivername="postgresql").render_as_string(), autocommit=True
    ) as db:
        db.execute("DROP ROLE IF EXISTS reader")
        db.execute("CREATE ROLE reader LOGIN")
    with pytest.raises(LedgerUnusable, match="it needs USAGE and CREATE"):
        Ledger(ledger_url.replace("postgres@", "reader@"))


def test_a_url_is_shown_without_what_is_secret() -> None:
    """In every message, report and file name."""
    url = "postgresql+psycopg://me:s3cret@db.example.com:6432/reel?sslpassword=s3cret&sslmode=verify-full"
    assert shown(url) == "postgresql+psycopg://me:***@db.example.com:6432/reel?sslmode=verify-full"


def test_attempts_of_a_dead_worker_elsewhere_are_kept(ledger_url: str) -> None:
    """After the lease its claimed rows are free, its request under way is in doubt with its credits held back."""
    with Ledger(ledger_url) as ledger:
        load(ledger, rows_of("a", "b"))
        worker = begin(ledger)
        first, _ = worker.claim()
        intent = worker.intend(first)
        set_run(worker, host="elsewhere", heartbeat_at=runs_time(ledger) - 2 * LEASE)
        assert ledger.recover(LEASE) == (1, 1)
        assert states(ledger) == {"a": "in_doubt", "b": "pending"}
        outcome = select(schema.attempts.c.outcome).where(schema.attempts.c.token == intent.token)
        assert ledger.read(lambda connection: connection.scalar(outcome)) == "in_doubt"
        assert committed(ledger) == intent.reserve


@pytest.fixture
def restarted(tmp_path: Path) -> Iterator[OwnPostgres]:
    """A server of the test's own."""
    with OwnPostgres(tmp_path) as server:
        yield server


def test_a_database_that_restarts_is_waited_for(restarted: OwnPostgres) -> None:
    """While it says that it shuts down, while nothing answers, and while it comes up: then the table opens."""
    opened: list[str] = []
    Ledger(restarted.url).close()
    with psycopg.connect(restarted.plain_url):  # a smart stop waits for it
        restarted.stop()
        with pytest.raises(psycopg.OperationalError, match="shutting down"):
            psycopg.connect(restarted.plain_url)
        opening = threading.Thread(target=lambda: opened.append(_opened(restarted.url)))
        opening.start()
        opening.join(1)
        assert opening.is_alive()
    wait_until(lambda: restarted.has_ended, "Postgres ends")
    assert opening.is_alive()
    restarted.start()
    opening.join(WAIT_S)
    assert opened == ["opened"]


def test_a_database_that_is_just_not_there_is_not_waited_for(restarted: OwnPostgres) -> None:
    """A wrong address or a server that no one started is said at once."""
    restarted.stop()
    wait_until(lambda: restarted.has_ended, "Postgres ends")
    before = time.monotonic()
    with pytest.raises(LedgerUnusable, match="check"):
        Ledger(restarted.url)
    assert time.monotonic() - before < PATIENCE_S / 2


def _opened(url: str) -> str:
    Ledger(url).close()
    return "opened"
