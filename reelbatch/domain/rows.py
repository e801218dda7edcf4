"""Rows, requests and what identifies them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, NewType

Batch = NewType("Batch", str)
RowKey = NewType("RowKey", str)
RunId = NewType("RunId", str)
Token = NewType("Token", str)
VideoId = NewType("VideoId", str)
Fingerprint = NewType("Fingerprint", str)
Tier = Literal["free", "creator", "pro", "business"]  # what an account may be subscribed to
IMAGE_SCHEMES = ("s3", "gs", "gcs", "abfs", "abfss", "az", "file")
"""Of the addresses that images are fetched from, unless the setting `image_schemes` says otherwise."""


class Request(NamedTuple):
    """What one create call is asked for, as the manifest states it (images not yet uploaded).

    A named tuple and not a dataclass: a manifest of a million rows builds a million of them.
    """

    image_path: str
    prompt: str | None
    end_seconds: float | None  # None only in a row that is invalid
    resolution: str | None = None
    model: str | None = None
    audio: bool | None = None
    name: str | None = None
    end_image_path: str | None = None
    width: int | None = None
    height: int | None = None

    def content_sha256(self, images: Iterable[str]) -> str:
        """SHA-256 (hex) over what the API makes of it: equal for requests that get the same video.

        Args:
            images: what stands for the image, and the end image if there is one: hash of the bytes, or address.
        """
        seconds = None if self.end_seconds is None else float(self.end_seconds)
        stated = [list(images), self.prompt, self.model, self.resolution, seconds, self.audio]
        return hashlib.sha256(canonical_json(stated).encode()).hexdigest()

    def fingerprint(self) -> Fingerprint:
        """SHA-256 (hex) over the fields that are set, in a canonical JSON form."""
        stated = {key: value for key, value in zip(self._fields, self, strict=True) if value is not None}
        if self.end_seconds is not None:
            stated["end_seconds"] = float(self.end_seconds)
        return Fingerprint(hashlib.sha256(canonical_json(stated).encode()).hexdigest())


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spare blanks; the same value always gives the same text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


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
    fingerprint: Fingerprint = Fingerprint("")  # of what it asked for when it was claimed
    generation: int = 1
    image_base: str = "."  # where its relative image paths start
