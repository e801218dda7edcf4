"""An API that repeats the caller's key in whatever it says: the sandbox, with a stage in front of it."""

from __future__ import annotations

import http.client
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

_QUERY = re.compile(rb'https?://[^"?\s]+\?([^"\s]+)')
_HOP = {"connection", "content-length", "transfer-encoding"}


@dataclass
class Parrot:
    """Where it listens, and what has passed."""

    url: str
    keys: set[str] = field(default_factory=set)  # Authorization headers that came
    queries: set[str] = field(default_factory=set)  # of the signed addresses that it gave out
    repeated: int = 0  # answers that hold a key


@contextmanager
def parroting(url: str) -> Iterator[Parrot]:
    """A parrot in front of the API at `url`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    parrot = Parrot(f"http://127.0.0.1:{server.server_port}")
    server.RequestHandlerClass = _handler(parrot, urlsplit(url).netloc)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield parrot
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(parrot: Parrot, api: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self._pass_on()

        do_GET = do_PUT = do_POST  # noqa: N815 - names of the standard library

        def _pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            upstream = http.client.HTTPConnection(api, timeout=60)
            try:
                upstream.request(self.command, self.path, body, dict(self.headers))
                answer = upstream.getresponse()
                said = answer.read()
            except (OSError, http.client.HTTPException):  # a fault that was ordered: no answer, or half of one
                self.close_connection = True
                return
            finally:
                upstream.close()
            self._say(answer, said)

        def _say(self, answer: http.client.HTTPResponse, said: bytes) -> None:
            parrot.queries.update(query.decode() for query in _QUERY.findall(said))
            if key := self.headers.get("Authorization"):
                parrot.keys.add(key)
                parrot.repeated += 1
                said = _with(key, said)
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in _HOP:
                    self.send_header(name, value)
            self.send_header("X-You-Sent", key or "nothing")
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_: object) -> None:
            """It says enough as it is."""

    return Handler


def _with(key: str, said: bytes) -> bytes:
    """`said` with the key, plain and escaped, wherever something may be kept of it."""
    try:
        stated: Any = json.loads(said)
    except ValueError:
        return said + key.encode()
    if isinstance(stated, dict):
        stated["you_sent"] = key
        for told in (stated, stated.get("error")):
            if isinstance(told, dict) and "message" in told:
                told["message"] = f"{told['message']} ({key})"
    escaped = "".join(f"\\u{ord(char):04x}" for char in key)
    return json.dumps(stated).encode().replace(b'"you_sent"', f'"escaped": "{escaped}", "you_sent"'.encode())
