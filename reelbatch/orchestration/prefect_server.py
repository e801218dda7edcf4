"""Prefect's API for a run without a server: one of its own process, which ends with the run.

Prefect can start a temporary server by itself, but that one shares the terminal's Ctrl-C, which would take it away
while creates in flight are still being recorded, and it outlives a run that was killed. Ours has a password that only
this run knows: any user of the machine can reach its port, and Prefect gives out Secret blocks to all who ask.

Prefect takes seconds to import, in both processes. So this module, which is also the server's own, imports it only
where it is used: the server is on its way before the run imports Prefect, and watches its standard input before that.
"""

from __future__ import annotations

import gc
import http.client
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
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import IO, Any

from reelbatch.errors import PipelineError

_START_S = 120.0
_STOP_S = 5.0
_POLL_S = 0.05
_QUIET = {
    "PREFECT_SERVER_UI_ENABLED": "false",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_SERVER_REGISTER_BLOCKS_ON_START": "false",  # a block registers its kind when it is saved
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


@dataclass(frozen=True, slots=True)
class TemporaryServer:
    """A server on its way, or up: its process, where it is, and what it has said."""

    place: _Place
    process: subprocess.Popen[bytes]
    said: IO[str]


@contextmanager
def prefect_api(server: TemporaryServer | None = None) -> Iterator[None]:
    """The API that the profile or the environment names, else that of `server`, or of one that is started here.

    Raises:
        PipelineError: the one that is named can't be used, or the temporary one did not start.
        SettingsError: a proxy setting of the environment can't be used.
    """
    from prefect.settings import PREFECT_API_URL

    from reelbatch.orchestration.loopback import loopback_is_direct
    from reelbatch.orchestration.named_server import check_named_server

    with loopback_is_direct():
        if named := PREFECT_API_URL.value():
            check_named_server(named)
            yield
        else:
            with nullcontext(server) if server else temporary_server() as ours, _client_of(ours):
                yield


@contextmanager
def _client_of(server: TemporaryServer) -> Iterator[None]:
    """While this lasts, Prefect's client has the server that is up by then as its own."""
    import fastapi.encoders  # noqa: F401 - Prefect does so as a flow begins; until then the server is on its way
    from prefect.logging.handlers import APILogHandler
    from prefect.settings import (
        PREFECT_API_AUTH_STRING,
        PREFECT_API_URL,
        PREFECT_CLIENT_CUSTOM_HEADERS,
        PREFECT_DEFAULT_RESULT_STORAGE_BLOCK,
        temporary_settings,
    )

    from reelbatch.orchestration.events import on_temporary_server

    place = server.place
    client = {
        PREFECT_API_URL: place.url,
        PREFECT_API_AUTH_STRING: place.password,
        # Headers that the environment states are merged with these, and may hold another server's password.
        PREFECT_CLIENT_CUSTOM_HEADERS: {"Authorization": place.authorization},
        PREFECT_DEFAULT_RESULT_STORAGE_BLOCK: None,  # a block of another server; no result of ours is kept
    }
    _wait_for(server)
    with temporary_settings(client):
        token = on_temporary_server.set(True)
        try:
            yield
        finally:
            on_temporary_server.reset(token)
            if server.process.poll() is None:
                APILogHandler().flush()  # while the server is there to take the last lines


@contextmanager
def temporary_server() -> Iterator[TemporaryServer]:
    """Start a server, which is not waited for; it ends with this block, or with this process."""
    from reelbatch.settings.variables import child_environment

    place = _Place(_free_port(), f"reelbatch:{secrets.token_urlsafe(32)}")
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
                yield TemporaryServer(place, process, said)
            finally:
                _stop(process)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for(server: TemporaryServer) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            raise _failure(f"ended with code {server.process.returncode}", server.said)
        if _answers(server.place.port):
            return
        time.sleep(_POLL_S)
    raise _failure(f"did not answer within {_START_S:.0f} s", server.said)


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_START_S)
    try:
        connection.request("GET", "/api/health")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


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
    os.umask(0o077)  # its database holds Secret blocks, and the key that opens them
    threading.Thread(target=_end_with_parent, daemon=True).start()
    gc.disable()  # an eighth of the time that imports take goes into a search for garbage, of which there is none

    import uvicorn

    uvicorn.run(_application, factory=True, host="127.0.0.1", port=port, log_level="critical", lifespan="on")


def _application() -> Any:
    from prefect.server.api.server import create_app

    from reelbatch.orchestration.fresh_database import make_database

    make_database()
    application = create_app()
    gc.freeze()
    gc.enable()
    return application


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
