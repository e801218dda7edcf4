"""The first rows as the API will be asked for them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from reelbatch.client.payloads import create_body
from reelbatch.domain import Row, RowKey, Token
from reelbatch.images.inspect import ImageKind, image_kind
from reelbatch.storage.files import redact_url
from reelbatch.submit.recorder import sent_name

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
    request = row.request
    end = None if request.end_image_path is None else _asset(request.end_image_path)
    body = create_body(request, _asset(request.image_path), end, sent_name(row, _TOKEN))
    return FirstRequest(row.row_key, row.row_number, body)


def _asset(stated: str) -> str:
    uploaded = image_kind(stated) in {ImageKind.LOCAL, ImageKind.CLOUD}
    return f"<upload of {redact_url(stated)}>" if uploaded else stated
