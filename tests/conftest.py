"""What the whole run shares: one Prefect server, one certificate authority, and the order of the tests."""

from __future__ import annotations

import gc
import os
import random
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NamedTuple

import certifi
import forked
import httpx
import pytest
import statements

from reelbatch.sandbox import RunningSandbox
from reelbatch.sandbox import process as sandbox_process

FOLDER, PORT = "TESTS_PREFECT_FOLDER", "TESTS_PREFECT_PORT"  # how the workers learn of the server
NEED_PREFECT = ("tests/flows/", "tests/acceptance/")
# Long files first, so that no worker is left alone with one at the end; the many short tests even the workers out.
FIRST = (
    "tests/acceptance/test_deployed.py",
    "tests/acceptance/test_crash.py",
    "tests/acceptance/test_marked_key.py",
    "tests/flows/test_temporary_server.py",
    "tests/integration/ledger/test_ledger_machine.py",
    "tests/acceptance/",
    "tests/docs/",
    "tests/flows/",
    "tests/integration/submit/",
    "tests/integration/",
)
_UNUSED = ("SCHEDULER", "LATE_RUNS", "FOREMAN", "PAUSE_EXPIRATIONS", "CANCELLATION_CLEANUP", "TRIGGERS")
"""Loops of the server that only deployments need; their tests have a server of their own."""
_START_S = 120.0  # Prefect makes its database first, which is slow on a busy machine
_POLL_S = 0.05
_ROOM = 4 << 30
"""Bytes in memory; the temporary files of a whole run come to half of it."""


class Prefect(NamedTuple):
    """A Prefect server that runs, and its folder as it was before anything ran there."""

    url: str
    pristine: Path

    def home(self, at: Path) -> Path:
        """A Prefect folder whose database is already made, for a server of one's own."""
        shutil.copytree(self.pristine, at)
        return at


def _in_memory() -> Path | None:
    """Where a flush to disk costs nothing, and there is room: each commit of each test waits for one."""
    memory = Path("/dev/shm")  # noqa: S108 - a folder of our own in it
    return memory if memory.is_dir() and shutil.disk_usage(memory).free >= _ROOM else None


