"""What a create ended in: one total function from what came back to what is done about it.

Only what surely never left may be sent again. Everything that may have been charged and brought no id is in doubt,
and a row in doubt is never sent again by itself. An id that came with anything but a success is asked for: until the
API has said what it is, its row is in doubt.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any, Literal

import httpx

from reelbatch.domain import VideoId
from reelbatch.domain.money import figure
from reelbatch.errors import TooLate
from reelbatch.machine import utc_now

MAX_RETRY_AFTER_S = 3600.0
_RAW_LIMIT = 10_000
_MESSAGE_LIMIT = 500
_OTHER_PLAN = frozenset({"subscription_required", "plan_upgrade_required"})
"""Codes of a 402 that concern this request: others may pass on the account's plan."""
_USUAL_CODES = {
    400: "invalid_request",
    401: "unauthorized",
    402: "insufficient_credits",
    404: "not_found",
    422: "unprocessable_entity",
    500: "internal_server_error",
}

NEVER_SENT: tuple[type[Exception], ...] = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)
"""Errors that happen before a request is written. They count only while nothing was seen to leave."""


class Kind(StrEnum):
    """The five ends of an attempt."""

    SUBMITTED = "submitted"  # an id is known
    RETRY = "retry"  # surely not created; may be sent again
    REJECTED = "rejected"  # surely not created; the same request would be refused again
    IN_DOUBT = "in_doubt"  # may have been created and charged
    HALT = "halt"  # not created, and neither would any other row be


@dataclass(frozen=True, slots=True)
class Exchange:
    """One POST and what came back: a status with a body, an error, or both when the body broke off."""

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    error: Exception | None = None
    request_sent: bool = False  # whether it may have begun to leave; False is certain


@dataclass(frozen=True, slots=True)
class Policy:
    """The settings that outcomes depend on."""

    server_errors: Literal["retry", "hold"] = "retry"
    bad_gateway_wait_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an attempt ended in. Credits are integers; `wait_s` is None where the usual backoff applies.

    `claimed_id` is an id that came with a refusal; `otherwise` is what the refusal means if there is no such video.
    """

    kind: Kind
    status: int | None = None
    video_id: VideoId | None = None
    credits_charged: int | None = None
    estimated_frame_cost: int | None = None
    wait_s: float | None = None
    code: str | None = None
    message: str | None = None
    raw_body: str | None = None
    claimed_id: VideoId | None = None
    otherwise: Outcome | None = None
    odd_charge: str | None = None  # why the answer's figure was not believed: the row counts as its estimate

    @property
    def said(self) -> Outcome:
        """What the status alone says: a bad key or "too fast" counts at once, whatever id came with it."""
        return self.otherwise or self

    def facts(self, *, request_sent: bool) -> dict[str, Any]:
        """Its figures for a history: what the API says in words is left out."""
        return {
            "kind": self.kind,
            "request_sent": request_sent,
            "status": self.status,
            "code": self.code,
            "video_id": self.video_id,
            "claimed_id": self.claimed_id,
            "credits_charged": self.credits_charged,
        }


def classify(exchange: Exchange, policy: Policy = Policy()) -> Outcome:
    """The outcome of `exchange`; every status and every error has exactly one."""
    if exchange.status is None:
        return _without_answer(exchange)
    if 200 <= exchange.status < 300:  # noqa: PLR2004 - the class of status codes
        return _success(exchange)
    return _claimed(exchange, _refusal(exchange, exchange.status, policy))


def _without_answer(exchange: Exchange) -> Outcome:
    error = exchange.error
    name = type(error).__name__ if error is not None else "no answer"
    detail = f"{name}: {error}" if error is not None and str(error) else name
    if isinstance(error, TooLate) and not exchange.request_sent:
        return Outcome(Kind.RETRY, code="too_late", message=f"not sent: {error}")
    if isinstance(error, NEVER_SENT) and not exchange.request_sent:
        return Outcome(Kind.RETRY, code="not_connected", message=f"the API could not be reached ({detail})")
    code = "timeout" if isinstance(error, httpx.TimeoutException | TimeoutError) else "connection_lost"
    message = f"no answer came after the request was sent ({detail}); it may have been charged"
    return _claimed(exchange, Outcome(Kind.IN_DOUBT, code=code, message=message))


def _success(exchange: Exchange) -> Outcome:
    raw = exchange.body.decode("utf-8", "replace")
    answer = _json_object(exchange.body)
    video_id = _usable_id(answer["id"]) if "id" in answer else _id_in_broken_json(raw)
    if video_id is None:
        message = "the API returned success but without an id; it may have been charged"
        return Outcome(Kind.IN_DOUBT, exchange.status, code="no_id", message=message, raw_body=raw[:_RAW_LIMIT])
    charged = figure(answer.get("credits_charged"))
    return Outcome(
        Kind.SUBMITTED,
        exchange.status,
        video_id=video_id,
        credits_charged=charged.credits,
        odd_charge=charged.odd,
        estimated_frame_cost=whole_number(answer.get("estimated_frame_cost")),
    )


def _refusal(exchange: Exchange, status: int, policy: Policy) -> Outcome:
    kind, wait_s = _refusal_kind(exchange, status, policy)
    message = _message(exchange.body, status) or f"the API returned status {status}"
    if 300 <= status < 400:  # noqa: PLR2004 - the class of status codes
        message = f"the API returned a redirect ({status}), which is never followed"
    raw = None
    if kind is Kind.IN_DOUBT:
        raw = exchange.body.decode("utf-8", "replace")[:_RAW_LIMIT]
        message = f"status {status}, after which it may have been charged: {message}"
    return Outcome(kind, status, wait_s=wait_s, code=f"http_{status}", message=message, raw_body=raw)


def _refusal_kind(  # noqa: PLR0911 - one arm for each line of the table of outcomes
    exchange: Exchange, status: int, policy: Policy
) -> tuple[Kind, float | None]:
    match status:
        case 402 if _code(exchange.body) in _OTHER_PLAN:
            return Kind.REJECTED, None
        case 401 | 402:
            return Kind.HALT, None
        case 408:
            return Kind.IN_DOUBT, None
        case 429:
            return Kind.RETRY, retry_after(exchange.headers)
        case 500 | 502 | 503 if policy.server_errors == "hold":
            return Kind.IN_DOUBT, None
        case 500 | 503:
            return Kind.RETRY, retry_after(exchange.headers)
        case 502:
            return Kind.RETRY, policy.bad_gateway_wait_s * random.uniform(1, 2)
        case _ if 300 <= status < 500:  # noqa: PLR2004 - the classes of status codes
            return Kind.REJECTED, None
    return Kind.IN_DOUBT, None


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds to wait by `Retry-After` (a number or an HTTP date), at most an hour; None where it says nothing."""
    stated = {name.lower(): value for name, value in headers.items()}.get("retry-after", "").strip()
    if not stated:
        return None
    try:
        seconds = float(stated)
    except ValueError:
        try:
            date = parsedate_to_datetime(stated)
        except (ValueError, OverflowError):
            return None
        date = date.replace(tzinfo=UTC) if date.tzinfo is None else date
        seconds = (date - (now or utc_now())).total_seconds()
    if seconds != seconds:  # noqa: PLR0124 - not a number
        return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_S)


