"""Processes as users start them. Whatever a test starts is gone when it ends; nothing is looked at from inside."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import forked
import psutil
import pytest
from typer.testing import CliRunner
from waiting import WAIT_S, wait_until

import reelbatch
from reelbatch.cli.app import app
from reelbatch.sandbox import RunningSandbox

MARK = "STARTED_BY_TEST"
CREDITS_A_ROW = 48  # 2 seconds of a model at 24 credits a second
HAS_ID = {"queued", "rendering", "complete", "error", "canceled"}
HELD = {"claimed", "sending"}
OURS = ("REELBATCH_", "PREFECT_", "MAGIC_HOUR_")

FROM_PYTHON = """
import json, sys, reelbatch
report = reelbatch.generate(sys.argv[1], **json.loads(sys.argv[2]))
print(json.dumps(report.as_json(), default=str))
sys.exit(report.exit_code)
"""

FROM_NOTEBOOK = """
import asyncio, json, sys, reelbatch
async def cell():
    try:
        reelbatch.generate(sys.argv[1], **json.loads(sys.argv[2]))
    except KeyboardInterrupt:
        sys.exit(130)
asyncio.new_event_loop().run_until_complete(cell())
"""


class Finished(NamedTuple):
    """A process that has ended."""

    code: int
    out: str
    err: str

    @property
    def report(self) -> dict[str, Any]:
        """The one JSON object of `--json`; anything else on standard output is a failure."""
        found = json.loads(self.out)
        assert isinstance(found, dict), self.out
        assert self.out.count("\n") == 1, self.out
        return found


class Process:
    """A process under test, with its output in files, so that no full pipe holds it up.

    With a `terminal` it is that terminal's foreground: standard input and error are the terminal, Ctrl-C reaches it.
    """

    def __init__(
        self, command: Sequence[str], folder: Path, env: dict[str, str], terminal: str | None, begun: Any
    ) -> None:
        folder.mkdir()
        self._out, self._err = folder / "out", folder / "err"
        if terminal is not None:  # the first terminal that a new session opens is its own
            command = ["sh", "-c", f'exec "$@" <>{terminal} 2>&0', "sh", *command]
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self._popen = begun(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=env, start_new_session=True
            )

    @property
    def pid(self) -> int:
        """The process's id, which is also its group's."""
        return self._popen.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._popen.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process alone."""
        self._popen.send_signal(number)

    def kill(self, *, with_children: bool = False) -> None:
        """`kill -9`, of the process alone or of everything that it has started too."""
        victims = psutil.Process(self.pid).children(recursive=True) if with_children else []
        self._popen.kill()
        for victim in victims:
            victim.kill()
        self._popen.wait()

    def finish(self) -> Finished:
        """Wait for its end; one that hangs is killed and fails the test."""
        try:
            code = self._popen.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            self.kill(with_children=True)
            pytest.fail(f"still running after {WAIT_S:.0f} s\n{self._err.read_text()}")
        return Finished(code, self._out.read_text(), self._err.read_text())


def _without_settings() -> dict[str, str]:
    """The environment without what would change the runs: the user's own settings, keys and servers."""
    return {name: value for name, value in os.environ.items() if not name.startswith(OURS)}


