"""Runs the sandbox as a process of its own and stops it again."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, Request, build_opener

from reelbatch.errors import ReelbatchError
from reelbatch.sandbox.config import SandboxConfig, build_config
from reelbatch.settings.variables import child_environment

_START_S = 30.0  # a cold start on a busy machine takes some seconds
_STOP_S = 10.0
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
        SettingsError: an override is unknown or out of its range.
        ReelbatchError: the process did not come up; it has said why on standard error.
    """
    stated = (config or SandboxConfig()).model_dump(mode="json")
    settings = build_config({**stated, **overrides})
    with ExitStack() as stack:
        with tempfile.TemporaryDirectory(prefix="reelbatch-sandbox-config-") as folder:
            process = stack.enter_context(_spawn(settings, Path(folder) / "sandbox.json"))
            stack.callback(_stop, process)
            running = _ready(process)  # it has read the file by now
        yield running


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
    return RunningSandbox(url=ready["url"], key=ready["key"], pid=process.pid)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
