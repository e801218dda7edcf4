"""A lean server that answers as the API does: an asyncio protocol over httptools, so that it is not what is measured.

python -m benchmarks.rawserver    prints its URL and serves on loopback until its standard input ends

It checks nothing and forgets nothing: `/bench/books` tells what came in and when. The product's sandbox does the same
and much more at a higher cost for each create.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time
from array import array
from typing import Any

from httptools import HttpRequestParser

from benchmarks.rows import CREDITS

_UPLOADS = "/storage/"
_CREATED = b'{"id":"v%%024d","credits_charged":%d,"estimated_frame_cost":%d}' % (CREDITS, CREDITS)
_VIDEO: dict[str, Any] = {"name": "bench", "status": "rendering", "credits_charged": CREDITS, "fps": 24.0}
_VIDEO |= {"width": 640, "height": 480, "error": None, "downloads": []}


class Account:
    """What came in since the last reset. Times are unix seconds."""

    def __init__(self, latency_ms: float = 0.0) -> None:
        self.latency_s = latency_ms / 1000
        self.arrived, self.answered = array("d"), array("d")
        self.rows: set[str] = set()
        self.again = 0
        self.calls: dict[str, list[float]] = {}  # what: count, first, last

    def note(self, what: str) -> None:
        """One more call of this sort."""
        now = time.time()
        seen = self.calls.setdefault(what, [0, now, now])
        seen[0] += 1
        seen[2] = now

    def create(self, content: bytes) -> int:
        """A create arrives; its number."""
        self.arrived.append(time.time())
        row = str(json.loads(content).get("name", "")).partition(" rb_")[0]
        self.again += row in self.rows
        self.rows.add(row)
        return len(self.arrived)

    def books(self) -> dict[str, Any]:
        """Everything in numbers. `rate`: creates in a second between the first arrival and the last answer."""
        creates = len(self.arrived)
        first, last = (self.arrived[0], max(self.answered)) if self.answered else (0.0, 0.0)
        return {
            "creates": creates,
            "charged_again": self.again,
            "first_at": first,
            "last_at": last,
            "rate": creates / (last - first) if last > first else 0.0,
            "middle_rate": self._middle_rate(),
            "calls": self.calls,
        }

    def _middle_rate(self) -> float:
        """Creates in a second, without the first and the last tenth: the rate once all workers are at work."""
        low, high = (len(self.arrived) * tenths // 10 for tenths in (1, 9))
        return (high - low) / (self.arrived[high] - self.arrived[low]) if high > low else 0.0


class Connection(asyncio.Protocol):
    """One connection: requests one after the other, as httptools reads them. Bodies of uploads are dropped."""

    account = Account()

    def connection_made(self, transport: Any) -> None:
        """Keep the other end."""
        self._transport, self._parser = transport, HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        """Read on."""
        self._parser.feed_data(data)

    def on_url(self, path: bytes) -> None:
        """A request begins; none of ours has so long a path that it comes in two pieces."""
        self._path, self._content = path.decode(), b""

    def on_body(self, content: bytes) -> None:
        """A piece of its body."""
        if not self._path.startswith(_UPLOADS):
            self._content += content

    def on_message_complete(self) -> None:
        """All of it is there."""
        self._handle(self._path, self._content)

    def _handle(self, path: str, content: bytes) -> None:
        account = Connection.account
        if path == "/v1/image-to-video":
            number = account.create(content)
            if account.latency_s:
                asyncio.get_running_loop().call_later(account.latency_s, self._created, account, number)
            else:
                self._created(account, number)
        elif path.startswith(_UPLOADS):
            account.note("put")
            self._answer(b"")
        elif path.startswith("/v1/video-projects/"):
            account.note("get")
            self._answer(json.dumps({"id": path.rpartition("/")[2], **_VIDEO}).encode())
        elif path == "/v1/account":  # a run asks for seconds, again and again, where nothing is named
            self._answer(b'{"id":"bench"}')
        elif path == "/v1/files/upload-urls":
            account.note("upload_urls")
            self._answer(json.dumps({"items": [self._slot(item) for item in json.loads(content)["items"]]}).encode())
        elif path == "/bench/reset":
            Connection.account = Account(**json.loads(content))
            self._answer(b"{}")
        else:
            self._answer(json.dumps(account.books()).encode())

    def _created(self, account: Account, number: int) -> None:
        account.answered.append(time.time())
        self._answer(_CREATED % number)

    def _slot(self, item: dict[str, str]) -> dict[str, str]:
        host, port = self._transport.get_extra_info("sockname")[:2]
        file = f"api-assets/bench/{os.urandom(12).hex()}.{item['extension']}"
        url = f"http://{host}:{port}{_UPLOADS}{file}"
        return {"upload_url": url, "expires_at": "2100-01-01T00:00:00.000Z", "file_path": file}

    def _answer(self, content: bytes) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(content)
        if not self._transport.is_closing():
            self._transport.write(head + content)


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    server = await loop.create_server(Connection, "127.0.0.1", 0, backlog=2048)
    loop.add_reader(sys.stdin.fileno(), lambda: None if os.read(sys.stdin.fileno(), 1024) else ended.set())
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await ended.wait()
    server.close()


if __name__ == "__main__":
    gc.disable()  # nothing here makes cycles, and a pause would count against the one who waits for an answer
    asyncio.run(_serve())
