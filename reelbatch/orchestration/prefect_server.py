"""Prefect's API for a run without a server: one of its own process, which ends with the run.

Prefect can start a temporary server by itself, but that one shares the terminal's Ctrl-C, which would take it away
while creates in flight are still being recorded, and it outlives a run that was killed. Ours has a password that only
this run knows: any user of the machine can reach its port, and Prefect gives out Secret blocks to all who ask.
"""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO

import httpx
from prefect.logging.handlers import APILogHandler
from prefect.settings import (
    PREFECT_API_AUTH_STRING,
    PREFECT_API_URL,
    PREFECT_CLIENT_CUSTOM_HEADERS,
    temporary_settings,
)

from reelbatch.errors import PipelineError
from reelbatch.orchestration.events import on_temporary_server
from reelbatch.orchestration.loopback import loopback_is_direct
from reelbatch.orchestration.named_server import check_named_server
from reelbatch.settings.variables import child_environment

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


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the temporary server is, and the password that it asks for."""

    port: int
    password: str = field(repr=False)

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.origin}/api"

    @property
    def authorization(self) -> str:
        return f"Basic {b64encode(self.password.encode()).decode()}"

    @property
    def environment(self) -> dict[str, str]:
        """What its process is told. Settings of a user's own server hold for that one alone.

        Prefect takes an origin that it is not told as "any" one, so the server names itself.
        """
        return {
            **_QUIET,
            "PREFECT_SERVER_API_AUTH_STRING": self.password,
            "PREFECT_API_AUTH_STRING": self.password,
            "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": self.origin,
            "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": self.origin,
            "PREFECT_SERVER_API_BASE_PATH": "/api",
        }


@contextmanager
def prefect_api() -> Iterator[None]:
    """The API that the profile or the environment names, else a temporary one. Loopback is reached past all proxies.

    Raises:
        PipelineError: the one that is named can't be used, or the temporary one did not start.
        SettingsError: a proxy setting of the environment can't be used.
    """
    with loopback_is_direct():
        if named := PREFECT_API_URL.value():
            check_named_server(named)
            yield
        else:
            with _temporary_api():
                yield


@contextmanager
def _temporary_api() -> Iterator[None]:
    place = _Place(_free_port(), f"reelbatch:{secrets.token_urlsafe(32)}")
    client = {
        PREFECT_API_URL: place.url,
        PREFECT_API_AUTH_STRING: place.password,
        # Headers that the environment states are merged with these, and may hold another server's password.
        PREFECT_CLIENT_CUSTOM_HEADERS: {"Authorization": place.authorization},
    }
    with _temporary_server(place) as process, temporary_settings(client):
        token = on_temporary_server.set(True)
        try:
            yield
        finally:
            on_temporary_server.reset(token)
            if process.poll() is None:
                APILogHandler().flush()  # while there is still someone to send the last lines to


@contextmanager
def _temporary_server(place: _Place) -> Iterator[subprocess.Popen[bytes]]:
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said:
        process = subprocess.Popen(  # noqa: S603 - ourselves
            [sys.executable, "-P", "-m", "reelbatch.orchestration.prefect_server", str(place.port)],
            stdin=subprocess.PIPE,
            stdout=said,
            stderr=said,
            env=child_environment(place.environment),  # and not the command line, which everybody may read
            start_new_session=True,
        )
        with process:
            try:
                _wait_for(process, place.url, said)
                yield process
            finally:
                _stop(process)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for(process: subprocess.Popen[bytes], url: str, said: IO[str]) -> None:
    deadline = time.monotonic() + _START_S
    with httpx.Client(trust_env=False) as client:
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise _failure(f"ended with code {process.returncode}", said)
            try:
                if client.get(f"{url}/health").is_success:
                    return
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
    """End when standard input does: the one who started this process is gone."""
    sys.stdin.buffer.read()
    os._exit(0)


def _serve(port: int) -> None:
    import uvicorn

    os.umask(0o077)  # its database holds Secret blocks, and the key that opens them
    threading.Thread(target=_end_with_parent, daemon=True).start()
    app = "prefect.server.api.server:create_app"
    uvicorn.run(app, factory=True, host="127.0.0.1", port=port, log_level="critical", lifespan="on")


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
