"""After a crash: what dead workers held comes back, what live workers hold stays."""

import asyncio
import os
import signal
from datetime import timedelta

import psutil
import pytest
from acting import (
    ESTIMATE,
    LEASE,
    SPRING,
    Worker,
    attempt,
    begin,
    committed,
    die,
    end,
    entry,
    keys,
    load,
    process_at_work,
    rows_of,
    run_entry,
    set_run,
    states,
    tell,
)
from pydantic import SecretStr
from waiting import wait_until

from reelbatch.domain import RunId
from reelbatch.errors import LedgerUnusable, StateConflict
from reelbatch.ledger import Ledger, runs, utc_now
from reelbatch.ledger.accounts import Payer
from reelbatch.ledger.attempts import Ending
from reelbatch.pipeline.resources import open_client
from reelbatch.pipeline.window_count import Counted, keep_count
from reelbatch.settings import Settings
from reelbatch.submit import RenderWindow

HOUR = timedelta(hours=1)


def recovered(ledger: Ledger) -> tuple[int, int]:
    """What a run does before it begins."""
    return ledger.recover(LEASE)


def test_a_killed_process_is_found_at_once(ledger: Ledger, ledger_url: str) -> None:
    """After kill -9 claimed rows are pending, the row under way is in doubt and its credits stay held back."""
    load(ledger, rows_of("a", "b", "c", "d"))
    with process_at_work(ledger_url) as process:
        assert recovered(ledger) == (0, 0)
        assert states(ledger) == {"a": "sending", "b": "queued", "c": "claimed", "d": "pending"}
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert recovered(ledger) == (1, 1)
    assert states(ledger) == {"a": "in_doubt", "b": "queued", "c": "pending", "d": "pending"}
    assert attempt(ledger, "rb_first")["outcome"] == "in_doubt"
    assert committed(ledger) == 2 * ESTIMATE
    ended = run_entry(Worker(ledger, RunId("killed")))
    assert ended["exit_reason"] == "died"
    assert recovered(ledger) == (0, 0)


def test_a_zombie_counts_as_dead(ledger: Ledger, ledger_url: str) -> None:
    """A process that has ended but was never waited for works no more."""
    load(ledger, rows_of("a", "b", "c"))
    with process_at_work(ledger_url) as process:
        os.kill(process.pid, signal.SIGKILL)
        wait_until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE, "it has ended")
        assert psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE
        assert recovered(ledger) == (1, 1)


def test_a_slow_process_keeps_its_rows(ledger: Ledger, ledger_url: str) -> None:
    """A local worker that is alive but gives no sign of life for a day, or is stopped, is not robbed."""
    load(ledger, rows_of("a", "b", "c"))
    with process_at_work(ledger_url) as process:
        set_run(Worker(ledger, RunId("killed")), heartbeat_at=utc_now() - 24 * HOUR)
        os.kill(process.pid, signal.SIGSTOP)
        assert recovered(ledger) == (0, 0)
    assert states(ledger) == {"a": "sending", "b": "queued", "c": "claimed"}


@pytest.mark.parametrize("moved", [-HOUR, HOUR])
def test_setting_the_clock_kills_no_worker(ledger: Ledger, monkeypatch: pytest.MonkeyPatch, moved: timedelta) -> None:
    """A live local worker stays alive when the clock is set by an hour, forward or back."""
    load(ledger, rows_of("a"))
    worker = begin(ledger)
    worker.claim()
    set_run(worker, heartbeat_at=utc_now() + moved, started_at=utc_now() + moved)
    told = psutil.Process.create_time  # replaced, as no test sets the machine's clock
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: told(self) - moved.total_seconds())
    assert recovered(ledger) == (0, 0)
    assert states(ledger) == {"a": "claimed"}


def test_a_reused_process_id_does_not_keep_rows(ledger: Ledger) -> None:
    """The number of a dead process may go to another; that one holds nothing of ours."""
    load(ledger, rows_of("a"))
    worker = begin(ledger)
    worker.claim()
    set_run(worker, pid_started=run_entry(worker)["pid_started"] - 5)
    assert recovered(ledger) == (1, 0)


