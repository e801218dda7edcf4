"""A worker that is stopped while its request waits for a connection sends nothing old when it goes on."""

from __future__ import annotations

import json
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import forked
import psutil
from bench import GOOD, Bench, ScriptedApi
from waiting import wait_until

_WORKER = "import json, sys, reelbatch; reelbatch.generate(sys.argv[1], **json.loads(sys.argv[2]))"
_LEASE_S = 3.0


class CrowdedApi(ScriptedApi):
    """After the question about the account its door is shut: who connects then waits until it opens."""

    request_queue_size = 0  # one connection more, and the system drops it

    def __init__(self) -> None:
        super().__init__(lambda _: GOOD)
        self.opened = threading.Event()
        self._crowd = ExitStack()
        self._guests = 0

    def get_request(self) -> tuple[socket.socket, Any]:
        """The next connection; all but the first wait for the door."""
        if self._guests:
            self.opened.wait()
        self._guests += 1
        return super().get_request()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve it; behind the first comes the crowd."""
        if self._guests == 1:
            self._crowd.enter_context(socket.create_connection(self.server_address[:2]))
        super().process_request(request, client_address)

    def open_door(self) -> None:
        """The crowd goes, and who has waited is let in."""
        self._crowd.close()
        self.opened.set()


@contextmanager
def crowded() -> Iterator[CrowdedApi]:
    """A running one."""
    with CrowdedApi() as api:
        thread = threading.Thread(target=api.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield api
        finally:
            api.open_door()
            api.shutdown()
            thread.join()


def connections(worker: psutil.Process, api: ScriptedApi, status: str) -> int:
    """The worker's connections to the API of one status; also those of a worker that is stopped."""
    found = worker.net_connections("tcp")
    return sum(one.status == status and bool(one.raddr) and one.raddr.port == api.server_port for one in found)


def test_an_intent_that_grew_old_before_its_connection_stood_does_not_leave(bench: Bench) -> None:
    """Others may have decided about it meanwhile. The row is sent once, by a new attempt."""
    manifest = bench.folder / "one.csv"
    bench.rows(1).to_csv(manifest, index=False)
    with crowded() as api:
        stated = bench.settings(base_url=api.url, lease_s=_LEASE_S, concurrency=1, batch=bench.batch)
        command = [sys.executable, "-c", _WORKER, str(manifest), json.dumps(stated)]
        with forked.Popen(command, stdout=forked.DEVNULL) as started:
            worker = psutil.Process(started.pid)
            try:
                wait_until(lambda: connections(worker, api, psutil.CONN_SYN_SENT), "its create wants a connection")
                assert bench.states() == {"sending": 1}
                established = connections(worker, api, psutil.CONN_ESTABLISHED)
                worker.send_signal(signal.SIGSTOP)
                stopped_at = time.monotonic()
                wait_until(lambda: time.monotonic() - stopped_at > _LEASE_S / 2, "the intent is old")
                api.open_door()
                wait_until(
                    lambda: connections(worker, api, psutil.CONN_ESTABLISHED) > established, "the connection stands"
                )
                worker.send_signal(signal.SIGCONT)
                assert started.wait(60) == 0
            finally:
                started.kill()
    first, second = bench.attempts()
    assert (first["outcome"], first["video_id"]) == ("retry", None)
    assert [arrival.name.rpartition(" ")[2] for arrival in api.arrivals] == [second["token"]]
    assert bench.states() == {"queued": 1}
