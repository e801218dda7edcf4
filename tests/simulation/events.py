"""Webhook events: sent late, in another order, more than once, until they are taken; and who receives them."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import MutableMapping
from contextvars import Context
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr
from starlette.applications import Starlette

from reelbatch.ledger import Ledger
from reelbatch.machine import machine
from reelbatch.webhooks.app import webhook_app
from simulation.books import Charge
from simulation.machines import EPOCH, Process

if TYPE_CHECKING:
    from simulation.world import World

SECRET = "simulated"  # noqa: S105 - of a simulated API
_TRIES = 12


class Events:
    """What the API tells of its own accord. The receiver runs from the first event on."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._receiver: Process | None = None
        self._app: Starlette | None = None
        self._ledger: Ledger | None = None

    def charged(self, charge: Charge) -> None:
        """Two events will follow."""
        if not self._world.plan.webhooks:
            return
        for at, kind in ((charge.rendering_at, "video.started"), (charge.ends_at, self._last(charge))):
            if kind is None:
                continue
            for _ in range(2 if self._world.chance.random() < 0.2 else 1):
                late = self._world.chance.expovariate(1 / 10)
                self._world.loop.call_at(at + late, self._send, charge, kind, 0, context=Context())

    @staticmethod
    def _last(charge: Charge) -> str | None:
        return {"complete": "video.completed", "error": "video.errored"}.get(charge.ends_as)

    def _send(self, charge: Charge, kind: str, tries: int) -> None:
        self._world.loop.create_task(self._deliver(charge, kind, tries))

    async def _deliver(self, charge: Charge, kind: str, tries: int) -> None:
        world = self._world
        arrives = world.chance.random() < world.plan.webhooks or world.calm
        status = await self._receive(charge, kind) if arrives else 0
        if not 200 <= status < 300 and tries < _TRIES:
            world.loop.call_later(5 * 2**tries, self._send, charge, kind, tries + 1, context=Context())

    async def _receive(self, charge: Charge, kind: str) -> int:
        world = self._world
        if not world.table.exists():
            return 0
        body = json.dumps({"type": kind, "payload": world.books.video(charge)}).encode()
        if self._receiver is None or self._receiver.is_dead or self._app is None:
            self._open()
        process = self._receiver
        assert process is not None
        task = world.loop.create_task(self._served(body), context=process.context)
        ended = world.loop.create_future()
        task.add_done_callback(lambda _: ended.done() or ended.set_result(None))
        world.loop.call_later(10, lambda: ended.done() or ended.set_result(None))
        await ended
        if not task.done() or task.exception() is not None:
            return 0
        return task.result()

    def _open(self) -> None:
        """A process for as long as it lives."""
        world = self._world
        process = self._receiver = Process(world.hosts[0], "webhook", world.failures)
        process.ended = world.loop.create_future()
        context = process.context = Context()
        context.run(machine.set, process)
        self._app = None
        context.run(self._open_app, process)

    def _open_app(self, process: Process) -> None:
        ledger = Ledger(self._world.settings.results, self._world.settings.lease_s)
        process.ledgers.append(ledger)
        self._app = webhook_app(ledger, SecretStr(SECRET), clock=process.wall_s)

    async def _served(self, body: bytes) -> int:
        assert self._app is not None
        app, at = self._app, str(int(EPOCH + self._world.loop.time() + self._world.hosts[0].wall_ahead_s))
        seal = hmac.new(SECRET.encode(), at.encode() + b"." + body, hashlib.sha256).hexdigest()
        headers = [(b"magic-hour-event-signature", seal.encode()), (b"magic-hour-event-timestamp", at.encode())]
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "POST",
            "path": "/",
            "raw_path": b"/",
            "query_string": b"",
            "headers": headers,
            "scheme": "http",
            "server": ("127.0.0.1", 1),
            "client": ("127.0.0.1", 2),
            "root_path": "",
        }
        status = 0

        async def receive() -> MutableMapping[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            status = message.get("status", status)

        await app(scope, receive, send)
        return status
