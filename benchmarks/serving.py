"""The servers that the benchmarks run against, each a process of its own on loopback, which ends with this one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, Request, build_opener

from benchmarks.processes import Process, command, environment
from tests.support.ports import free_port

_START_S = 90.0
_SECRET = "benchmark"  # noqa: S105 - signs the sandbox's events
_local = build_opener(ProxyHandler({}))  # loopback is never behind a proxy


@dataclass(frozen=True, slots=True)
class Server:
    """The lean server of `benchmarks.rawserver`."""

    url: str

    def reset(self, latency_ms: float = 0.0) -> None:
        """Forget everything, and answer creates so late."""
        self._call("/bench/reset", {"latency_ms": latency_ms})

    def books(self) -> dict[str, Any]:
        """What came in since the last reset."""
        return self._call("/bench/books", {})

    def _call(self, path: str, content: Mapping[str, Any]) -> dict[str, Any]:
        request = Request(self.url + path, json.dumps(content).encode())  # noqa: S310 - our own URL
        with _local.open(request, timeout=60) as answer:
            found: dict[str, Any] = json.load(answer)
        return found


@contextmanager
def raw_server() -> Iterator[Server]:
    """A lean server until the end of the block, which closes its standard input."""
    arguments = [sys.executable, "-m", "benchmarks.rawserver"]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout  # noqa: S101 - it was asked for
        yield Server(process.stdout.readline().strip())


@contextmanager
def prefect_server(folder: Path) -> Iterator[Mapping[str, str]]:
    """The application that `prefect server start` serves, in `folder`; the environment of its clients."""
    folder.mkdir(parents=True)
    port = free_port()
    arguments = [sys.executable, "-m", "reelbatch.orchestration.prefect_server", str(port)]
    quiet = {"PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL", "PREFECT_SERVER_UI_ENABLED": "false"}
    env = environment(PREFECT_HOME=str(folder), **quiet)
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env):
        url = f"http://127.0.0.1:{port}/api"
        _await_answer(f"{url}/health")
        yield {"PREFECT_HOME": str(folder), "PREFECT_API_URL": url}


@contextmanager
def webhook_receiver(table: str) -> Iterator[Mapping[str, str]]:
    """`reelbatch webhook` on a table, ended as by Ctrl-C; the settings of a sandbox that tells it."""
    port = free_port()
    listening = command("webhook", "--port", str(port), "--results", table)
    process = Process(listening, REELBATCH_WEBHOOK_SECRET=_SECRET)
    try:
        yield {"webhook_url": f"http://127.0.0.1:{port}/", "webhook_secret": _SECRET}
    finally:
        os.kill(process.pid, signal.SIGINT)
        process.wait()


def _await_answer(url: str) -> None:
    deadline = time.monotonic() + _START_S
    while True:
        try:
            _local.open(url, timeout=5).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return