class _Server:
    """The server, in the process that the user started; it ends with that."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="reelbatch-tests-", dir=_in_memory()))
        self.port = _free_port()
        self.process: subprocess.Popen[bytes] | None = None
        surroundings = {FOLDER: self.folder, PORT: self.port, "SSL_CERT_FILE": _one_authority(self.folder)}
        os.environ.update({name: str(value) for name, value in surroundings.items()})

    def start(self) -> None:
        """Start it in the background, once; `pristine` is there when it answers."""
        if self.process:
            return
        home = self.folder / "home"
        home.mkdir()
        quiet = {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "PREFECT_SERVER_UI_ENABLED": "false"}
        quiet |= {f"PREFECT_SERVER_SERVICES_{name}_ENABLED": "false" for name in _UNUSED}
        # Spelt so that Prefect makes the database, and not we: a test compares what it makes with our statements.
        quiet["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = f"sqlite+aiosqlite:///{home}/./prefect.db"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        with (self.folder / "said").open("wb") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "reelbatch.orchestration.prefect_server", str(self.port)],
                cwd=Path(__file__).parents[1],
                stdin=subprocess.PIPE,
                stdout=said,
                stderr=said,
                env={**kept, **quiet, "PREFECT_HOME": str(home), "DO_NOT_TRACK": "1"},
                start_new_session=True,
            )
        threading.Thread(target=self._keep_pristine, args=(home,), daemon=True).start()

    def _keep_pristine(self, home: Path) -> None:
        while not _answers(f"{_url(self.port)}/health"):
            if self.process is None or self.process.poll() is not None:
                return
            time.sleep(_POLL_S)
        copy = self.folder / "copy"
        shutil.copytree(home, copy, ignore=shutil.ignore_patterns("prefect.db*"))
        with (
            closing(sqlite3.connect(home / "prefect.db")) as made,
            closing(sqlite3.connect(copy / "prefect.db")) as copied,
        ):
            made.backup(copied)
        copy.rename(self.folder / "pristine")

    def stop(self) -> None:
        """End it and remove its folder."""
        if self.process:
            process, self.process = self.process, None
            with suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=10)  # closes its standard input, which ends it
            process.kill()
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def _one_authority(folder: Path) -> Path:
    """The first of the usual certificate authorities.

    No test goes beyond loopback, and every HTTP client that a test, a command or Prefect makes loads them all anew,
    which is 50 ms of processor time each.
    """
    authority = folder / "authority.pem"
    end = "-----END CERTIFICATE-----\n"
    first, _, _ = Path(certifi.where()).read_text(encoding="utf-8").partition(end)
    authority.write_text(first + end, encoding="utf-8")
    return authority


def _free_port() -> int:
    """One that is free and that no connection gets by chance before the server has it."""
    for port in random.sample(range(20_000, 30_000), 100):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError("no free port between 20000 and 30000")


def _url(port: int | str) -> str:
    return f"http://127.0.0.1:{port}/api"


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).is_success
    except httpx.TransportError:
        return False


_SERVER = pytest.StashKey[_Server]()


def pytest_configure(config: pytest.Config) -> None:
    """Before any worker starts: where the server will be. In each of them: temporary files in a folder of its own."""
    if not hasattr(config, "workerinput"):
        config.stash[_SERVER] = _Server()
    os.environ["TMPDIR"] = tempfile.mkdtemp(dir=os.environ[FOLDER])
    tempfile.tempdir = None
    statements.share()
    sandbox_process.subprocess = forked  # type: ignore[attr-defined]  # test_sandbox_process.py starts it as users do


def pytest_unconfigure(config: pytest.Config) -> None:
    """The server ends last."""
    if _SERVER in config.stash:
        config.stash[_SERVER].stop()


def _start_if_needed(config: pytest.Config, ids: Iterable[str]) -> None:
    if _SERVER in config.stash and any(nodeid.startswith(NEED_PREFECT) for nodeid in ids):
        config.stash[_SERVER].start()


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """All that is imported and collected stays to the end: each search for garbage in it takes half a second."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(10_000, 20)
        gc.enable()


@pytest.fixture
def nothing_frozen() -> Iterator[None]:
    """As in a program that leaves the collector to itself."""
    gc.unfreeze()
    yield
    gc.freeze()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Without xdist: the tests are known now."""
    if not session.config.option.collectonly:
        _start_if_needed(session.config, [item.nodeid for item in session.items])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node: Any, ids: list[str]) -> None:
    """With xdist: the same, told by a worker."""
    _start_if_needed(node.config, ids)


@pytest.fixture(scope="session")
def prefect() -> Prefect:
    """The server that all tests share, in a moment at which it answers."""
    folder = Path(os.environ[FOLDER])
    deadline = time.monotonic() + _START_S
    while not (folder / "pristine").exists():
        if time.monotonic() > deadline:
            pytest.fail(f"no Prefect server after {_START_S:.0f} s\n{(folder / 'said').read_text()}")
        time.sleep(_POLL_S)
    return Prefect(_url(os.environ[PORT]), folder / "pristine")


@pytest.fixture(autouse=True)
def _no_rescued_answers() -> Iterator[None]:
    """What a killed process of one test left to be replayed is nothing to the next one."""
    yield
    for left in Path(tempfile.gettempdir()).glob("reelbatch-*rescue*"):
        left.unlink(missing_ok=True)


@pytest.fixture
def sandbox(running: RunningSandbox) -> RunningSandbox:
    """The folder's or the file's `running` sandbox, without the faults of earlier tests."""
    running.set_faults()
    return running


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The order in which files are handed out (`make test` gives whole files to the workers, first to last)."""
    items.sort(key=_rank)


def _rank(item: pytest.Item) -> int:
    return next((rank for rank, start in enumerate(FIRST) if item.nodeid.startswith(start)), len(FIRST))
