"""Processes under measurement: Reelbatch's command line, its library in a script, and peers."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Container, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.figures import PEAK

_SAMPLE_S = 0.1
_OURS = ("REELBATCH_", "PREFECT_", "MAGIC_HOUR_")
_DONE = (0, 1)  # of a command: everything that could be sent was sent


class RunFailed(Exception):  # noqa: N818 - what happened
    """A measured process did not do what it was started for."""


@dataclass(frozen=True, slots=True)
class Usage:
    """A process that has ended. Times in seconds, `peak_mb` in MiB, `started_at` in unix seconds."""

    code: int
    out: str
    err: str
    seconds: float
    cpu_s: float
    peak_mb: float
    started_at: float

    @property
    def answer(self) -> Any:
        """The JSON that it printed last."""
        return json.loads(self.out.strip().splitlines()[-1])

    @property
    def spent(self) -> dict[str, float]:
        """What it took."""
        return {"wall s": self.seconds, "CPU s": self.cpu_s, PEAK: self.peak_mb}


class Process:
    """A started process: what it and its children take of the processor, and the most memory that it has itself."""

    def __init__(self, arguments: Sequence[str], **env: str) -> None:
        self._out, self._err = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115 - closed in `wait`
        self.started_at, self._started = time.time(), time.perf_counter()
        self._popen = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=self._out, stderr=self._err, env=environment(**env)
        )
        self.pid = self._popen.pid
        self._peak_mb, self._ended = 0.0, threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)
        self._sampler.start()

    @property
    def has_ended(self) -> bool:
        """Whether `wait` would return at once."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def kill(self) -> None:
        """`kill -9`, of this process alone; Popen's own takes away the end of one that has ended by itself."""
        os.kill(self.pid, signal.SIGKILL)

    def wait(self, codes: Container[int] | None = (0,)) -> Usage:
        """Its end.

        Raises:
            RunFailed: its exit code is none of `codes` (None: each is allowed).
        """
        _, status, used = os.wait4(self.pid, 0)
        seconds = time.perf_counter() - self._started
        code = self._popen.returncode = os.waitstatus_to_exitcode(status)
        self._ended.set()
        self._sampler.join()
        out, err = _read(self._out), _read(self._err)
        if codes is not None and code not in codes:
            raise RunFailed(f"exit code {code} after {seconds:.0f} s: {err[-2000:]}")
        return Usage(code, out, err, seconds, used.ru_utime + used.ru_stime, self._peak_mb, self.started_at)

    def _sample(self) -> None:
        """The kernel's high-water mark; what `wait4` says of memory begins with that of the process that forked."""
        while not self._ended.wait(_SAMPLE_S):
            with suppress(OSError):
                status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii", errors="replace")
                if mark := re.search(r"VmHWM:\s+(\d+) kB", status):
                    self._peak_mb = int(mark[1]) / 1024


def _read(file: Any) -> str:
    with file:
        file.seek(0)
        return str(file.read().decode("utf-8", "replace"))


def environment(**more: str) -> dict[str, str]:
    """This process's environment without settings of its user, and with no telemetry."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    quiet = {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1", "PREFECT_LOGGING_LEVEL": "CRITICAL"}
    return {**kept, **quiet, "MAGIC_HOUR_API_KEY": "sandbox", "PYTHONWARNINGS": "ignore", **more}


def table_url(folder: Path) -> str:
    """A results table in `folder`."""
    return f"sqlite:///{folder / 'results.db'}"


def command(*arguments: str | Path) -> list[str]:
    """The command line as it is installed."""
    return [str(Path(sys.executable).with_name("reelbatch")), *map(str, arguments)]


def generate_command(manifest: Path, url: str, table: str, concurrency: int) -> list[str]:
    """`reelbatch generate`, told everything."""
    where = ("--base-url", url, "--results", table, "--concurrency", str(concurrency))
    return command("generate", manifest, *where, "--json")


def run_command(arguments: Sequence[str], **env: str) -> Usage:
    """Run the command line to its end."""
    return Process(arguments, **env).wait(_DONE)


def start_script(work: str, manifest: Path | None, options: Mapping[str, Any], **env: str) -> Process:
    """Start one work of benchmarks.script."""
    stated = json.dumps({"manifest": str(manifest), "options": dict(options)})
    return Process([sys.executable, "-m", "benchmarks.script", work, stated], **env)


def run_script(work: str, manifest: Path | None, **options: Any) -> Usage:
    """The same, to its end."""
    return start_script(work, manifest, options).wait()


def run_peer(name: str, env: Mapping[str, str] | None = None, **job: Any) -> Usage:
    """Run a peer of benchmarks.peers to its end."""
    return Process([sys.executable, "-m", "benchmarks.peers", name, json.dumps(job)], **(env or {})).wait()