@dataclass
class Workplace:
    """A manifest, its results table and an API, and the processes that work with them."""

    folder: Path
    sandbox: RunningSandbox | None
    env: dict[str, str]
    mark: str = field(default_factory=lambda: uuid4().hex)
    started: list[Process] = field(default_factory=list)

    @property
    def manifest(self) -> Path:
        """The manifest; its stem names the batch."""
        return self.folder / "spring.csv"

    @property
    def table(self) -> Path:
        """The results table's file."""
        return self.folder / "results" / "reelbatch.db"

    def write_manifest(self, rows: int, image: Callable[[int], str] | None = None) -> None:
        """Rows with keys of this test alone, so that tests can share a sandbox."""
        lines = ["row_key,image_path,prompt,end_seconds,model,resolution"]
        for number in range(rows):
            path = image(number) if image else f"https://images.example.com/{number}.png"
            lines.append(f"{self.mark[:8]}-{number:04},{path},Slow pan {number},2,ltx-2.3,480p")
        self.manifest.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def start(self, *arguments: str, env: dict[str, str] | None = None, terminal: str | None = None) -> Process:
        """Start the command line."""
        return self._spawn([sys.executable, "-m", "reelbatch", *arguments], env or {}, terminal)

    def generate(self, *options: str, **spawning: Any) -> Process:
        """Start `reelbatch generate` for the manifest."""
        return self.start(*self._generating, *options, **spawning)

    def generate_from_wheel(self, *options: str, env: dict[str, str] | None = None) -> Process:
        """Start the same as a wheel has it: the core without a flow, and without the seconds that Prefect takes."""
        return self.from_wheel(["-m", "reelbatch", *self._generating, *options], env or {})

    def from_wheel(self, arguments: Sequence[str], env: dict[str, str]) -> Process:
        """Start Python where it finds the program as a wheel installs it, and not in the folder that it starts in."""
        return self._spawn([sys.executable, "-P", *arguments], env, begun=forked.Popen)

    @property
    def _generating(self) -> tuple[str, ...]:
        where = ("--base-url", self.sandbox.url) if self.sandbox else ("--sandbox",)
        return ("generate", str(self.manifest), *where, "--results", f"sqlite:///{self.table}", "--json")

    def from_python(self, *, script: str = FROM_PYTHON, **settings: Any) -> Process:
        """Start `reelbatch.generate(…)` in a script: the same work without Prefect, started in a moment."""
        assert self.sandbox
        stated = {"base_url": self.sandbox.url, "results": f"sqlite:///{self.table}", **settings}
        command = [sys.executable, "-c", script, str(self.manifest), json.dumps(stated)]
        return self._spawn(command, {}, begun=forked.Popen)

    def from_clone(self, arguments: Sequence[str], env: dict[str, str]) -> Process:
        """Start Python where it finds the program as a clone has it, flows included."""
        return self._spawn([sys.executable, *arguments], env)

    def generate_here(self, **settings: Any) -> Finished:
        """The same in the test's process, for what is neither killed nor doubled: a start takes a second or two."""
        assert self.sandbox
        stated = {"base_url": self.sandbox.url, "results": f"sqlite:///{self.table}", **settings}
        with pytest.MonkeyPatch.context() as patch:
            for name in [name for name in os.environ if name.startswith(OURS)]:
                patch.delenv(name)
            for name, value in self.env.items():
                patch.setenv(name, value)
            report = reelbatch.generate(self.manifest, **stated)
        return Finished(report.exit_code, json.dumps(report.as_json(), default=str) + "\n", "")

    def status(self) -> dict[str, Any]:
        """The batch, as `reelbatch status --json` tells it."""
        command = ["status", "--results", f"sqlite:///{self.table}", "--batch", "spring", "--json"]
        unset = {name: None for name in os.environ if name.startswith(OURS)}
        done = CliRunner().invoke(app, command, env=unset)  # in this process: it is asked after every run
        assert done.exit_code == 0, done.output
        (batch,) = json.loads(done.stdout)["batches"]
        assert isinstance(batch, dict)
        return batch

    def _spawn(
        self, command: list[str], env: dict[str, str], terminal: str | None = None, begun: Any = subprocess.Popen
    ) -> Process:
        surroundings = {**_without_settings(), **self.env, MARK: self.mark, **env}
        folder = self.folder / f"process-{len(self.started)}"
        process = Process(command, folder, surroundings, terminal, begun)
        self.started.append(process)
        return process

    def left_running(self) -> list[psutil.Process]:
        """Processes that this test started, and theirs, that still live."""
        marked = [process for process in psutil.process_iter() if _mark_of(process) == self.mark]
        return marked + [psutil.Process(process.pid) for process in self.started if process.running]

    def query(self, question: str, *values: Any) -> list[sqlite3.Row]:
        """Ask the results table, past the program under test; no rows before there is a table."""
        if not self.table.exists():
            return []
        with closing(sqlite3.connect(f"file:{self.table}?mode=ro", uri=True, timeout=30)) as connection:
            connection.row_factory = sqlite3.Row
            try:
                return connection.execute(question, values).fetchall()
            except sqlite3.OperationalError as error:
                if "no such table" not in str(error):  # it may just be being made
                    raise
                return []

    def states(self) -> Counter[str]:
        """Rows by state."""
        return Counter(row["state"] for row in self.query("SELECT state FROM results"))

    def sent_by(self, process: Process) -> int:
        """Attempts that a process has begun."""
        theirs = "SELECT token FROM attempts WHERE run_id IN (SELECT run_id FROM runs WHERE pid = ?)"
        return len(self.query(theirs, process.pid))

    def ids(self) -> int:
        """Rows whose video's id is in the table."""
        states = self.states()
        return sum(states[state] for state in HAS_ID)

    def charges(self) -> list[dict[str, Any]]:
        """What the API's books have about rows of this test."""
        assert self.sandbox
        prefix = self.mark[:8]
        return [charge for charge in self.sandbox.books()["charges"] if str(charge["row"]).startswith(prefix)]


