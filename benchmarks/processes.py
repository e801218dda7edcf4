"""Processes under measurement: wall time, processor time of the whole tree, peak memory of the whole tree."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

_SAMPLE_S = 0.2
_FIRST_SAMPLES, _FIRST_SAMPLES_S = 10, 0.03  # short processes end early
_MB = 1 << 20
_OURS = ("REELBATCH_", "PREFECT_", "MAGIC_HOUR_")


class RunFailed(Exception):  # noqa: N818 - what happened
    """A measured process did not do what it was started for."""


@dataclass(frozen=True, slots=True)
class Usage:
    """A process that has ended. Times in seconds, `peak_mb` in MiB."""

    seconds: float
    cpu_s: float
    peak_mb: float
    code: int
    out: str
    err: str
    started_at: float  # unix seconds

    @property
    def answer(self) -> dict[str, Any]:
        """The JSON object that it printed last.

        Raises:
            RunFailed: there is none.
        """
        try:
            found: dict[str, Any] = json.loads(self.out.strip().splitlines()[-1])
        except (IndexError, ValueError) as error:
            raise RunFailed(f"exit code {self.code}, no JSON: {self.err[-2000:]}") from error
        return found


class Process:
    """A started process, sampled until `wait` returns; without `tree` its own memory alone, which costs less."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str], *, tree: bool = True) -> None:
        self._out, self._err = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115 - closed in `wait`
        self._peak = 0.0
        self._bytes = _tree_bytes if tree else _high_water
        self._ended = threading.Event()
        self.started_at, self._started = time.time(), time.perf_counter()
        self._popen = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=self._out, stderr=self._err, env=dict(env)
        )
        self._sampler = threading.Thread(target=self._sample, daemon=True)
        self._sampler.start()

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._popen.pid

    @property
    def has_ended(self) -> bool:
        """Whether `wait` would return at once."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def kill(self) -> None:
        """`kill -9`, of this process alone; Popen's own takes away the end of one that has ended by itself."""
        os.kill(self.pid, signal.SIGKILL)

    def wait(self, timeout_s: float, *, codes: Sequence[int] | None = (0,)) -> Usage:
        """Its end; one that takes longer than `timeout_s` is killed.

        Raises:
            RunFailed: its exit code is none of `codes` (None: each is allowed).
        """
        watchdog = threading.Timer(timeout_s, self.kill)
        watchdog.daemon = True
        watchdog.start()
        _, status, used = os.wait4(self.pid, 0)
        seconds = time.perf_counter() - self._started
        watchdog.cancel()
        self._popen.returncode = os.waitstatus_to_exitcode(status)
        self._ended.set()
        self._sampler.join()
        out, err = _read(self._out), _read(self._err)
        if codes is not None and self._popen.returncode not in codes:
            raise RunFailed(f"exit code {self._popen.returncode} after {seconds:.0f} s: {err[-2000:]}")
        cpu_s = used.ru_utime + used.ru_stime
        return Usage(seconds, cpu_s, self._peak / _MB, self._popen.returncode, out, err, self.started_at)

    def _sample(self) -> None:
        count = 0
        while not self._ended.wait(_SAMPLE_S if count > _FIRST_SAMPLES else _FIRST_SAMPLES_S):
            count += 1
            with suppress(OSError):
                self._peak = max(self._peak, self._bytes(self.pid))


def run_process(
    command: Sequence[str], env: Mapping[str, str], timeout_s: float, codes: Sequence[int] | None = (0,)
) -> Usage:
    """Run a process to its end."""
    return Process(command, env).wait(timeout_s, codes=codes)


def environment(**more: str) -> dict[str, str]:
    """This process's environment without settings of its user, and with no telemetry."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    quiet = {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1", "PREFECT_LOGGING_LEVEL": "CRITICAL"}
    return {**kept, **quiet, "MAGIC_HOUR_API_KEY": "sandbox", "PYTHONWARNINGS": "ignore", **more}


def module(name: str, *arguments: str) -> list[str]:
    """A module of ours as a process of its own."""
    return [sys.executable, "-m", name, *arguments]


def _tree_bytes(pid: int) -> float:
    """Memory of a process and of those that it has started, now; of the first one its own high-water mark."""
    total = 0.0
    with suppress(psutil.Error, OSError):
        process = psutil.Process(pid)
        total = _high_water(pid) or process.memory_info().rss
        for child in process.children(recursive=True):
            with suppress(psutil.Error):
                total += child.memory_info().rss
    return total


def _high_water(pid: int) -> float:
    """What the kernel remembers as the most since the program started; 0 where it does not tell."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("VmHWM:"):
            return float(line.split()[1]) * 1024
    return 0.0


def _read(file: Any) -> str:
    file.seek(0)
    text = file.read().decode("utf-8", "replace")
    file.close()
    return str(text)