def test_another_machine_has_its_lease(ledger: Ledger) -> None:
    """A worker elsewhere keeps its rows until its lease has run out, and loses them then."""
    load(ledger, rows_of("a", "b"))
    worker = begin(ledger)
    worker.intend(worker.claim()[0])
    set_run(worker, host="elsewhere", pid=1, heartbeat_at=utc_now() - LEASE / 2)
    assert recovered(ledger) == (0, 0)
    set_run(worker, heartbeat_at=utc_now() - 2 * LEASE)
    assert recovered(ledger) == (1, 1)


def test_a_sign_of_life_from_hours_ahead_counts_as_one_of_now(ledger: Ledger) -> None:
    """A clock that was ahead once keeps no one's rows from later runs for longer than a lease."""
    load(ledger, rows_of("a", "b"))
    worker = begin(ledger)
    worker.intend(worker.claim()[0])
    set_run(worker, host="elsewhere", pid=1, heartbeat_at=utc_now() + 8 * HOUR)
    assert recovered(ledger) == (0, 0)
    assert run_entry(worker)["heartbeat_at"] <= utc_now()
    assert ledger.recover(timedelta()) == (1, 1)


def test_a_machine_with_the_same_name_is_another_machine(ledger: Ledger) -> None:
    """Two hosts called alike, or a container on its host, do not look up each other's process ids."""
    load(ledger, rows_of("a"))
    worker = begin(ledger)
    worker.claim()
    host = run_entry(worker)["host"].split(" ")[0]
    set_run(worker, host=host, pid=2**22 - 1)
    assert recovered(ledger) == (0, 0)


def test_a_run_that_ended_but_left_rows_gives_them_up(ledger: Ledger) -> None:
    """Rows of a run that is over are no one's, although its process lives on."""
    load(ledger, rows_of("a", "b"))
    worker = begin(ledger)
    worker.intend(worker.claim(1)[0])
    worker.claim()
    end(worker)
    assert recovered(ledger) == (1, 1)


def test_a_run_that_could_not_say_its_end_gives_up_its_rows_in_the_same_process(ledger_url: str) -> None:
    """A notebook whose run ended with a full disk can go on: the same process, but no one at work for that run."""
    with Ledger(ledger_url) as first:
        load(first, rows_of("a", "b"))
        worker = begin(first)
        worker.intend(worker.claim(1)[0])
        worker.claim()
    with Ledger(ledger_url) as second:
        assert recovered(second) == (1, 1)


def test_a_run_of_an_open_table_in_this_process_stays(ledger: Ledger, ledger_url: str) -> None:
    """Two runs side by side in one process leave each other's rows alone."""
    load(ledger, rows_of("a"))
    worker = begin(ledger)
    worker.claim()
    with Ledger(ledger_url) as second:
        assert recovered(second) == (0, 0)
    assert recovered(ledger) == (0, 0)


def test_an_answered_attempt_is_not_doubted(ledger: Ledger) -> None:
    """Recovery marks the attempts without an answer and no others."""
    load(ledger, rows_of("a", "b"))
    worker = begin(ledger)
    first, second = worker.claim()
    sent, open_ = worker.send(first), worker.intend(second)
    die(worker)
    assert recovered(ledger) == (0, 1)
    assert attempt(ledger, sent.token)["outcome"] == "submitted"
    assert attempt(ledger, open_.token)["outcome"] == "in_doubt"


def test_a_worker_taken_for_dead_sends_nothing_that_it_lost(ledger: Ledger) -> None:
    """A worker that wakes up after its rows were handed on gets no intent admitted for them."""
    load(ledger, rows_of("a", "b"))
    worker = begin(ledger)
    first, second = worker.claim()
    die(worker)
    recovered(ledger)
    other = begin(ledger, "run-2")
    assert keys(other.claim(1)) == ["a"]
    before = committed(ledger)
    for taken in (first, second):
        with pytest.raises(StateConflict):
            worker.admit(worker.intent(taken))
    assert committed(ledger) == before


