"""A real S3-compatible server, with a gate in front of it that counts, refuses and stalls."""

from __future__ import annotations

import http.client
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_HOP = {"connection", "transfer-encoding", "content-length", "date", "server"}


@dataclass(frozen=True)
class Call:
    """One request as the gate saw it."""

    method: str
    path: str


@dataclass
class Gate:
    """Where the tests' storage is reached, and what has passed."""

    url: str
    calls: list[Call] = field(default_factory=list)
    bytes_out: int = 0
    refuse: Callable[[Call], int | None] = lambda _: None
    opened: threading.Event = field(default_factory=threading.Event)  # until then, calls are stalled

    def reset(self) -> None:
        """Everything passes, nothing is counted yet."""
        self.calls.clear()
        self.bytes_out = 0
        self.refuse = lambda _: None
        self.opened.set()


@contextmanager
def gated_storage() -> Iterator[Gate]:
    """The server and its gate, both on loopback."""
    from moto.server import ThreadedMotoServer  # a second, which no worker needs that has other files

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    _, port = moto.get_host_and_port()
    server = _Server(port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.gate
    finally:
        server.gate.opened.set()
        server.shutdown()
        thread.join()
        server.server_close()
        moto.stop()


class _Server(ThreadingHTTPServer):
    def __init__(self, behind: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behind = behind
        self.gate = Gate(f"http://127.0.0.1:{self.server_port}")


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def _pass(self) -> None:
        gate = self.server.gate
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        call = Call(self.command, self.path)
        gate.calls.append(call)
        gate.opened.wait(60)
        status = gate.refuse(call)
        if status is not None:
            self._answer(status, [], b"")
            return
        connection = http.client.HTTPConnection("127.0.0.1", self.server.behind, timeout=30)
        try:
            connection.request(self.command, self.path, body, dict(self.headers))
            answer = connection.getresponse()
            content = answer.read()
            headers = [(name, value) for name, value in answer.getheaders() if name.lower() not in _HOP]
            length = answer.getheader("Content-Length") if self.command == "HEAD" else None
            self._answer(answer.status, headers, content, length)
        finally:
            connection.close()
        gate.bytes_out += len(content)

    def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes, length: str | None = None) -> None:
        self.send_response(status)
        for name, value in [*headers, ("Content-Length", length or str(len(content)))]:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _pass  # noqa: N815 - the names that http.server looks for

    def log_message(self, *_: object) -> None:
        """Quiet."""
