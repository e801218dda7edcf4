"""Where a row stands, and the moves between the states."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


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
"""States that rerun sends again by default."""
NEVER_CHARGED = frozenset({_S.INVALID, _S.REJECTED})
"""States of requests that cost nothing: they did not leave, or were refused."""
REFUNDED = frozenset({_S.ERROR, _S.CANCELED})
"""States of videos whose figure has the refund in it: what was charged at first it does not say."""
HAS_ID = frozenset({_S.QUEUED, _S.RENDERING, _S.COMPLETE, _S.ERROR, _S.CANCELED})
"""States in which the video's id is known."""
NEEDS_ATTENTION = frozenset({_S.INVALID, _S.REJECTED, _S.ERROR, _S.CANCELED, _S.IN_DOUBT})
"""States that make a finished run end with exit code 1."""

TRANSITIONS: Mapping[RowState, frozenset[RowState]] = MappingProxyType(
    {
        _S.INVALID: frozenset({_S.PENDING, _S.QUEUED}),
        _S.PENDING: frozenset({_S.CLAIMED, _S.INVALID, _S.QUEUED, _S.IN_DOUBT}),
        _S.CLAIMED: frozenset({_S.SENDING, _S.PENDING, _S.INVALID, _S.QUEUED}),
        _S.SENDING: frozenset({_S.QUEUED, _S.CLAIMED, _S.PENDING, _S.REJECTED, _S.IN_DOUBT}),
        _S.QUEUED: frozenset({_S.RENDERING, _S.COMPLETE, _S.ERROR, _S.CANCELED, _S.IN_DOUBT}),
        _S.RENDERING: frozenset({_S.COMPLETE, _S.ERROR, _S.CANCELED, _S.IN_DOUBT}),
        _S.COMPLETE: frozenset(),  # paid for: a new video is a further generation, with a line of its own
        _S.ERROR: frozenset({_S.PENDING, _S.INVALID}),
        _S.CANCELED: frozenset({_S.PENDING, _S.INVALID}),
        _S.REJECTED: frozenset({_S.PENDING, _S.INVALID, _S.QUEUED}),
        _S.IN_DOUBT: frozenset({_S.QUEUED, _S.PENDING, _S.REJECTED}),
    }
)
"""Every move that a row may make.

Back to `pending` from an end means: sent again because the user asked for it. From `pending`, `claimed`, `invalid` or
`rejected` to `queued`: the id of one of the row's attempts came after someone, or the API, had said that there was
none. From `pending`, `queued` or `rendering` to `in_doubt`: what someone had said about the row was taken back.
"""


def sources(target: RowState) -> frozenset[RowState]:
    """The states from which a row may move to `target`."""
    return frozenset(state for state, targets in TRANSITIONS.items() if target in targets)
