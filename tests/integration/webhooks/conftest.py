"""A webhook address on a real socket for each test, with a results table of its own behind it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send
from waiting import wait_until
from webhook_stories import NO_CAS, SECRET, Receiving

from reelbatch.ledger import Ledger
from reelbatch.webhooks import webhook_app

Receive_ = Callable[..., Receiving]


class Host:
    """Serves one application after the other under the same address."""

    app: Starlette | None = None
    url = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on."""
        assert self.app
        await self.app(scope, receive, send)


@contextmanager
def hosting() -> Iterator[Host]:
    """A host in a thread."""
    host = Host()
    config = uvicorn.Config(host, port=0, ws="none", lifespan="off", log_level="critical", access_log=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started or not thread.is_alive(), "the host serves")
    assert server.started
    port = server.servers[0].sockets[0].getsockname()[1]
    host.url = f"http://127.0.0.1:{port}/"
    try:
        yield host
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="session")
def hosts() -> Iterator[list[Host]]:
    """Two hosts, for tests in which several receivers share a table."""
    with hosting() as first, hosting() as second:
        yield [first, second]


@pytest.fixture(scope="session")
def http() -> Iterator[httpx.Client]:
    """A client without a proxy."""
    with httpx.Client(verify=NO_CAS, timeout=20, trust_env=False) as client:
        yield client


@pytest.fixture
def table(tmp_path: Path) -> str:
    """Where a results table can be made; it is not waited for when it is locked."""
    return f"sqlite:///{tmp_path / 'results.db'}"


@pytest.fixture
def ledger(table: str) -> Iterator[Ledger]:
    """An empty results table."""
    with Ledger(table) as opened:
        yield opened


@pytest.fixture
def receive(hosts: list[Host], http: httpx.Client, ledger: Ledger) -> Receive_:
    """Serves the webhook address, on another table or with other options than usual."""
    free = iter(hosts)

    def serve(of: Ledger = ledger, **options: Any) -> Receiving:
        host = next(free)
        host.app = webhook_app(of, SecretStr(SECRET), **options)
        return Receiving(host.url, host.app, of, http)

    return serve


@pytest.fixture
def receiving(receive: Receive_) -> Receiving:
    """The webhook address over the test's table."""
    return receive()
