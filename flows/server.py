"""Prefect's API for a run without a server: one of its own process, which ends with the run.

Prefect can start a temporary server by itself, but that one shares the terminal's Ctrl-C, which would take it away
while creates in flight are still being recorded, and it outlives a run that was killed.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import httpx
from prefect.logging.handlers import APILogHandler
from prefect.settings import PREFECT_API_URL, temporary_settings

from reelbatch.errors import PipelineError

_START_S = 60.0
_STOP_S = 5.0
_POLL_S = 0.05
_QUIET = {
    "PREFECT_SERVER_UI_ENABLED": "false",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "PREFECT__SERVER_EPHEMERAL": "1",
    "DO_NOT_TRACK": "1",
}


@contextmanager
def prefect_api() -> Iterator[None]:
    """The API that the profile or the environment names, else a temporary one.

    Raises:
        PipelineError: the temporary one did not start.
    """
    if PREFECT_API_URL.value():
        yield
        return
    with _temporary_server() as (url, process), temporary_settings({PREFECT_API_URL: url}):
        try:
            yield
        finally:
            if process.poll() is None:
                APILogHandler().flush()  # while there is still somebody to send the last lines to


@contextmanager
def _temporary_server() -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    port = _free_port()
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said:
        process = subprocess.Popen(  # noqa: S603 - ourselves
            [sys.executable, "-m", "flows.server", str(port)],
            stdin=subprocess.PIPE,
            stdout=said,
            stderr=said,
            env={**os.environ, **_QUIET},
            start_new_session=True,
        )
        with process:
            try:
                yield _wait_for(process, f"http://127.0.0.1:{port}/api", said), process
            finally:
                _stop(process)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for(process: subprocess.Popen[bytes], url: str, said: IO[str]) -> str:
    deadline = time.monotonic() + _START_S
    with httpx.Client(trust_env=False) as client:
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise _failure(f"ended with code {process.returncode}", said)
            try:
                if client.get(f"{url}/health").is_success:
                    return url
            except httpx.TransportError:
                time.sleep(_POLL_S)
    raise _failure(f"did not answer within {_START_S:.0f} s", said)


def _failure(what: str, said: IO[str]) -> PipelineError:
    said.seek(0)
    lines = [line.strip() for line in said if line.strip()]
    last = f" Its last words: {lines[-1]}" if lines else ""
    remedy = "Run `prefect server start` elsewhere and set PREFECT_API_URL, or see to the folder PREFECT_HOME."
    return PipelineError(f"Prefect's temporary server {what}.{last}", remedy)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()


def _end_with_parent() -> None:
    """End when standard input does: whoever started this process is gone."""
    sys.stdin.buffer.read()
    os._exit(0)


def _serve(port: int) -> None:
    import uvicorn

    threading.Thread(target=_end_with_parent, daemon=True).start()
    app = "prefect.server.api.server:create_app"
    uvicorn.run(app, factory=True, host="127.0.0.1", port=port, log_level="critical", lifespan="on")


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
