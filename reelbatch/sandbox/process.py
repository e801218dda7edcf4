"""Runs the sandbox as a process of its own and stops it again; or shares one that runs already."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, Request, build_opener

from reelbatch.errors import ReelbatchError, SandboxInUse, SettingsError
from reelbatch.sandbox.address import Address
from reelbatch.sandbox.config import SandboxConfig, build_config
from reelbatch.settings.variables import child_environment

_START_S = 30.0  # a cold start on a busy machine takes some seconds
_STOP_S = 10.0
_JOIN_S = 10.0
_ANSWER_S = 5.0  # of what may be no sandbox at all
_POLL_S = 0.2
_log = logging.getLogger("reelbatch")
_local = build_opener(ProxyHandler({}))  # the sandbox is never behind a proxy


@dataclass(frozen=True, slots=True)
class RunningSandbox:
    """A sandbox in a process of its own."""

    url: str
    key: str
    pid: int

    def books(self, *, summary: bool = False) -> dict[str, Any]:
        """What it charged and refunded; with `summary` without the list of charges."""
        return self._call(f"/sandbox/books?summary={int(summary)}")

    def events(self) -> dict[str, Any]:
        """How many webhook events it has sent; `pending` videos still have some to come."""
        return self._call("/sandbox/webhooks")

    def set_faults(self, **faults: Any) -> dict[str, Any]:
        """Replace its fault settings; none given means no faults."""
        return self._call("/sandbox/faults", faults)

    def set_prices(self, **pricing: Any) -> dict[str, Any]:
        """Replace `prices`, `price_change` and `charge_says`; none given means the public rates, told truly."""
        return self._call("/sandbox/prices", pricing)

    def age_uploads(self, *, days: float) -> dict[str, Any]:
        """Make every upload older by `days`; returns how many there are as `aged`."""
        return self._call("/sandbox/uploads/age", {"days": days})

    def top_up(self, credits_: int) -> dict[str, Any]:
        """Buy credits, as its owner could do in the web app; returns the `balance`."""
        return self._call("/sandbox/top-up", {"credits": credits_})

    def cancel(self, video_id: str) -> dict[str, Any]:
        """Cancel a video, as its owner could do in the web app."""
        return self._call(f"/sandbox/videos/{video_id}/cancel", {})

    def _call(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        request = Request(self.url + path, data, {"Content-Type": "application/json"})  # noqa: S310 - our own URL
        with _local.open(request, timeout=60) as answer:
            found: dict[str, Any] = json.load(answer)
        return found


@contextmanager
def start(config: SandboxConfig | None = None, **overrides: Any) -> Iterator[RunningSandbox]:
    """Start a sandbox with `config` and `overrides`, and stop it at the end of the block.

    It also stops by itself when this process dies.

    Raises:
        SettingsError: an override is unknown or out of its range, or can't be used here.
        ReelbatchError: the process did not come up; it has said why on standard error.
    """
    stated = (config or SandboxConfig()).model_dump(mode="json")
    settings = build_config({**stated, **overrides})
    with ExitStack() as stack:
        yield _started(settings, stack, _stop)


@contextmanager
def shared(config: SandboxConfig, *, wait_s: float = _JOIN_S) -> Iterator[RunningSandbox]:
    """The sandbox that runs on `config.data`, else a new one; it ends when the last one that uses it is gone.

    The settings of the one who started it hold for all. One that is just starting or ending is waited for, `wait_s`.

    Raises:
        SettingsError: `config` can't be used here, or another process has the folder and can't be joined.
        ReelbatchError: as `start`.
    """
    with ExitStack() as stack:
        yield _joined_or_started(config, stack, time.monotonic() + wait_s)


def _joined_or_started(config: SandboxConfig, stack: ExitStack, deadline: float) -> RunningSandbox:
    while True:
        if config.data and (joined := _joined(config.data, stack)):
            return joined
        try:
            return _started(config, stack, _leave)
        except SandboxInUse:  # by one that is not yet there, or not quite gone
            if time.monotonic() > deadline:
                raise
            time.sleep(_POLL_S)


def _joined(data: Path, stack: ExitStack) -> RunningSandbox | None:
    try:
        address = Address.read(data)
        build_config({"host": urlsplit(address.url).hostname})  # a file that came with a folder leads nowhere else
        held = _local.open(f"{address.url}/sandbox/users/{address.word}", timeout=_ANSWER_S)
        pid = int(held.readline())
    except (OSError, HTTPException, ValueError, LookupError, TypeError, SettingsError):
        return None
    stack.callback(held.close)
    _log.info("The sandbox that runs on %s already is used, with its settings.", data)
    return RunningSandbox(url=address.url, key=address.key, pid=pid)


def _started(
    settings: SandboxConfig, stack: ExitStack, end: Callable[[subprocess.Popen[bytes]], None]
) -> RunningSandbox:
    with ExitStack() as started:
        with tempfile.TemporaryDirectory(prefix="reelbatch-sandbox-config-") as folder:
            process = _spawn(settings, Path(folder) / "sandbox.json")
            started.callback(end, process)
            running = _ready(process)  # it has read the file by now
        stack.enter_context(started.pop_all())
    return running


def _spawn(settings: SandboxConfig, file: Path) -> subprocess.Popen[bytes]:
    stated = settings.model_dump(mode="json")
    if settings.data is not None:  # relative to this folder, and not to the file's
        stated["data"] = str(settings.data.absolute())
    file.write_text(json.dumps({"sandbox": stated}), encoding="utf-8")  # is YAML too
    return subprocess.Popen(  # noqa: S603 - ourselves
        [sys.executable, "-P", "-m", "reelbatch.sandbox", "--stop-with-stdin", "--config", str(file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=child_environment(),
        start_new_session=True,  # a Ctrl-C meant for this process must not take the API away from it
    )


def _ready(process: subprocess.Popen[bytes]) -> RunningSandbox:
    assert process.stdout  # noqa: S101 - it was asked for
    watchdog = threading.Timer(_START_S, process.kill)
    watchdog.start()
    try:
        line = process.stdout.readline()
    finally:
        watchdog.cancel()
    if not line:
        raise ReelbatchError(f"The sandbox did not start (exit code {process.wait(_STOP_S)}).")
    ready = json.loads(line)
    if why := ready.get("error"):
        raise (SandboxInUse if ready["in_use"] else SettingsError)(f"The sandbox did not start. {why}")
    return RunningSandbox(url=ready["url"], key=ready["key"], pid=process.pid)


def _stop(process: subprocess.Popen[bytes]) -> None:
    with process:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()


def _leave(process: subprocess.Popen[bytes]) -> None:
    """It ends, unless it says that others use it."""
    told = threading.Event()

    def reap() -> None:
        assert process.stdout  # noqa: S101 - it was asked for
        with process.stdout:
            if process.stdout.readline():
                told.set()
        process.wait()
        told.set()

    assert process.stdin  # noqa: S101 - it was asked for
    process.stdin.close()
    threading.Thread(target=reap, name="sandbox", daemon=True).start()
    told.wait(_STOP_S)
