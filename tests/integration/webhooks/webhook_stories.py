"""Rows, creates and the events about their videos: what the tests of webhooks tell their stories with."""

from __future__ import annotations

import hmac
import json
import ssl
import time
from dataclasses import dataclass
from typing import Any

import httpx
from sqlalchemy import select
from starlette.applications import Starlette

from reelbatch.domain import Batch, Request, Row, RowKey, RunId, Token, VideoId
from reelbatch.ledger import Ledger, attempts, claims, orders, queries, runs, schema, utc_now
from reelbatch.ledger.accounts import Payer
from reelbatch.ledger.admission import Intent
from reelbatch.ledger.attempts import Answer, Ending
from reelbatch.ledger.claims import Claim
from reelbatch.ledger.intents import record_intents
from reelbatch.ledger.schema import results
from reelbatch.ledger.selection import Regenerate, Scope, SendOptions
from reelbatch.webhooks import Counts

SPRING = Batch("spring")
RUN = RunId("run-1")
SECRET = "whsec-of-the-tests"  # noqa: S105 - made up
NO_CAS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # loading the usual ones takes longer than most tests here
ESTIMATE = 48
TOKEN = Token("rb_0123456789abcdef0123")


def intend(ledger: Ledger, key: str = "a", token: Token = TOKEN) -> Intent:
    """A row whose create is under way: state `sending`."""
    ledger.change(lambda connection: runs.open_batch(connection, SPRING, Payer("local"), "."))
    with ledger.staged([[_row(key)]]) as manifest:
        manifest.merge(SPRING)
    return resend(ledger, token, rerun=False)


def _row(key: str) -> Row:
    request = Request(f"{key}.png", "Slow pan", 2.0, model="ltx-2.3")
    return Row(RowKey(key), 1, request, request.fingerprint(), ESTIMATE)


def order_again(ledger: Ledger, key: str = "a") -> int:
    """The row's video is to be made anew."""
    with ledger.staged([[_row(key)]], None, SendOptions(regenerate=Regenerate.ALL)) as manifest:
        manifest.compare(SPRING)
        manifest.merge(SPRING)
    order = ledger.read(lambda connection: orders.open_order(connection, SPRING))
    assert order is not None
    return order.order_id


def resend(ledger: Ledger, token: str, *, rerun: bool = True, order: int | None = None) -> Intent:
    """The pending row's create is under way."""
    claim = Claim(Scope(SPRING, RUN, rerun and order is None, order), (1, 10**6), 1)
    ((claimed,),) = ledger.change(lambda connection: claims.claim(connection, [claim]))
    intent = Intent(claimed, RUN, Token(token), utc_now(), None)
    ledger.change(lambda connection: record_intents(connection, [intent]))
    return intent


def tell(ledger: Ledger, intent: Intent, ending: Ending, **answered: Any) -> bool:
    """The create's own answer is recorded; whether the row took it up."""
    known = {"batch": intent.row.batch, "row_key": intent.row.row_key, "generation": intent.row.generation}
    known |= {"run_id": RUN, "token": intent.token}
    answer = Answer(**known, at=utc_now(), ending=ending, reserved=intent.reserve, **answered)
    return ledger.change(lambda connection: attempts.record_answers(connection, [answer]))[0]


def submit(ledger: Ledger, video_id: str = "vid-1") -> Intent:
    """A row that has its video: state `queued`."""
    intent = intend(ledger)
    tell(ledger, intent, Ending.SUBMITTED, video_id=VideoId(video_id), credits_charged=ESTIMATE)
    return intent


def in_doubt(ledger: Ledger) -> Intent:
    """A row whose create brought no answer."""
    intent = intend(ledger)
    tell(ledger, intent, Ending.IN_DOUBT, code="connection_lost", message="no answer")
    return intent


def event(kind: str, intent: Intent | None = None, video_id: str = "vid-1", **stated: Any) -> dict[str, Any]:
    """An event as the API words it, about the video of `intent`, if any."""
    status = {"video.started": "rendering", "video.completed": "complete", "video.errored": "error"}.get(kind, "")
    failed = status == "error"
    payload = {
        "id": video_id,
        "name": f"a {intent.token}" if intent else "Holiday",
        "status": status,
        "type": "IMAGE_TO_VIDEO",
        "created_at": "2026-11-22T10:00:00.000Z",
        "width": 854 if status == "complete" else -1,
        "height": 480 if status == "complete" else -1,
        "enabled": True,
        "start_seconds": 0,
        "end_seconds": 2,
        "credits_charged": {"complete": 38, "error": 0}.get(status, ESTIMATE),
        "fps": 24,
        "error": {"code": "no_source_face", "message": "No face was found"} if failed else None,
        "downloads": [],
    }
    return {"type": kind, "payload": payload | stated}


def signed(body: bytes, *, at: float | None = None, secret: str = SECRET) -> dict[str, str]:
    """The headers that the API sends with `body`."""
    timestamp = str(int(time.time() if at is None else at))
    signature = hmac.new(secret.encode(), f"{timestamp}.".encode() + body, "sha256").hexdigest()
    return {"magic-hour-event-timestamp": timestamp, "magic-hour-event-signature": signature}


@dataclass(frozen=True)
class Receiving:
    """A webhook address that is being served, and the table behind it."""

    url: str
    app: Starlette
    ledger: Ledger
    http: httpx.Client

    @property
    def counts(self) -> Counts:
        """What became of the events."""
        counts: Counts = self.app.state.counts
        return counts

    def post(self, content: Any, headers: dict[str, str] | None = None) -> int:
        """Send a body; the status of the answer."""
        return self.http.post(self.url, content=content, headers=headers or {}).status_code

    def send(self, kind: str, intent: Intent | None = None, video_id: str = "vid-1", **stated: Any) -> int:
        """Send an event as the API would; the status of the answer."""
        body = json.dumps(event(kind, intent, video_id, **stated)).encode()
        return self.post(body, signed(body))


def entry(ledger: Ledger, key: str = "a") -> dict[str, Any]:
    """All that the table has of a row."""
    query = select(results).where(results.c.batch == SPRING, results.c.row_key == key)
    return dict(ledger.read(lambda connection: connection.execute(query).mappings().one()))


def attempt(ledger: Ledger, intent: Intent) -> dict[str, Any]:
    """All that the table has of an attempt."""
    query = select(schema.attempts).where(schema.attempts.c.token == intent.token)
    return dict(ledger.read(lambda connection: connection.execute(query).mappings().one()))


def everything(ledger: Ledger) -> list[Any]:
    """The rows, the attempts and the running sums: to see that nothing was written."""
    tables = [select(results), select(schema.attempts), select(queries.batches), select(runs.runs)]
    return ledger.read(lambda connection: [connection.execute(query).all() for query in tables])


def worst_case(ledger: Ledger) -> int:
    """The running worst case of the batch, its sums checked against what the attempts add up to."""
    running = ledger.read(lambda connection: queries.worst_case(connection, SPRING))
    credits_ = ledger.read(lambda connection: queries.credits_of(connection, SPRING))
    assert credits_ == ledger.read(lambda connection: queries.added_up(connection, SPRING))
    assert running == credits_.worst_case
    return running
