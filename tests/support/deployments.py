"""Flow runs as they come to be, of a deployment or typed by someone, and the servers and workers that start them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx
import psutil
from ports import free_port
from waiting import wait_until

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

ROOT = Path(__file__).parents[2]
OURS = ("PREFECT_", "REELBATCH_", "MAGIC_HOUR_")
START_S = 150.0  # on a busy machine; a server imports for seconds before it listens
POOL = ("--pool", "reelbatch", "--type", "process")
ONE_AFTER_ANOTHER = """
import json, sys
from prefect.cli import app
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["prefect", *arguments]
    try:
        app()
    except SystemExit as end:
        if end.code:
            raise
"""


@dataclass(frozen=True)
class Server:
    """A Prefect server of a test's own, and a folder for everything that is said."""

    url: str
    folder: Path

    @property
    def env(self) -> dict[str, str]:
        """For Prefect's own commands; no key and no password."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
        quiet = {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1", "PWD": str(ROOT)}
        home = {"PREFECT_HOME": str(self.folder / "home"), "PREFECT_API_URL": self.url}
        often = {"PREFECT_WORKER_QUERY_SECONDS": "1", "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "2"}
        return {**kept, **quiet, **home, **often}

    def prefect(self, *commands: list[str]) -> None:
        """Run Prefect's commands one after the other, in one process: each alone takes seconds to start."""
        command = [sys.executable, "-c", ONE_AFTER_ANOTHER, json.dumps(commands)]
        done = subprocess.run(
            command, cwd=ROOT, env=self.env, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
        )
        assert done.returncode == 0, done.stdout + done.stderr

    @contextmanager
    def background(self, name: str, *arguments: str, **env: str) -> Iterator[subprocess.Popen[bytes]]:
        """One of Prefect's long-running commands; what it says goes to a file."""
        with self.log(name).open("wb") as said:
            process = subprocess.Popen(
                [sys.executable, "-m", "prefect", *arguments],
                cwd=ROOT,
                env={**self.env, **env},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
            )
        try:
            yield process
        finally:
            kill(process)

    def log(self, name: str) -> Path:
        """Where a command in the background says what it says."""
        return self.folder / f"{name}.log"

    @contextmanager
    def running(self) -> Iterator[None]:
        """`prefect server start`, as the documentation says."""
        port = str(httpx.URL(self.url).port)
        with self.background("server", "server", "start", "--host", "127.0.0.1", "--port", port, "--no-ui"):
            wait_until(lambda: answers(f"{self.url}/health"), "Prefect's server answers", START_S)
            yield

    @asynccontextmanager
    async def client(self) -> AsyncIterator[PrefectClient]:
        """The server's API."""
        from prefect import get_client
        from prefect.settings import PREFECT_API_URL, temporary_settings

        with temporary_settings({PREFECT_API_URL: self.url}):
            async with get_client() as client:
                yield client


def free_url() -> str:
    """An address for a server that is still to be started."""
    return f"http://127.0.0.1:{free_port()}/api"


def kill(process: subprocess.Popen[bytes]) -> None:
    """`kill -9` of a process and everything that it started: the machine is gone."""
    if process.poll() is None:
        victims = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        for victim in victims:
            victim.kill()
        process.wait()


def answers(url: str) -> bool:
    """Whether anything good comes back."""
    try:
        return httpx.get(url, trust_env=False).is_success
    except httpx.TransportError:
        return False


@asynccontextmanager
async def a_run(client: Any, flow: Any, *, deployed: bool) -> AsyncIterator[Any]:
    """A flow run that is still to be made; its deployment goes with it, since others look at this server too."""
    if not deployed:
        yield await client.create_flow_run(flow)
        return
    deployment = await client.create_deployment(await client.create_flow(flow), name=f"test-{uuid4().hex[:8]}")
    try:
        yield await client.create_flow_run_from_deployment(deployment)
    finally:
        await client.delete_deployment(deployment)
