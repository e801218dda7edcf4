"""The words of the project as types: rows, requests, attempts, states and the moves between them."""

from reelbatch.domain.money import LARGEST, MISSING, SUMS, Credits, Figure, figure
from reelbatch.domain.rows import (
    IMAGE_SCHEMES,
    Batch,
    ClaimedRow,
    Fingerprint,
    Issue,
    Request,
    Row,
    RowKey,
    RunId,
    Tier,
    Token,
    VideoId,
    canonical_json,
)
from reelbatch.domain.states import FAILED, HAS_ID, HELD, NEEDS_ATTENTION, TRANSITIONS, UNSETTLED, RowState, sources

__all__ = [
    "FAILED",
    "HAS_ID",
    "HELD",
    "IMAGE_SCHEMES",
    "LARGEST",
    "MISSING",
    "NEEDS_ATTENTION",
    "SUMS",
    "TRANSITIONS",
    "UNSETTLED",
    "Batch",
    "ClaimedRow",
    "Credits",
    "Figure",
    "Fingerprint",
    "Issue",
    "Request",
    "Row",
    "RowKey",
    "RowState",
    "RunId",
    "Tier",
    "Token",
    "VideoId",
    "canonical_json",
    "figure",
    "sources",
]
