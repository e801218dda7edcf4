"""What can go wrong on purpose: every kind of fault, the call it hits and how that call ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from reelbatch.sandbox.prices import ChargeSays


class Call(StrEnum):
    """The calls that a fault can hit."""

    CREATE = "create"
    UPLOAD_URLS = "upload_urls"
    PUT = "put"
    GET = "get"
    DOWNLOAD = "download"
    ACCOUNT = "account"


class Ending(StrEnum):
    """How a call that meets a fault ends."""

    STATUS = "status"  # an error answer
    CLOSE = "close"  # the connection is closed, no answer
    RESET = "reset"  # the connection is reset (TCP RST), no answer
    STALL = "stall"  # nothing for a while, then a close
    GARBLED = "garbled"  # 200, but the body is no JSON
    TRUNCATED = "truncated"  # 200, but the body ends before its stated length
    NO_ID = "no_id"  # 200 and JSON, but without the id
    ODD_CHARGE = "odd_charge"  # as it should be, but for what it says of its charge
    SLOW = "slow"  # late, but as it should be
    RENDER_ERROR = "render_error"  # as it should be, but its render fails and is refunded


class RetryAfter(StrEnum):
    """The form of the Retry-After header of a 429."""

    SECONDS = "seconds"
    DATE = "date"
    NONE = "none"


class FaultKind(StrEnum):
    """The names of the faults, as settings use them."""

    RATE_LIMITED = "rate_limited"
    SERVER_ERROR = "server_error"
    BAD_GATEWAY = "bad_gateway"
    UNAVAILABLE = "unavailable"
    GATEWAY_TIMEOUT = "gateway_timeout"
    CLOUDFLARE_520 = "cloudflare_520"
    CLOUDFLARE_521 = "cloudflare_521"
    CLOUDFLARE_522 = "cloudflare_522"
    CLOUDFLARE_523 = "cloudflare_523"
    CLOUDFLARE_524 = "cloudflare_524"
    CLOUDFLARE_525 = "cloudflare_525"
    CLOUDFLARE_526 = "cloudflare_526"
    CLOUDFLARE_527 = "cloudflare_527"
    REQUEST_TIMEOUT = "request_timeout"
    REDIRECT = "redirect"
    UNAUTHORIZED = "unauthorized"
    PAYMENT_REQUIRED = "payment_required"
    INSUFFICIENT_CREDITS = "insufficient_credits"
    SUBSCRIPTION_REQUIRED = "subscription_required"
    PLAN_UPGRADE_REQUIRED = "plan_upgrade_required"
    FORBIDDEN = "forbidden"
    INVALID = "invalid"
    LOST_BEFORE = "lost_before"
    LOST_AFTER = "lost_after"
    RESET_BEFORE = "reset_before"
    RESET_AFTER = "reset_after"
    STALL_BEFORE = "stall_before"
    STALL_AFTER = "stall_after"
    GARBLED_JSON = "garbled_json"
    TRUNCATED_JSON = "truncated_json"
    NO_ID = "no_id"
    CHARGE_NULL = "charge_null"
    CHARGE_ABSENT = "charge_absent"
    CHARGE_TEXT = "charge_text"
    CHARGE_ZERO = "charge_zero"
    CHARGE_NEGATIVE = "charge_negative"
    CHARGE_FRACTIONAL = "charge_fractional"
    CHARGE_HUGE = "charge_huge"
    RENDER_ERROR = "render_error"
    UPLOAD_URL_FAIL = "upload_url_fail"
    UPLOAD_URL_RATE_LIMITED = "upload_url_rate_limited"
    UPLOAD_SLOW = "upload_slow"
    UPLOAD_FAIL = "upload_fail"
    UPLOAD_EXPIRED = "upload_expired"
    GET_FAIL = "get_fail"
    GET_RATE_LIMITED = "get_rate_limited"
    GET_LOST = "get_lost"
    DOWNLOAD_FAIL = "download_fail"
    DOWNLOAD_EXPIRED = "download_expired"
    DOWNLOAD_TRUNCATED = "download_truncated"
    ACCOUNT_FAIL = "account_fail"
    ACCOUNT_LOST = "account_lost"
    ACCOUNT_STALL = "account_stall"


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind: the call it hits, how that ends, and whether a create is charged all the same."""

    call: Call
    ending: Ending = Ending.STATUS
    charges: bool = False
    status: int = 200
    message: str = ""
    code: str | None = None  # where the status has several
    says: ChargeSays | None = None  # of its charge


def _answer(status: int, message: str, call: Call = Call.CREATE) -> Fault:
    return Fault(call, status=status, message=message)


def _unpaid(kind: FaultKind, message: str) -> Fault:
    return Fault(Call.CREATE, status=402, message=message, code=kind.value)


def _saying(says: ChargeSays) -> Fault:
    return Fault(Call.CREATE, Ending.ODD_CHARGE, charges=True, says=says)


