"""The address that the API's webhook events are sent to."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from reelbatch.errors import LedgerError
from reelbatch.ledger import Ledger
from reelbatch.ledger.transactions import write
from reelbatch.ledger.webhook_events import Effect, record_events, token_of
from reelbatch.printable import Printable
from reelbatch.webhooks.events import Event, Malformed, read_event
from reelbatch.webhooks.guard import Seldom
from reelbatch.webhooks.signature import Seal

log = logging.getLogger("reelbatch.webhooks")
log.addFilter(Printable())
_DROPPED_AT_MOST = 16  # times `max_body`: read and thrown away, so that the sender gets to see the answer


def webhook_app(
    ledger: Ledger,
    secret: SecretStr,
    *,
    clock: Callable[[], float] = time.time,
    max_body: int = 1_000_000,
    tolerance_s: float = 300,
) -> Starlette:
    """An ASGI application that records events: `POST /`, and `GET /health`. It can be mounted in another one.

    A success is answered when the results table has it; `app.state.counts` says what became of the events.

    Args:
        ledger: the results table; it stays the caller's to close.
        secret: of the webhook, as the API's developer page shows it.
        clock: unix seconds.
        max_body: longest body in bytes; of a longer one nothing is kept.
        tolerance_s: how old, or how far ahead, a signature may be.

    Raises:
        SettingsError: the secret is empty.
    """
    receiver = Receiver(ledger, Seal(secret, tolerance_s), clock, max_body)
    app = Starlette(
        routes=[Route("/", receiver.receive, methods=["POST"]), Route("/health", _health, methods=["GET"])]
    )
    app.state.counts = receiver.counts
    return app


async def _health(_: Request) -> Response:
    return JSONResponse({"status": "ok"})


class Refused(Exception):  # noqa: N818 - an answer, not a failure of ours
    """A request that gets `status`; `reason` is for our own log."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Receiver:
    """Takes requests apart and has them recorded."""

    def __init__(self, ledger: Ledger, seal: Seal, clock: Callable[[], float], max_body: int) -> None:
        self.counts = Counts()
        self._ledger = ledger
        self._seal = seal
        self._clock = clock
        self._max_body = max_body
        self._seldom = Seldom(log)

    async def receive(self, request: Request) -> Response:
        """One event, from its bytes to the answer."""
        self.counts.received += 1
        try:
            event = await self._read(request)
            effect = Effect.UNKNOWN if event is None else await self._record(event)
        except Refused as refused:
            self.counts.refused += 1
            self._seldom.warning(str(refused.status), f"refused: {refused.reason}")
            return Response(status_code=refused.status, headers={"Connection": "close"})  # whatever is still to come
        except LedgerError as error:
            self.counts.failed += 1
            log.error("not recorded, so the API is asked to send it again: %s", error)  # noqa: TRY400 - one line
            return Response(status_code=503, headers={"Retry-After": "5"})
        return self._answer(event, effect)

    async def _read(self, request: Request) -> Event | None:
        body = await self._body(request)
        if not self._seal.genuine(request.headers, body, self._clock()):
            raise Refused(401, "the signature is missing, wrong or too old")
        try:
            return read_event(body)
        except Malformed as error:
            raise Refused(400, f"no event: {error}") from error

    async def _body(self, request: Request) -> bytes:
        kept, size = bytearray(), 0
        try:
            async for chunk in request.stream():
                size += len(chunk)
                if size <= self._max_body:
                    kept += chunk
                elif size > _DROPPED_AT_MOST * self._max_body:
                    break
                else:
                    kept.clear()
        except ClientDisconnect:
            raise Refused(400, "the connection ended within the body") from None
        if size > self._max_body:
            raise Refused(413, f"the body is longer than {self._max_body} bytes")
        return bytes(kept)

    async def _record(self, event: Event) -> Effect:
        told = event.to_record()
        effect = await write(self._ledger, record_events, told)
        if effect is not Effect.UNKNOWN:
            return effect
        by_id = partial(token_of, video_id=event.video.id)
        token = await asyncio.to_thread(self._ledger.read, by_id)
        return effect if token is None else await write(self._ledger, record_events, replace(told, token=token))

    def _answer(self, event: Event | None, effect: Effect) -> Response:
        counts = self.counts
        counts.applied += effect is Effect.APPLIED
        counts.repeated += effect is Effect.REPEATED
        counts.ignored += effect is Effect.UNKNOWN
        if event is None:
            log.info("ignored: an event of another sort")
        else:
            log.info("%s: %s %s", effect, event.type, event.video.id)
        return Response(status_code=204) if effect is Effect.UNKNOWN else JSONResponse({"message": effect})


@dataclass(slots=True)
class Counts:
    """Each request that is received ends in exactly one of the other counts."""

    received: int = 0
    applied: int = 0  # the results table changed
    repeated: int = 0  # ours, but nothing new
    ignored: int = 0  # not ours, or of a sort that tells us nothing
    refused: int = 0  # not signed, too large, malformed
    failed: int = 0  # the results table could not be written; the API sends it again
