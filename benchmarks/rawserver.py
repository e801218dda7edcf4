"""A lean server that answers as the API does: a bare asyncio protocol, so that it is not what is measured.

python -m benchmarks.rawserver    prints its URL and serves on loopback until its standard input ends

It checks nothing and forgets nothing: `/bench/books` tells what came in and when. The product's sandbox does the same
and much more at a higher cost for each create; the part `throughput` measures both.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import resource
import sys
import time
from array import array
from typing import Any

_LENGTH = b"content-length:"
_MIDDLE = (0.1, 0.9)


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


class Account:
    """What came in since the last reset. Times are unix seconds."""

    def __init__(self, latency_ms: float = 0.0, status: str = "rendering") -> None:
        self.latency_s = latency_ms / 1000
        self.status = status
        self.arrived, self.answered = array("d"), array("d")
        self.rows: set[str] = set()
        self.again = self.in_flight = self.most_in_flight = 0
        self.times: dict[str, list[float]] = {}  # what: count, first, last
        self.put_bytes = 0
        self._cpu_s = _cpu_s()

    def note(self, what: str) -> None:
        """One more call of this sort."""
        now = time.time()
        seen = self.times.setdefault(what, [0, now, now])
        seen[0] += 1
        seen[2] = now

    def create(self, content: bytes) -> int:
        """A create arrives; its number."""
        self.arrived.append(time.time())
        row = str(json.loads(content).get("name", "")).partition(" rb_")[0]
        self.again += row in self.rows
        self.rows.add(row)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        return len(self.arrived)

    def books(self) -> dict[str, Any]:
        """Everything in numbers. `rate`: creates in a second between the first arrival and the last answer."""
        creates, cpu_s = len(self.arrived), _cpu_s() - self._cpu_s
        names = ("count", "first", "last")
        first, last = (self.arrived[0], max(self.answered)) if self.answered else (None, None)
        return {
            "creates": creates,
            "rows": len(self.rows),
            "charged_again": self.again,
            "max_in_flight": self.most_in_flight,
            "first_at": first,
            "last_at": last,
            "rate": creates / (last - first) if first and last and last > first else None,
            "middle_rate": self._middle_rate(),
            "calls": {what: dict(zip(names, seen, strict=True)) for what, seen in self.times.items()},
            "put_bytes": self.put_bytes,
            "cpu_s": cpu_s,
        }

    def _middle_rate(self) -> float | None:
        """Creates in a second, without the first and the last tenth: the rate once all workers are at work."""
        low, high = (int(part * len(self.arrived)) for part in _MIDDLE)
        seconds = self.arrived[high] - self.arrived[low] if high > low else 0.0
        return (high - low) / seconds if seconds > 0 else None


class Connection(asyncio.Protocol):
    """One connection: requests one after the other. Bodies of uploads are counted and dropped."""

    account = Account()

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._left = 0  # bytes of an upload that are still to come
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the other end."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Take in what is whole."""
        if self._left:
            self._take_upload(len(data))
            return
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head, start = bytes(self._buffer[:end]), end + 4
            method, path, _ = head.split(b" ", 2)
            length = _length(head)
            if method == b"PUT":
                self._left = length
                here = len(self._buffer) - start
                self._buffer.clear()
                self._take_upload(here)
                return
            if len(self._buffer) < start + length:
                return
            content = bytes(self._buffer[start : start + length])
            del self._buffer[: start + length]
            self._handle(method, path.decode(), content)

    def _take_upload(self, size: int) -> None:
        self._left -= size
        Connection.account.put_bytes += size
        if self._left <= 0:
            self._left = 0
            Connection.account.note("put")
            self._answer(b"")

    def _handle(self, method: bytes, path: str, content: bytes) -> None:
        account = Connection.account
        if path == "/v1/image-to-video":
            number = account.create(content)
            if account.latency_s:
                asyncio.get_running_loop().call_later(account.latency_s, self._created, account, number)
            else:
                self._created(account, number)
        elif method == b"GET" and path.startswith("/v1/video-projects/"):
            account.note("get")
            self._answer(json.dumps(_video(path.rpartition("/")[2], account.status)).encode())
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
        account.in_flight -= 1
        account.answered.append(time.time())
        self._answer(b'{"id":"v%024d","credits_charged":120,"estimated_frame_cost":120}' % number)

    def _slot(self, item: dict[str, str]) -> dict[str, str]:
        host, port = self._transport.get_extra_info("sockname")[:2]
        file = f"api-assets/bench/{os.urandom(12).hex()}.{item['extension']}"
        url = f"http://{host}:{port}/storage/{file}"
        return {"upload_url": url, "expires_at": "2100-01-01T00:00:00.000Z", "file_path": file}

    def _answer(self, content: bytes) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(content)
        if not self._transport.is_closing():
            self._transport.write(head + content)


def _video(video_id: str, status: str) -> dict[str, Any]:
    return {
        "id": video_id,
        "name": "bench",
        "status": status,
        "credits_charged": 120,
        "fps": 24.0,
        "width": 640,
        "height": 480,
        "error": None,
        "downloads": [],
    }


def _length(head: bytes) -> int:
    low = head.lower()
    at = low.find(_LENGTH)
    return int(low[at + len(_LENGTH) :].split(b"\r\n", 1)[0]) if at >= 0 else 0


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
