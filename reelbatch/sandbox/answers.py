"""Answers as the API gives them: JSON, refusals, and what each fault makes of an answer."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from email.utils import formatdate
from http import HTTPStatus
from typing import Any

from starlette.responses import Response

from reelbatch.sandbox.config import FaultSettings
from reelbatch.sandbox.faults import FAULTS, Ending, Fault, FaultKind, RetryAfter
from reelbatch.sandbox.validation import Refused
from reelbatch.sandbox.wire import Severed, Truncated

_JSON = "application/json"
_CODES: Mapping[int, str] = {  # as the vendor documents them
    400: "invalid_request",
    401: "unauthorized",
    404: "not_found",
    422: "unprocessable_entity",
    500: "internal_server_error",
}
_KEPT = 16  # bytes of a truncated answer: it ends within the id
_BEHIND_PROXY = frozenset({502, 504, *range(520, 528)})  # answered by what stands before the API


def answer(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer."""
    body = json.dumps(content, separators=(",", ":")).encode()
    return Response(body, status, headers, media_type=_JSON)


def refusal(refused: Refused) -> Response:
    """An error answer that has its code and message."""
    return answer(error_body(refused.status, refused.message, refused.code), refused.status)


def error_body(status: int, message: str, code: str | None = None) -> dict[str, str]:
    """What an error answer says. `code` is for statuses that have several; without a documented one there is none."""
    code = code or _CODES.get(status)
    return {"code": code, "message": message} if code else {"message": message}


def faulty(kind: FaultKind, settings: FaultSettings, content: Mapping[str, Any] | None = None) -> Response:
    """What the client gets from a call that meets `kind`; `content` is what it would have got."""
    fault = FAULTS[kind]
    match fault.ending:
        case Ending.CLOSE | Ending.RESET:
            return Severed(reset=fault.ending is Ending.RESET)
        case Ending.STALL:
            return Severed(after=settings.stall_seconds)
        case Ending.STATUS:
            return _error(fault, settings)
        case Ending.GARBLED | Ending.TRUNCATED | Ending.NO_ID | Ending.ODD_CHARGE | Ending.SLOW | Ending.RENDER_ERROR:
            return _spoiled(fault.ending, dict(content or {}))


def _spoiled(ending: Ending, content: dict[str, Any]) -> Response:
    if ending is Ending.GARBLED:
        return Response("{'id': <not for you>", media_type=_JSON)
    if ending is Ending.TRUNCATED:
        return Truncated(json.dumps(content), media_type=_JSON, keep=_KEPT)
    if ending is Ending.NO_ID:
        content.pop("id", None)
    return answer(content)


def _error(fault: Fault, settings: FaultSettings) -> Response:
    headers = {}
    if fault.status == HTTPStatus.TOO_MANY_REQUESTS:
        headers = _retry_after(settings)
    elif fault.status == HTTPStatus.TEMPORARY_REDIRECT:
        headers = {"Location": "/v1/image-to-video?moved=1"}
    if fault.status in _BEHIND_PROXY:
        page = f"<html><head><title>{fault.status}</title></head><body>{fault.message}</body></html>"
        return Response(page, fault.status, headers, media_type="text/html")
    return answer(error_body(fault.status, fault.message, fault.code), fault.status, headers)


def _retry_after(settings: FaultSettings) -> dict[str, str]:
    match settings.retry_after:
        case RetryAfter.SECONDS:
            return {"Retry-After": str(settings.retry_after_s)}
        case RetryAfter.DATE:
            moment = math.ceil(time.time()) + settings.retry_after_s
            return {"Retry-After": formatdate(moment, usegmt=True)}
        case RetryAfter.NONE:
            return {}
