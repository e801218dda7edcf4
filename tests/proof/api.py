"""The API of the proof: the sandbox in one process, with the books and the faults of each run in turn."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, Request, build_opener

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from reelbatch.sandbox.app import build_app
from reelbatch.sandbox.config import SandboxConfig
from reelbatch.sandbox.service import Service
from reelbatch.sandbox.wire import ConnectionProtocol

_local = build_opener(ProxyHandler({}))
_QUICK = {"queue_seconds": 0, "render_seconds": 0, "render_video": False}


class Api:
    """A process of its own. It ends with the process that forked it."""

    def __init__(self) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self._ours, self._its = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            os.close(self._its)
            with suppress(BaseException):
                asyncio.run(_serve(listener, self._ours, self.url))
            os._exit(0)
        os.close(self._ours)
        listener.close()

    def stop(self) -> None:
        """End it."""
        os.close(self._its)
        os.waitpid(self.pid, 0)

    def close_books(self) -> None:
        """Nothing is served any more, and its files can be replaced."""
        self.ask("/proof/close", {})

    def open_books(self, data: Path, faults: Any) -> None:
        """Serve the account whose books lie in `data`."""
        self.ask("/proof/open", {"data": str(data), "faults": faults})

    def charges(self) -> list[dict[str, Any]]:
        """All that the account was charged for."""
        found: list[dict[str, Any]] = self.ask("/sandbox/books")["charges"]
        return found

    def video(self, video_id: str) -> dict[str, Any]:
        """What the API says about a video."""
        return self.ask(f"/v1/video-projects/{video_id}")

    def ask(self, path: str, body: Any = None) -> dict[str, Any]:
        """One call."""
        headers = {"Authorization": "Bearer sandbox", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        with _local.open(Request(self.url + path, data, headers), timeout=60) as answer:  # noqa: S310 - our own
            found: dict[str, Any] = json.load(answer)
        return found


class _Host:
    """Hands requests on to the account that is open now."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._service: Service | None = None
        self._app: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A request; those under /proof open and close accounts."""
        if scope["path"].startswith("/proof/"):
            body = json.loads((await receive())["body"])
            self.close()
            if scope["path"] == "/proof/open":
                config = SandboxConfig(**_QUICK, faults=body["faults"])
                self._service = Service(config, Path(body["data"]), self._url)
                self._app = build_app(self._service)
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
            await send({"type": "http.response.body", "body": b"{}"})
        elif self._app is not None:
            await self._app(scope, receive, send)

    def close(self) -> None:
        """Let go of the account."""
        if self._service is not None:
            self._service.books.close()
        self._service = self._app = None


async def _serve(listener: socket.socket, parent: int, url: str) -> None:
    host = _Host(url)
    config = uvicorn.Config(
        host, http=ConnectionProtocol, ws="none", lifespan="off", log_level="critical", access_log=False
    )
    server = uvicorn.Server(config)
    asyncio.get_running_loop().add_reader(parent, setattr, server, "should_exit", True)  # its other end is closed
    await server.serve(sockets=[listener])
    host.close()