def whole_number(value: Any) -> int | None:
    """`value` as an integer where it is one (450, 450.0, "450"), else None."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        number = float(value)
        return int(number) if number == int(number) else None
    except (TypeError, ValueError, OverflowError):
        return None


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):  # no JSON; or nested so deeply that no honest answer is
        return {}
    return answer if isinstance(answer, dict) else {}


def _usable_id(value: Any) -> VideoId | None:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not _PLAIN_ID.fullmatch(value.strip()):
        return None
    return VideoId(value.strip())


_PLAIN_ID = re.compile(r"[^\s/?#\\\x00-\x1f]{1,200}")
_TAG = re.compile(r"<[^>]*>")
_BROKEN_ID = re.compile(r'^\s*\{(?:[^{}\[\]]*,)?\s*"id"\s*:\s*"([A-Za-z0-9_-]{4,200})"')


def _id_in_broken_json(raw: str) -> VideoId | None:
    """An id that arrived whole before the rest of the body broke off is not thrown away."""
    found = _BROKEN_ID.match(raw)
    return VideoId(found.group(1)) if found else None


def _claimed(exchange: Exchange, refused: Outcome) -> Outcome:
    """`refused`, unless its answer names an id: then there may be a video, and the API has to be asked."""
    raw = exchange.body.decode("utf-8", "replace")
    answer = _json_object(exchange.body)
    stated = answer.get("id") if answer else _id_in_broken_json(raw)
    video_id = _usable_id(stated)
    if stated is None and _may_have_named_one(exchange, raw, answer):
        named = "broke off, and may have named an id"
    elif stated is None or stated == "" or isinstance(stated, bool):
        return refused
    else:
        named = f"names video {video_id}" if video_id else "names an id that can't be asked for"
    message = f"the answer {named}, so it may have been charged; it says: {refused.message}"[:_MESSAGE_LIMIT]
    doubt = replace(refused, kind=Kind.IN_DOUBT, wait_s=None, message=message, raw_body=raw[:_RAW_LIMIT])
    said = refused if stated is None or video_id is not None else None
    return replace(doubt, claimed_id=video_id, otherwise=said)


def _may_have_named_one(exchange: Exchange, raw: str, answer: Mapping[str, Any]) -> bool:
    """Whether an answer broke off that could still have become JSON: what is missing may have been an id."""
    broke_off = exchange.status is not None and exchange.error is not None
    return broke_off and not answer and raw.lstrip()[:1] in {"", "{"}


def _code(body: bytes) -> str | None:
    stated = _json_object(body).get("code")
    return stated if isinstance(stated, str) else None


def _message(body: bytes, status: int) -> str | None:
    """The API's words, with its code in front where that tells more than the status."""
    stated, code = _json_object(body).get("message"), _code(body)
    text = stated if isinstance(stated, str) else _TAG.sub(" ", body.decode("utf-8", "replace"))
    if code and isinstance(stated, str) and code not in stated and code != _USUAL_CODES.get(status):
        text = f"{code}: {text}"
    text = " ".join(text.replace("\x00", " ").split())
    return text[:_MESSAGE_LIMIT] or None
