"""Runs that are killed, stopped, halted and doubled: the same command again finishes, and nothing is paid twice.

Where Prefect has a part in it, the commands are those of a clone; else those of a wheel, whose work is the same (see
test_crash_points.py) and which start in a moment. What ends by itself, with no other process beside it, runs here.
"""

import os
import pty
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from waiting import wait_until
from workplace import CREDITS_A_ROW, FROM_NOTEBOOK, Process, Workplace, check_books, working

from reelbatch.sandbox import RunningSandbox, start

STUCK = "rb-stuck"
SLOW = {"latency_ms": 200, "render_video": False}


@pytest.fixture(scope="module")
def running() -> Iterator[RunningSandbox]:
    """An API that takes 200 ms for a create, so that some are always under way."""
    with start(**SLOW) as sandbox:
        yield sandbox


@pytest.fixture
def workplace(tmp_path: Path, sandbox: RunningSandbox, prefect_env: dict[str, str]) -> Iterator[Workplace]:
    """60 rows, unless a test writes fewer, of which eight are sent at once; a Prefect server already runs."""
    with working(tmp_path, sandbox, {**prefect_env, "REELBATCH_CONCURRENCY": "8"}) as place:
        place.write_manifest(60)
        yield place


@pytest.fixture
def alone(tmp_path: Path, sandbox: RunningSandbox, serverless_env: dict[str, str]) -> Iterator[Workplace]:
    """The same without a Prefect server: each process starts its own."""
    with working(tmp_path, sandbox, {**serverless_env, "REELBATCH_CONCURRENCY": "8"}) as place:
        place.write_manifest(60)
        yield place


def wait_for_ids(workplace: Workplace, count: int) -> None:
    """Wait until some rows have their ids, while others are still to come."""
    wait_until(lambda: workplace.ids() >= count, f"{count} ids in the table")


def check_recovery(workplace: Workplace) -> None:
    """After a crash: the same work again finishes at once, and every row is accounted for."""
    before = workplace.states()
    assert before["sending"], f"nothing was under way: {dict(before)}"
    assert not workplace.left_running()
    again = workplace.generate_here()
    assert again.code == 1  # rows in doubt are left to people
    report = again.report
    assert report["in_doubt"] == before["sending"]
    assert report["submitted"] == before["pending"] + before["claimed"]
    assert report["pending"] == 0
    assert workplace.states() == {"queued": 60 - before["sending"], "in_doubt": before["sending"]}


@pytest.mark.slow
def test_after_a_kill_the_same_command_finishes(alone: Workplace) -> None:
    """`kill -9` leaves no process behind; the next run takes over at once and repeats nothing that was under way."""
    command = alone.generate()
    wait_for_ids(alone, 16)
    wait_until(lambda: alone.states()["sending"], "others are under way")
    command.kill()
    wait_until(lambda: not alone.left_running(), "the temporary Prefect server ends with its parent")
    check_recovery(alone)
    check_books(alone)


def test_a_killed_run_takes_its_sandbox_with_it(tmp_path: Path, quiet_env: dict[str, str]) -> None:
    """A killed `generate --sandbox` leaves no sandbox running; the next one finds its videos and books again."""
    config = tmp_path / "slow.yaml"
    config.write_text("concurrency: 8\nsandbox: {latency_ms: 200, render_video: false}\n")
    with working(tmp_path, None, quiet_env) as place:
        place.write_manifest(40)
        command = place.generate_from_wheel("--config", str(config))
        wait_for_ids(place, 8)
        wait_until(lambda: place.states()["sending"], "others are under way")
        command.kill()
        wait_until(lambda: not place.left_running(), "the sandbox ends with its parent")
        under_way = place.states()["sending"]
        again = place.generate_from_wheel("--config", str(config)).finish()
        assert (again.code, again.report["in_doubt"]) == (1 if under_way else 0, under_way)
        assert again.report["pending"] == 0
        with start(data=place.table.parent / "sandbox") as sandbox:
            check_books(place, sandbox.books()["charges"])


def test_two_at_once_share_the_rows(workplace: Workplace) -> None:
    """Two terminals with the same command: each sends some of the rows, none is sent twice, both end well."""
    workplace.write_manifest(40)
    slowly = {"REELBATCH_RATE_LIMIT": "2"}  # so that the second is at work long before the first is done
    ended = [command.finish() for command in [workplace.generate_from_wheel(env=slowly) for _ in range(2)]]
    assert [done.code for done in ended] == [0, 0], [done.err for done in ended]
    assert all(done.report["submitted"] for done in ended)
    assert sum(done.report["submitted"] for done in ended) == 40
    assert workplace.states() == {"queued": 40}
    check_books(workplace)