_K = FaultKind
FAULTS: Mapping[FaultKind, Fault] = MappingProxyType(
    {
        _K.RATE_LIMITED: _answer(429, "Too many requests"),
        _K.SERVER_ERROR: _answer(500, "Something went wrong"),
        _K.BAD_GATEWAY: _answer(502, "Bad gateway"),
        _K.UNAVAILABLE: _answer(503, "Service overloaded"),
        _K.GATEWAY_TIMEOUT: _answer(504, "Gateway timeout"),
        _K.CLOUDFLARE_520: _answer(520, "The origin gave an unknown answer"),
        _K.CLOUDFLARE_521: _answer(521, "The origin is down"),
        _K.CLOUDFLARE_522: _answer(522, "The connection to the origin timed out"),
        _K.CLOUDFLARE_523: _answer(523, "The origin can't be reached"),
        _K.CLOUDFLARE_524: _answer(524, "The origin did not answer in time"),
        _K.CLOUDFLARE_525: _answer(525, "The TLS handshake with the origin failed"),
        _K.CLOUDFLARE_526: _answer(526, "The origin's certificate is invalid"),
        _K.CLOUDFLARE_527: _answer(527, "The tunnel to the origin failed"),
        _K.REQUEST_TIMEOUT: _answer(408, "The request took too long to arrive"),
        _K.REDIRECT: _answer(307, "Moved"),
        _K.UNAUTHORIZED: _answer(401, "Unauthorized"),
        _K.PAYMENT_REQUIRED: _answer(402, "Not enough credits"),  # without a code
        _K.INSUFFICIENT_CREDITS: _unpaid(_K.INSUFFICIENT_CREDITS, "Not enough credits"),
        _K.SUBSCRIPTION_REQUIRED: _unpaid(_K.SUBSCRIPTION_REQUIRED, "This model needs a subscription"),
        _K.PLAN_UPGRADE_REQUIRED: _unpaid(_K.PLAN_UPGRADE_REQUIRED, "This resolution needs a higher plan"),
        _K.FORBIDDEN: _answer(403, "The plan does not include this"),
        _K.INVALID: _answer(422, "style.prompt: this prompt can't be used"),
        _K.LOST_BEFORE: Fault(Call.CREATE, Ending.CLOSE),
        _K.LOST_AFTER: Fault(Call.CREATE, Ending.CLOSE, charges=True),
        _K.RESET_BEFORE: Fault(Call.CREATE, Ending.RESET),
        _K.RESET_AFTER: Fault(Call.CREATE, Ending.RESET, charges=True),
        _K.STALL_BEFORE: Fault(Call.CREATE, Ending.STALL),
        _K.STALL_AFTER: Fault(Call.CREATE, Ending.STALL, charges=True),
        _K.GARBLED_JSON: Fault(Call.CREATE, Ending.GARBLED, charges=True),
        _K.TRUNCATED_JSON: Fault(Call.CREATE, Ending.TRUNCATED, charges=True),
        _K.NO_ID: Fault(Call.CREATE, Ending.NO_ID, charges=True),
        _K.CHARGE_NULL: _saying(ChargeSays.NULL),
        _K.CHARGE_ABSENT: _saying(ChargeSays.ABSENT),
        _K.CHARGE_TEXT: _saying(ChargeSays.TEXT),
        _K.CHARGE_ZERO: _saying(ChargeSays.ZERO),
        _K.CHARGE_NEGATIVE: _saying(ChargeSays.NEGATIVE),
        _K.CHARGE_FRACTIONAL: _saying(ChargeSays.FRACTIONAL),
        _K.CHARGE_HUGE: _saying(ChargeSays.HUGE),
        _K.RENDER_ERROR: Fault(Call.CREATE, Ending.RENDER_ERROR, charges=True),
        _K.UPLOAD_URL_FAIL: _answer(500, "Something went wrong", Call.UPLOAD_URLS),
        _K.UPLOAD_URL_RATE_LIMITED: _answer(429, "Too many requests", Call.UPLOAD_URLS),
        _K.UPLOAD_SLOW: Fault(Call.PUT, Ending.SLOW),
        _K.UPLOAD_FAIL: _answer(500, "The storage failed", Call.PUT),
        _K.UPLOAD_EXPIRED: _answer(403, "The upload URL has expired", Call.PUT),
        _K.GET_FAIL: _answer(500, "Something went wrong", Call.GET),
        _K.GET_RATE_LIMITED: _answer(429, "Too many requests", Call.GET),
        _K.GET_LOST: Fault(Call.GET, Ending.CLOSE),
        _K.DOWNLOAD_FAIL: _answer(500, "The storage failed", Call.DOWNLOAD),
        _K.DOWNLOAD_EXPIRED: _answer(403, "The download URL has expired", Call.DOWNLOAD),
        _K.DOWNLOAD_TRUNCATED: Fault(Call.DOWNLOAD, Ending.TRUNCATED),
        _K.ACCOUNT_FAIL: _answer(500, "Something went wrong", Call.ACCOUNT),
        _K.ACCOUNT_LOST: Fault(Call.ACCOUNT, Ending.CLOSE),
        _K.ACCOUNT_STALL: Fault(Call.ACCOUNT, Ending.STALL),
    }
)
"""Every kind; a test holds this table and the enum together."""

CREATE_KINDS = frozenset(kind for kind, fault in FAULTS.items() if fault.call is Call.CREATE)
