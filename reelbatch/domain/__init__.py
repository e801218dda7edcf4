"""The words of the project as types: rows, requests, attempts, states and the moves between them."""

from reelbatch.domain.budget import Budget, Period
from reelbatch.domain.fields import REQUEST_FIELDS, FieldKind, Fingerprint, Request, RequestField, canonical_json
from reelbatch.domain.money import LARGEST, MISSING, MOST_CREDITS, SUMS, Credits, Figure, figure
from reelbatch.domain.reviews import ReviewVerdict
from reelbatch.domain.rows import (
    IMAGE_SCHEMES,
    MOST_ROWS,
    Batch,
    ClaimedRow,
    Issue,
    Row,
    RowKey,
    RunId,
    Tier,
    Token,
    VideoId,
    product_of,
    sent_name,
)
from reelbatch.domain.states import FAILED, HAS_ID, HELD, NEEDS_ATTENTION, TRANSITIONS, UNSETTLED, RowState, sources

__all__ = [
    "FAILED",
    "HAS_ID",
    "HELD",
    "IMAGE_SCHEMES",
    "LARGEST",
    "MISSING",
    "MOST_CREDITS",
    "MOST_ROWS",
    "NEEDS_ATTENTION",
    "REQUEST_FIELDS",
    "SUMS",
    "TRANSITIONS",
    "UNSETTLED",
    "Batch",
    "Budget",
    "ClaimedRow",
    "Credits",
    "FieldKind",
    "Figure",
    "Fingerprint",
    "Issue",
    "Period",
    "Request",
    "RequestField",
    "ReviewVerdict",
    "Row",
    "RowKey",
    "RowState",
    "RunId",
    "Tier",
    "Token",
    "VideoId",
    "canonical_json",
    "figure",
    "product_of",
    "sent_name",
    "sources",
]
