"""The words of the project as types: rows, requests, attempts, states and the moves between them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, NewType, Self

Batch = NewType("Batch", str)
RowKey = NewType("RowKey", str)
RunId = NewType("RunId", str)
Token = NewType("Token", str)
VideoId = NewType("VideoId", str)
Fingerprint = NewType("Fingerprint", str)
Plan = Literal["free", "creator", "pro", "business"]  # what an account may be subscribed to
IMAGE_SCHEMES = ("s3", "gs", "gcs", "abfs", "abfss", "az", "file")
"""Of the addresses that images are fetched from, unless the setting `image_schemes` says otherwise."""


class RowState(StrEnum):
    """Where a row stands. The names from `queued` on to `canceled` are the API's own."""

    INVALID = "invalid"  # failed the checks; nothing was sent
    PENDING = "pending"  # may be sent
    CLAIMED = "claimed"  # held by one worker
    SENDING = "sending"  # the intent is on disk; the request may leave
    QUEUED = "queued"
    RENDERING = "rendering"
    COMPLETE = "complete"
    ERROR = "error"
    CANCELED = "canceled"
    REJECTED = "rejected"  # refused by the API; not charged
    IN_DOUBT = "in_doubt"  # may have been charged; no id is known


_S = RowState
HELD = frozenset({_S.CLAIMED, _S.SENDING})
"""States in which a live worker holds the row."""
UNSETTLED = frozenset({_S.QUEUED, _S.RENDERING})
"""States that settle has to follow."""
FAILED = frozenset({_S.REJECTED, _S.ERROR, _S.CANCELED})
"""States that rerun takes up by default."""
HAS_ID = frozenset({_S.QUEUED, _S.RENDERING, _S.COMPLETE, _S.ERROR, _S.CANCELED})
"""States in which the video's id is known."""
NEEDS_ATTENTION = frozenset({_S.INVALID, _S.REJECTED, _S.ERROR, _S.CANCELED, _S.IN_DOUBT})
"""States that make a finished run end with exit code 1."""

TRANSITIONS: Mapping[RowState, frozenset[RowState]] = MappingProxyType(
    {
        _S.INVALID: frozenset({_S.PENDING}),
        _S.PENDING: frozenset({_S.CLAIMED, _S.INVALID, _S.QUEUED, _S.IN_DOUBT}),
        _S.CLAIMED: frozenset({_S.SENDING, _S.PENDING, _S.INVALID, _S.QUEUED}),
        _S.SENDING: frozenset({_S.QUEUED, _S.CLAIMED, _S.PENDING, _S.REJECTED, _S.IN_DOUBT}),
        _S.QUEUED: frozenset({_S.RENDERING, _S.COMPLETE, _S.ERROR, _S.CANCELED, _S.IN_DOUBT}),
        _S.RENDERING: frozenset({_S.COMPLETE, _S.ERROR, _S.CANCELED, _S.IN_DOUBT}),
        _S.COMPLETE: frozenset(),  # paid for: a new video is a further generation, with a line of its own
        _S.ERROR: frozenset({_S.PENDING, _S.INVALID}),
        _S.CANCELED: frozenset({_S.PENDING, _S.INVALID}),
        _S.REJECTED: frozenset({_S.PENDING, _S.INVALID}),
        _S.IN_DOUBT: frozenset({_S.QUEUED, _S.PENDING, _S.REJECTED}),
    }
)
"""Every move that a row may make.

Back to `pending` from an end means: sent again because the user asked for it. From `pending` or `claimed` to
`queued`: the id of the row's latest attempt came after somebody had said that there was none. From `pending`,
`queued` or `rendering` to `in_doubt`: what somebody had said about the row was taken back.
"""


def sources(target: RowState) -> frozenset[RowState]:
    """The states from which a row may move to `target`."""
    return frozenset(state for state, targets in TRANSITIONS.items() if target in targets)


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
class Problem:
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


SUMS = ("estimated", "charged", "final", "refunded", "reserved", "in_doubt", "unknown")
"""What a batch's credits are made of: its running sums in the results table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credits:
    """The money of a batch, in credits. `worst_case` = charged + reserved + in doubt, refunds taken off.

    It is a least figure where `unknown` is not 0.
    """

    estimated: int = 0  # rows that have an id, as estimated before they were sent
    charged: int = 0  # what the creates were answered with; until settled no less than was estimated
    final: int = 0  # settled figures
    refunded: int = 0  # charged minus final, where settled
    reserved: int = 0  # requests under way
    in_doubt: int = 0
    unknown: int = 0  # requests that cost something, or may, and nobody knows how much
    worst_case: int = 0

    @classmethod
    def of(cls, sums: Iterable[Any]) -> Self:
        """From figures in the order of `SUMS`."""
        known = dict(zip(SUMS, map(int, sums), strict=True))
        worst = known["charged"] - known["refunded"] + known["reserved"] + known["in_doubt"]
        return cls(**known, worst_case=worst)