def test_a_worker_taken_for_dead_that_lives_is_at_work_again(ledger: Ledger) -> None:
    """After a sleep longer than its lease, the next sign of life makes what the worker takes its own again."""
    load(ledger, rows_of("a"))
    worker = begin(ledger)
    die(worker)
    recovered(ledger)
    ledger.change(lambda connection: runs.beat(connection, [runs.Heartbeat(worker.run_id, utc_now())]))
    worker.claim()
    assert recovered(ledger) == (0, 0)
    assert run_entry(worker)["ended_at"] is None


def test_a_late_heartbeat_does_not_reopen_a_run_that_ended(ledger: Ledger) -> None:
    """A run's own end is final."""
    worker = begin(ledger)
    end(worker, "cap")
    ledger.change(lambda connection: runs.beat(connection, [runs.Heartbeat(worker.run_id, utc_now())]))
    assert run_entry(worker)["exit_reason"] == "cap"
    assert run_entry(worker)["ended_at"] is not None


@pytest.mark.parametrize(
    ("ending", "state"),
    [
        (Ending.SUBMITTED, "queued"),
        (Ending.IN_DOUBT, "in_doubt"),
        (Ending.RETRY, "pending"),
        (Ending.HALTED, "pending"),
        (Ending.WITHDRAWN, "pending"),
    ],
)
def test_an_answer_that_comes_after_all_clears_the_doubt(ledger: Ledger, ending: Ending, state: str) -> None:
    """Late is better than never: the id is recorded, and what was surely not created may be sent again."""
    load(ledger, rows_of("a"))
    worker = begin(ledger)
    intent = worker.intend(worker.claim()[0])
    die(worker)
    recovered(ledger)
    assert states(ledger) == {"a": "in_doubt"}
    assert tell(ledger, intent, ending) is (ending is not Ending.IN_DOUBT)
    assert states(ledger) == {"a": state}
    assert committed(ledger) == (ESTIMATE if ending in {Ending.SUBMITTED, Ending.IN_DOUBT} else 0)
    assert entry(ledger, "a")["video_id"] == (f"vid-{intent.token}" if ending is Ending.SUBMITTED else None)


def test_a_batch_belongs_to_one_api(ledger: Ledger) -> None:
    """Videos of two APIs are never mixed in one batch: their ids and costs have nothing to do with each other."""
    load(ledger, rows_of("a"))
    for work in (
        lambda connection: runs.check_batch(connection, SPRING, Payer("api.example.com")),
        lambda connection: runs.open_batch(connection, SPRING, Payer("api.example.com"), "."),
    ):
        with pytest.raises(LedgerUnusable, match="generated with local"):
            ledger.change(work)


async def test_a_dead_workers_create_does_not_keep_the_render_window_full(ledger: Ledger) -> None:
    """Every other row waits for its place, and no one else is there to notice that it died."""
    load(ledger, rows_of("a", "b"))
    dead, alive = begin(ledger, "dead"), begin(ledger, "alive")
    (taken,) = dead.claim(1)
    dead.intend(taken)
    values = {"MAGIC_HOUR_API_KEY": SecretStr("key"), "base_url": "http://127.0.0.1:1", "lease_s": 1}
    settings, window = Settings.model_validate(values), RenderWindow(1)
    async with open_client(settings) as client:
        whose = Counted(Payer("local"), alive.run_id)
        counting = asyncio.create_task(keep_count(ledger, client, settings, window, whose))
        window.full()
        waiting = asyncio.create_task(_enter(window))
        await asyncio.sleep(0.5)  # it is counted meanwhile
        assert not waiting.done()
        await asyncio.to_thread(die, dead)
        await asyncio.wait_for(waiting, 30)
        window.stop()
        await counting
    assert states(ledger) == {"a": "in_doubt", "b": "pending"}


async def _enter(window: RenderWindow) -> None:
    async with window.place():
        pass
