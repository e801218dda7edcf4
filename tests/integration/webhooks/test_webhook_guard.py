"""Connections that bring no event: each has an end, and none of them keeps a real delivery out."""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import forked
import httpx
import pytest
from waiting import wait_until
from webhook_stories import SECRET, entry, event, signed, submit

from reelbatch.ledger import Ledger

_CODE = """
import json, resource, socket, sys
from pydantic import SecretStr
from reelbatch.ledger import Ledger
from reelbatch.webhooks import webhook_app
from reelbatch.webhooks.guard import Limits
from reelbatch.webhooks.server import _show_log, listening, serve_app
_show_log()
if files := json.loads(sys.argv[4]):
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
with Ledger(sys.argv[1]) as ledger, listening("127.0.0.1", 0) as listener:
    app = webhook_app(ledger, SecretStr(sys.argv[2]))
    serve_app(app, listener, lambda url: print(url, flush=True), Limits(**json.loads(sys.argv[3])))
"""
SILENT, HALF_HEAD = b"", b"POST / HTTP/1.1\r\nHost: x\r\n"
HALF_BODY = HALF_HEAD + b"Content-Length: 100\r\n\r\nhalf"
UNREAD = b"GET /health HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"
PATIENT = {"head_s": 60, "body_s": 60, "idle_s": 60}


@dataclass(frozen=True, slots=True)
class Served:
    """The address in a process of its own, and where it logs."""

    url: str
    process: forked.Popen[str]
    log: Path

    def connect(self, said: bytes) -> socket.socket:
        """A connection on which so much was said, and no more."""
        connection = socket.create_connection(("127.0.0.1", httpx.URL(self.url).port or 0), timeout=20)
        connection.sendall(said)
        return connection

    def lines(self) -> list[str]:
        """What it logged, without the times."""
        return [line.split(" ", 2)[2] for line in self.log.read_text().splitlines()]

    def processor_s(self) -> float:
        """Processor time so far."""
        parts = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def serving(ledger: Ledger, folder: Path, *, files: int | None = None, **limits: float) -> Iterator[Served]:
    """The address with these limits, and that many files that it may open."""
    log = folder / "log"
    command = [sys.executable, "-c", _CODE, ledger.shown_url, SECRET, json.dumps(limits), json.dumps(files)]
    with log.open("w") as errors:
        started = forked.Popen(command, stdout=forked.PIPE, stderr=errors, text=True)
    with started as process:
        try:
            out: IO[str] | None = process.stdout
            assert out
            yield Served(out.readline().strip(), process, log)
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
        finally:
            process.kill()


def open_ones(connections: list[socket.socket]) -> int:
    """How many the other side has not closed, as far as is known by now."""
    with selectors.DefaultSelector() as waiting:
        for connection in connections:
            waiting.register(connection, selectors.EVENT_READ, connection)
        closed = 0
        for key, _ in waiting.select(0):
            try:
                closed += not key.data.recv(65536, socket.MSG_DONTWAIT)
            except BlockingIOError:
                continue
            except ConnectionError:
                closed += 1
    return len(connections) - closed


def deliver(served: Served, ledger: Ledger, http: httpx.Client) -> None:
    """A real event is taken in."""
    body = json.dumps(event("video.completed", submit(ledger))).encode()
    assert http.post(served.url, content=body, headers=signed(body), timeout=10).status_code == 200
    assert entry(ledger)["state"] == "complete"


@pytest.mark.parametrize(
    ("said", "limit", "part"),
    [
        (SILENT, "head_s", "no whole head"),
        (HALF_HEAD, "head_s", "no whole head"),
        (HALF_BODY, "body_s", "no whole body"),
        (UNREAD, "body_s", "no whole body"),
    ],
    ids=["silent", "half a head", "half a body", "a body that is not read"],
)
def test_every_wait_for_the_peer_has_an_end(
    said: bytes, limit: str, part: str, ledger: Ledger, tmp_path: Path
) -> None:
    """Twenty of a kind are closed, with one line about all of them."""
    with serving(ledger, tmp_path, **{**PATIENT, limit: 0.3}) as served, ExitStack() as stack:
        connections = [stack.enter_context(served.connect(said)) for _ in range(20)]
        wait_until(lambda: open_ones(connections) == 0, "all are closed")
        assert len([line for line in served.lines() if part in line]) == 1


def test_a_byte_now_and_then_does_not_prolong_it(ledger: Ledger, tmp_path: Path) -> None:
    """Neither before the end of a head, nor of a body, nor within the second request of a connection."""
    second = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    with serving(ledger, tmp_path, head_s=0.5, body_s=0.5, idle_s=60) as served:
        for said in (HALF_HEAD, HALF_BODY, second):
            with served.connect(said) as connection:
                gone, deadline = False, time.monotonic() + 20
                while not gone and time.monotonic() < deadline:
                    try:
                        connection.sendall(b"x")
                    except ConnectionError:
                        gone = True
                    time.sleep(0.05)
                assert gone


def test_an_idle_connection_is_closed_and_one_in_use_is_not(ledger: Ledger, tmp_path: Path) -> None:
    """Several events on one connection are fine."""
    with serving(ledger, tmp_path, head_s=60, body_s=60, idle_s=0.5) as served, served.connect(SILENT) as connection:
        for _ in range(3):
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = b""
            while not answer.endswith(b'"ok"}'):
                part = connection.recv(65536)
                assert part
                answer += part
        wait_until(lambda: open_ones([connection]) == 0, "it is closed")
        assert served.lines() == []


def test_a_head_without_end_is_cut(ledger: Ledger, tmp_path: Path) -> None:
    """It is not kept in memory until the time is up."""
    with serving(ledger, tmp_path, **PATIENT) as served, served.connect(HALF_HEAD) as connection:
        with pytest.raises(ConnectionError):
            connection.sendall((b"X-Long: " + b"x" * 8192 + b"\r\n") * 5000)
        wait_until(lambda: any("a head is longer" in line for line in served.lines()), "it is said")


def test_silent_connections_do_not_keep_a_delivery_out(ledger: Ledger, tmp_path: Path, http: httpx.Client) -> None:
    """Two hundred of them, none of which has reached its limit: the oldest make room, and one line says so."""
    with serving(ledger, tmp_path, **PATIENT, connections=20) as served, ExitStack() as stack:
        kinds = (SILENT, HALF_HEAD, HALF_BODY)
        connections = [stack.enter_context(served.connect(kinds[n % 3])) for n in range(200)]
        deliver(served, ledger, http)
        assert open_ones(connections) <= 20
        assert len([line for line in served.lines() if "more than 20 connections" in line]) == 1
        assert len(served.lines()) <= 4


def test_a_lack_of_files_neither_ends_nor_spins_it(ledger: Ledger, tmp_path: Path, http: httpx.Client) -> None:
    """Where hardly any file can be opened, a delivery gets through all the same, and the log stays short."""
    with serving(ledger, tmp_path, files=40, **PATIENT) as served, ExitStack() as stack:
        connections = [stack.enter_context(served.connect(SILENT)) for _ in range(200)]
        deliver(served, ledger, http)
        before = served.processor_s()
        time.sleep(1.2)
        assert served.processor_s() - before < 0.6
        assert len(served.lines()) <= 4
        assert open_ones(connections) <= 40
        assert http.get(f"{served.url}health").status_code == 200
