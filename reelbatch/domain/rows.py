"""Rows and what identifies them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal, NamedTuple, NewType

from reelbatch.domain.fields import Fingerprint, Request

Batch = NewType("Batch", str)
RowKey = NewType("RowKey", str)
RunId = NewType("RunId", str)
Token = NewType("Token", str)
VideoId = NewType("VideoId", str)
_UNKNOWN = Fingerprint("")
Tier = Literal["free", "creator", "pro", "business"]  # what an account may be subscribed to
IMAGE_SCHEMES = ("s3", "gs", "gcs", "abfs", "abfss", "az", "file")
"""Of the addresses that images are fetched from, unless the setting `image_schemes` says otherwise."""
MOST_ROWS = 10**9
"""That may be asked for at once; no database counts without an end."""
_NAME_LIMIT = 100


def product_of(row_key: str) -> str | None:
    """`TEA` of the variant `TEA#a`; None of a row without variants."""
    return row_key.rpartition("#")[0] or None


class Row(NamedTuple):
    """One checked line of the manifest."""

    row_key: RowKey
    row_number: int  # 1 for the first line of data
    request: Request
    fingerprint: Fingerprint
    credits_estimated: int | None  # None: the model's rate is unknown
    problem: str | None = None  # why the row is invalid; None for a row that may be sent
    unseen: bool = False  # only because this machine can't see its image; another one may
    image_stat: str | None = None  # size and time of change of its local images
    image_bytes: int | None = None  # their size


@dataclass(frozen=True, slots=True)
class Issue:
    """One thing that is wrong (or, as a warning, odd) in a manifest."""

    row_number: int | None  # None: concerns the whole file
    column: str | None
    value: str
    what: str
    remedy: str

    def __str__(self) -> str:
        """`row 3, column "end_seconds" (value "99"): … → remedy`."""
        where = f"row {self.row_number}" if self.row_number is not None else "the file"
        column = f', column "{self.column}"' if self.column else ""
        value = f" (value {json.dumps(self.value, ensure_ascii=False)})" if self.value else ""
        return f"{where}{column}{value}: {self.what}. {self.remedy}"


@dataclass(frozen=True, slots=True)
class ClaimedRow:
    """A row that this worker holds: all that the submitter needs to send it."""

    batch: Batch
    row_key: RowKey
    row_number: int
    request: Request
    credits_estimated: int | None
    attempts: int  # made so far, over all runs
    fingerprint: Fingerprint = _UNKNOWN  # of what it asked for when it was claimed
    generation: int = 1
    image_base: str = "."  # where its relative image paths start


def sent_name(row: ClaimedRow | Row, token: Token) -> str:
    """The video's name at the API: the row's own name, or its key, and the attempt's token last."""
    label = " ".join((row.request.name or row.row_key).split())[:_NAME_LIMIT]
    return f"{label} {token}"