def interrupted_by(command: Process, workplace: Workplace, how: Callable[[], None]) -> None:
    """Stop a run in its midst; whatever is under way has to be recorded before it ends."""
    wait_for_ids(workplace, 8)
    how()
    done = command.finish()
    assert done.code == 130, done.err
    assert "Traceback" not in done.err
    assert done.report["exit_reason"] == "interrupted"
    states = workplace.states()
    assert set(states) == {"queued", "pending"}
    assert len(workplace.charges()) == states["queued"] == done.report["queued"]
    assert states["pending"] == done.report["pending"]
    check_books(workplace)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_gently(workplace: Workplace, number: signal.Signals) -> None:
    """What is under way is waited for and recorded, the rest stays pending, the exit code is 130.

    SIGHUP is what a terminal that is closed, or a connection that is lost, leaves behind; it reaches the core, and
    SIGTERM a flow. SIGINT comes from a terminal, below.
    """
    command = workplace.generate() if number == signal.SIGTERM else workplace.generate_from_wheel()
    interrupted_by(command, workplace, lambda: command.signal(number))


@pytest.mark.slow
def test_ctrl_c_at_a_terminal_stops_gently(alone: Workplace) -> None:
    """A terminal sends Ctrl-C to every process of its foreground group; the servers must not end before the run."""
    keyboard, screen = pty.openpty()
    command = alone.generate("--concurrency", "4", terminal=os.ttyname(screen))
    os.close(screen)
    os.set_blocking(keyboard, False)
    interrupted_by(command, alone, lambda: os.write(keyboard, b"\x03") and None)
    shown = b""
    with suppress(OSError):  # the terminal's other end is closed
        while part := os.read(keyboard, 65536):
            shown += part
    os.close(keyboard)
    assert b"Traceback" not in shown
    rest = alone.generate_here()
    assert (rest.code, alone.states()) == (0, {"queued": 60})
    check_books(alone)


def test_interrupting_a_notebook_stops_gently(workplace: Workplace) -> None:
    """Where an event loop runs already, as in a notebook, an interrupt stops the spending too."""
    cell = workplace.from_python(script=FROM_NOTEBOOK, concurrency=4)
    wait_for_ids(workplace, 8)
    cell.signal(signal.SIGINT)
    assert cell.finish().code == 130
    assert set(workplace.states()) == {"queued", "pending"}
    check_books(workplace)


def test_a_second_ctrl_c_stops_at_once(workplace: Workplace, sandbox: RunningSandbox) -> None:
    """It does not wait for an answer that does not come; that row is in doubt afterwards, and never sent again."""
    sandbox.set_faults(match=[{"text": f"{workplace.mark[:8]}-0003", "kind": "stall_after"}], stall_seconds=120)
    command = workplace.generate()
    wait_for_ids(workplace, 8)
    command.signal(signal.SIGINT)
    wait_until(lambda: workplace.states()["claimed"] == 0 and workplace.states()["sending"] == 1, "one is under way")
    assert command.running
    command.signal(signal.SIGINT)
    done = command.finish()
    assert (done.code, done.out) == (130, "")
    assert "Traceback" not in done.err
    again = workplace.generate_here()
    assert (again.code, again.report["in_doubt"], again.report["pending"]) == (1, 1, 0)
    check_books(workplace)


def test_a_cap_holds_for_two_at_once(workplace: Workplace) -> None:
    """Two processes under one cap never charge more than the cap, and charge all that it allows."""
    cap = 10 * CREDITS_A_ROW + 47
    ended = [process.finish() for process in [workplace.from_python(max_credits=cap) for _ in range(2)]]
    assert [done.code for done in ended] == [3, 3], [done.err for done in ended]
    assert {done.report["exit_reason"] for done in ended} == {"cap"}
    assert workplace.states() == {"queued": 10, "pending": 50}
    check_books(workplace)


def test_a_wrong_key_stops_everything(workplace: Workplace) -> None:
    """Exit code 3, nothing created: it is found before the manifest is read."""
    workplace.write_manifest(10)
    done = workplace.generate(env={"MAGIC_HOUR_API_KEY": "mhk_not_this_one"}).finish()
    assert (done.code, done.report["exit_reason"]) == (3, "bad_key")
    assert (workplace.states(), workplace.charges()) == ({}, [])
    assert "mhk_not_this_one" not in done.out + done.err


def test_an_empty_account_stops_the_run_and_a_top_up_finishes_it(tmp_path: Path, quiet_env: dict[str, str]) -> None:
    """Out of credits: exit code 3 and the books agree; with more credits the same work again sends the rest."""
    env = {**quiet_env, "REELBATCH_CONCURRENCY": "8"}
    account = {**SLOW, "data": tmp_path / "account"}
    with start(**account, balance=10 * CREDITS_A_ROW + 40) as sandbox, working(tmp_path, sandbox, env) as place:
        place.write_manifest(30)
        done = place.generate_here()
        assert (done.code, done.report["exit_reason"]) == (3, "no_credits")
        assert place.states() == {"queued": 10, "pending": 20}
        check_books(place)
    with start(**account, balance=30 * CREDITS_A_ROW) as place.sandbox:
        done = place.generate_here()
        assert (done.code, done.report["submitted"]) == (0, 20)
        check_books(place)


def test_a_limit_sends_that_many_and_no_more(workplace: Workplace) -> None:
    """`--limit 5` sends five rows of twenty; that is a success."""
    workplace.write_manifest(20)
    done = workplace.generate_from_wheel("--limit", "5").finish()
    assert (done.code, done.report["submitted"], done.report["pending"]) == (0, 5, 15)
    assert workplace.states() == {"queued": 5, "pending": 15}
    check_books(workplace)