def _mark_of(process: psutil.Process) -> str | None:
    try:
        return process.environ().get(MARK) if process.status() != psutil.STATUS_ZOMBIE else None
    except (psutil.Error, OSError):
        return None


def check_books(workplace: Workplace, charges: list[dict[str, Any]] | None = None) -> None:
    """The table and the API's books tell the same story: no row paid for twice, no id lost, each credit explained."""
    charges = workplace.charges() if charges is None else charges
    rows = {row["row_key"]: row for row in workplace.query("SELECT * FROM results")}
    attempts = {attempt["token"]: attempt for attempt in workplace.query("SELECT * FROM attempts")}
    twice = {row: n for row, n in Counter(charge["row"] for charge in charges).items() if n > 1}
    assert not twice, f"rows charged more than once: {twice}"
    assert len({charge["token"] for charge in charges}) == len(charges), "a token was used twice"
    for charge in charges:
        row, attempt = rows[charge["row"]], attempts[charge["token"]]
        assert attempt["row_key"] == charge["row"]
        if attempt["outcome"] == "in_doubt":
            assert (row["state"], row["token"], row["video_id"]) == ("in_doubt", charge["token"], None), dict(row)
        else:
            assert row["state"] in HAS_ID, dict(row)
            assert row["video_id"] == attempt["video_id"] == charge["video_id"], dict(row)
            assert row["credits_charged"] == attempt["credits_charged"] == charge["credits"], dict(row)
    known = {row["video_id"] for row in rows.values() if row["video_id"]}
    assert known <= {charge["video_id"] for charge in charges}, "the table has an id that was never given"
    assert not HELD & {row["state"] for row in rows.values()}, "rows are still held"
    _check_credits(workplace.status()["credits"], charges, rows)


def _check_credits(credits_: dict[str, int], charges: list[dict[str, Any]], rows: dict[str, Any]) -> None:
    known = {row["video_id"] for row in rows.values() if row["video_id"]}
    in_doubt = sum(row["credits_estimated"] for row in rows.values() if row["state"] == "in_doubt")
    net = sum(charge["credits"] - charge["refunded"] for charge in charges)
    assert credits_["charged"] == sum(charge["credits"] for charge in charges if charge["video_id"] in known)
    assert credits_["in_doubt"] == in_doubt
    assert credits_["reserved"] == 0
    assert credits_["worst_case"] == credits_["charged"] - credits_["refunded"] + in_doubt >= net


@contextmanager
def working(folder: Path, sandbox: RunningSandbox | None, env: dict[str, str]) -> Iterator[Workplace]:
    """A workplace; in the end nothing that was started there may still be running."""
    workplace = Workplace(folder, sandbox, env)
    try:
        yield workplace
        for process in workplace.started:
            process.finish()
        wait_until(lambda: not workplace.left_running(), "every process that was started has ended")
    finally:
        for process in workplace.left_running():
            process.kill()
        for started in workplace.started:
            started.kill() if started.running else None
