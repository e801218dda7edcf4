"""The API's JSON as our types."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from reelbatch.client.outcome import whole_number
from reelbatch.domain import REQUEST_FIELDS, Request, VideoId
from reelbatch.domain.money import figure

_LARGEST_BALANCE = 1 << 53  # above this JSON's numbers are no longer exact
_MOST_DIGITS = 400  # more of them are no number that anyone meant


@dataclass(frozen=True, slots=True)
class UploadSlot:
    """Where one image goes, and the path that the API will know it by."""

    upload_url: str
    file_path: str
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Created:
    """The answer to a create. `raw` is the whole of it, unknown fields included."""

    id: VideoId
    credits_charged: int | None
    estimated_frame_cost: int | None  # deprecated by the API, and missing from newer answers
    raw: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Download:
    """A finished video's address; it expires after a day, and asking again gives a fresh one."""

    url: str
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Video:
    """The state of one video. Credits are an estimate until it is complete; a failed one is refunded."""

    id: VideoId
    status: str
    name: str | None
    credits_charged: int | None
    fps: float | None
    width: int | None
    height: int | None
    error_code: str | None
    error_message: str | None
    downloads: tuple[Download, ...]
    enabled: bool = True  # False: its owner has deleted it
    raw: dict[str, Any] = field(default_factory=dict)
    odd_charge: str | None = None  # why the figure was not believed


@dataclass(frozen=True, slots=True)
class Price:
    """What a subscription costs by the billing interval. `amount` is in the smallest unit: 1900 are 19 dollars."""

    amount: int | None
    currency: str | None


@dataclass(frozen=True, slots=True)
class Subscription:
    """An account's subscription. A part that is missing or odd is None."""

    name: str | None
    status: str | None  # active, past_due
    price: Price | None
    billing_interval: str | None  # month, year
    current_period_end: datetime | None
    cancel_at_period_end: bool | None


@dataclass(frozen=True, slots=True)
class Account:
    """Whose key it is. `credits` can be spent now, packs included; None where no balance was stated.

    `subscription` is None for free accounts and for those billed by usage.
    """

    id: str
    email: str | None = field(repr=False)
    credits: int | None
    tier: str | None  # free, creator, pro, business; free while a payment is overdue
    subscription: Subscription | None
    raw: dict[str, Any] = field(default_factory=dict, repr=False)


def create_body(request: Request, image: str, end_image: str | None, name: str | None) -> dict[str, Any]:
    """The JSON of a create call. What is not set is left out, never null."""
    stated = request._replace(image_path=image, end_image_path=end_image, name=name)
    body: dict[str, Any] = {}
    for field_, value in zip(REQUEST_FIELDS, stated, strict=True):
        if value is not None:
            *objects, member = field_.api.split(".")
            place = body
            for each in objects:
                place = place.setdefault(each, {})
            place[member] = value
    return body


def upload_slot(item: dict[str, Any]) -> UploadSlot:
    """One entry of the answer to upload-urls.

    Raises:
        KeyError: it lacks its address or its path.
    """
    address, path = item["upload_url"], item["file_path"]
    for stated in (address, path):
        if not (isinstance(stated, str) and stated.strip() and stated.isprintable()):
            raise KeyError(stated)
    return UploadSlot(address, path, _time(item.get("expires_at")))


def lenient_object(body: bytes) -> dict[str, Any]:
    """The JSON object in `body`, with null for numbers that are none; empty where it is no JSON object."""
    try:
        answer = json.loads(body, parse_int=_digits, parse_constant=_none)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}


def _digits(stated: str) -> int | None:
    return int(stated) if len(stated) <= _MOST_DIGITS else None


def _none(_: str) -> None:
    return None


def video(answer: dict[str, Any]) -> Video:
    """The answer to a GET of a video, or the payload of its webhook event. Figures that can't be read are left out.

    Raises:
        KeyError: it lacks its id or its status.
    """
    code, message = _error(answer.get("error"))
    charged = figure(answer.get("credits_charged"))
    name = answer.get("name")
    return Video(
        id=VideoId(str(answer["id"])),
        status=_status(answer["status"]),
        name=name if isinstance(name, str) else None,
        credits_charged=charged.credits,
        odd_charge=charged.odd,
        fps=_number(answer.get("fps")),
        width=_size(answer.get("width")),
        height=_size(answer.get("height")),
        error_code=code,
        error_message=message,
        downloads=tuple(_downloads(answer.get("downloads"))),
        enabled=answer.get("enabled") is not False,
        raw=answer,
    )


def account(answer: dict[str, Any]) -> Account:
    """The answer to a GET of the account.

    Raises:
        KeyError: it lacks its id.
    """
    account_id = _text(answer.get("id"))
    if account_id is None:
        raise KeyError("id")
    return Account(
        id=account_id,
        email=_text(answer.get("email")),
        credits=_balance(answer.get("credits")),
        tier=_text(answer.get("tier")),
        subscription=_subscription(answer.get("subscription")),
        raw=answer,
    )


def _subscription(stated: Any) -> Subscription | None:
    if not isinstance(stated, dict):
        return None
    cancels = stated.get("cancel_at_period_end")
    return Subscription(
        name=_text(stated.get("name")),
        status=_text(stated.get("status")),
        price=_price(stated.get("price")),
        billing_interval=_text(stated.get("billing_interval")),
        current_period_end=_time(stated.get("current_period_end")),
        cancel_at_period_end=cancels if isinstance(cancels, bool) else None,
    )


def _price(stated: Any) -> Price | None:
    if not isinstance(stated, dict):
        return None
    return Price(whole_number(stated.get("amount")), _text(stated.get("currency")))


def _balance(value: Any) -> int | None:
    balance = whole_number(value)
    return balance if balance is not None and 0 <= balance <= _LARGEST_BALANCE else None


def _text(value: Any) -> str | None:
    """Text that can be stored and shown."""
    text = value.strip() if isinstance(value, str) else ""
    return text if text and text.isprintable() else None


def _error(stated: Any) -> tuple[str | None, str | None]:
    """Code and message, in whatever form they come: an odd error must not hide that the video has ended."""
    if isinstance(stated, dict):
        code, message = stated.get("code"), stated.get("message")
        return (None if code is None else str(code)), (None if message is None else str(message))
    return (None, str(stated)) if stated else (None, None)


def _downloads(stated: Any) -> Iterator[Download]:
    for item in stated if isinstance(stated, list) else ():
        if isinstance(item, dict) and item.get("url"):
            yield Download(str(item["url"]), _time(item.get("expires_at")))


def _status(stated: Any) -> str:
    """The API's word in small letters.

    Raises:
        KeyError: it is none.
    """
    if not isinstance(stated, str) or not stated.strip():
        raise KeyError("status")
    return stated.strip().lower()


def _number(value: Any) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if number > 0 and math.isfinite(number) else None


def _size(value: Any) -> int | None:
    """Pixels; the API's -1 means that the figure can be ignored."""
    pixels = whole_number(value)
    return pixels if pixels is not None and pixels > 0 else None


def _time(value: Any) -> datetime | None:
    """A time with its offset; UTC where it states none."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
