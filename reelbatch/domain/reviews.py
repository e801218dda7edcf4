"""What a reviewer may say of a video."""

from __future__ import annotations

from enum import StrEnum


class ReviewVerdict(StrEnum):
    """As the column `verdict` has it."""

    APPROVED = "approved"
    REJECTED = "rejected"
