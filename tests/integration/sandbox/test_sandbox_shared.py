"""One sandbox for all that use its folder at the same time: who joins it, and when it ends."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import forked
import psutil
import pytest
from waiting import wait_until
from workplace import working

from reelbatch.errors import SandboxInUse
from reelbatch.sandbox import SandboxConfig
from reelbatch.sandbox.process import shared

USER = """
import sys
from pathlib import Path
from reelbatch.sandbox import SandboxConfig
from reelbatch.sandbox.process import shared
with shared(SandboxConfig(data=Path(sys.argv[1]), key=sys.argv[2])) as sandbox:
    print(sandbox.pid, sandbox.key, sandbox.books(summary=True)["balance"], flush=True)
    sys.stdin.read()
"""
Begin = Callable[..., Any]


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    """Starts a process that uses the sandbox of the test's folder until its standard input ends."""
    begun: list[Any] = []

    def one_more(key: str = "sandbox") -> Any:
        command = [sys.executable, "-c", USER, str(tmp_path / "data"), key]
        streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        begun.append(forked.Popen(command, text=True, **streams))
        return begun[-1]

    yield one_more
    for process in begun:
        with process:
            process.kill()


def sandbox_of(user: Any) -> psutil.Process:
    return psutil.Process(int(user.stdout.readline().split()[0]))


def is_gone(sandbox: psutil.Process) -> None:
    wait_until(lambda: not sandbox.is_running() or sandbox.status() == psutil.STATUS_ZOMBIE, "the sandbox has ended")


def test_those_who_come_at_once_have_one_sandbox(begin: Begin) -> None:
    """The first of them starts it; the others find it, with its key, although they have stated another."""
    users = [begin(f"key {number}") for number in range(3)]
    found = {user.stdout.readline() for user in users}
    assert len(found) == 1


def test_it_stays_until_the_last_one_is_gone(begin: Begin, tmp_path: Path) -> None:
    """The one who started it goes first, and waits for nothing; what reads its outputs doesn't either."""
    first = begin()
    sandbox = sandbox_of(first)
    second = begin()
    assert sandbox_of(second).pid == sandbox.pid
    assert first.communicate(timeout=60) == ("", "")
    assert first.returncode == 0
    third = begin()
    assert sandbox_of(third).pid == sandbox.pid
    assert second.communicate(timeout=60)[0] == ""
    assert sandbox.is_running()
    assert third.communicate(timeout=60)[0] == ""
    is_gone(sandbox)
    assert not (tmp_path / "data" / "address.json").exists()


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_killed_users_leave_no_sandbox(begin: Begin, order: tuple[int, int]) -> None:
    """Whichever is killed first, the one who started it or the other."""
    users = [begin()]
    sandbox = sandbox_of(users[0])
    users.append(begin())
    assert sandbox_of(users[1]).pid == sandbox.pid
    users[order[0]].kill()
    last = begin()
    assert sandbox_of(last).pid == sandbox.pid
    users[order[1]].kill()
    last.kill()
    is_gone(sandbox)


def test_what_a_killed_sandbox_left_misleads_no_one(begin: Begin, tmp_path: Path) -> None:
    """Its address stays, for its owner's eyes only; the next one takes over books and address."""
    killed = sandbox_of(begin())
    killed.send_signal(signal.SIGKILL)
    is_gone(killed)
    file = tmp_path / "data" / "address.json"
    assert oct(file.stat().st_mode & 0o777) == "0o600"
    said = file.read_text(encoding="utf-8")
    assert sandbox_of(begin()).pid != killed.pid
    assert file.read_text(encoding="utf-8") != said


@pytest.mark.parametrize("elsewhere", [True, False])
def test_an_address_of_something_else_is_not_used(tmp_path: Path, *, elsewhere: bool) -> None:
    """Another sandbox that has the port now; and no place beyond this machine."""
    with shared(SandboxConfig(data=tmp_path / "another")) as another:
        url = "http://images.example.com" if elsewhere else another.url
        address = {"url": url, "key": "stale", "word": "stale"}
        (tmp_path / "address.json").write_text(json.dumps(address), encoding="utf-8")
        with shared(SandboxConfig(data=tmp_path)) as own:
            assert own.pid != another.pid
            assert own.key == "sandbox"


def test_one_that_can_not_be_joined_is_one_line(tmp_path: Path) -> None:
    """Such as that of another machine on a shared disk: which books, and what to do."""
    with shared(SandboxConfig(data=tmp_path)):
        (tmp_path / "address.json").unlink()
        said = r"books.db: another sandbox uses these books.*`data`"
        with pytest.raises(SandboxInUse, match=said), shared(SandboxConfig(data=tmp_path), wait_s=0):
            pass


def test_two_commands_beside_each_other_have_one_sandbox(tmp_path: Path) -> None:
    """They share the rows as they would with the vendor's API, and both end well."""
    slow = {"REELBATCH_SANDBOX": json.dumps({"latency_ms": 400, "render_seconds": 0, "render_video": False})}
    with working(tmp_path, None, {**slow, "REELBATCH_CONCURRENCY": "1", "TMPDIR": os.environ["TMPDIR"]}) as place:
        place.write_manifest(12)
        runs = [place.generate_from_wheel("--yes", "--settle") for _ in range(2)]
        ended = [run.finish() for run in runs]
        assert [run.code for run in ended] == [0, 0], [run.err for run in ended]
        assert sum(run.report["submitted"] for run in ended) == 12
        assert place.states() == {"complete": 12}
        assert "is used, with its settings" in ended[0].err + ended[1].err
