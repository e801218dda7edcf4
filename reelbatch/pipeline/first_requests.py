"""The first rows as the API will be asked for them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from reelbatch.client.payloads import create_body
from reelbatch.domain import ClaimedRow, Row, RowKey, Token, sent_name
from reelbatch.images.inspect import ImageKind, image_kind
from reelbatch.storage.files import redact_url

SHOWN = 3
_TOKEN = Token("<token>")


@dataclass(frozen=True, slots=True)
class FirstRequest:
    """One row's create. `body`: as it is sent, but for the token and the paths of what is uploaded first."""

    row_key: RowKey
    row_number: int
    body: dict[str, Any]


def first_requests(rows: Iterable[Row], count: int = SHOWN) -> Sequence[FirstRequest]:
    """The first `count` of the rows that may be sent."""
    return [_request(row) for row in islice((row for row in rows if row.problem is None), count)]


def _request(row: Row) -> FirstRequest:
    return FirstRequest(row.row_key, row.row_number, shown_body(row))


def shown_body(row: ClaimedRow | Row) -> dict[str, Any]:
    """The body of a row's create as it may be shown: `<upload of PATH>` and `<token>` for what is not known yet."""
    image, end = _image(row.request.image_path), row.request.end_image_path
    return create_body(row.request, image, None if end is None else _image(end), sent_name(row, _TOKEN))


def _image(stated: str) -> str:
    shown = redact_url(stated)  # a signature in an address is sent, and not shown
    return shown if image_kind(stated) in {ImageKind.URL, ImageKind.ASSET} else f"<upload of {shown}>"
