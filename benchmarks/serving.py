"""The servers that the benchmarks run against, each a process of its own on loopback."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import ProxyHandler, Request, build_opener

import psutil

from benchmarks.processes import environment

_START_S = 90.0
_STOP_S = 10.0
_local = build_opener(ProxyHandler({}))  # loopback is never behind a proxy


@dataclass(frozen=True, slots=True)
class Server:
    """The lean server of `benchmarks.rawserver`."""

    url: str
    pid: int

    def reset(self, *, latency_ms: float = 0.0, status: str = "rendering") -> None:
        """Forget everything; answer creates so late, and say this of videos."""
        _call(f"{self.url}/bench/reset", {"latency_ms": latency_ms, "status": status})

    def books(self) -> dict[str, Any]:
        """What came in since the last reset."""
        return _call(f"{self.url}/bench/books")


@dataclass(frozen=True, slots=True)
class Prefect:
    """A Prefect server that already runs."""

    env: Mapping[str, str]
    pid: int

    def cpu_s(self) -> float:
        """Processor time that it has used so far."""
        return cpu_s(self.pid)


def cpu_s(pid: int) -> float:
    """Processor time that a running process has used so far."""
    used = psutil.Process(pid).cpu_times()
    return float(used.user + used.system)


@contextmanager
def raw_server() -> Iterator[Server]:
    """A lean server until the end of the block; it ends by itself when this process dies."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.rawserver"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout  # noqa: S101 - it was asked for
    try:
        if not (url := process.stdout.readline().strip()):
            raise RuntimeError("the server did not start")
        yield Server(url, process.pid)
    finally:
        _end(process)


@contextmanager
def prefect_server(folder: Path) -> Iterator[Prefect]:
    """The application that `prefect server start` serves, with a database of its own in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    env = environment(PREFECT_HOME=str(folder))
    quiet = {**env, "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL", "PREFECT_SERVER_UI_ENABLED": "false"}
    process = subprocess.Popen(
        [sys.executable, "-m", "reelbatch.orchestration.prefect_server", str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=quiet,
    )
    url = f"http://127.0.0.1:{port}/api"
    try:
        _wait_for(f"{url}/health", process)
        yield Prefect({**env, "PREFECT_API_URL": url}, process.pid)
    finally:
        _end(process)


def _wait_for(url: str, process: subprocess.Popen[Any]) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with _local.open(url, timeout=5):
                return
        except (URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError("Prefect's server did not start")


def _end(process: subprocess.Popen[Any]) -> None:
    """Both servers end with their standard input; one that does not is killed."""
    assert process.stdin  # noqa: S101 - it was asked for
    process.stdin.close()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(_STOP_S)
    if process.stdout:
        process.stdout.close()


def free_port() -> int:
    """One of loopback that no one uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _call(url: str, content: Mapping[str, Any] | None = None) -> dict[str, Any]:
    data = None if content is None else json.dumps(content).encode()
    with _local.open(Request(url, data), timeout=60) as answer:  # noqa: S310 - our own URL
        found: dict[str, Any] = json.load(answer)
    return found
