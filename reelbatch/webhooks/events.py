"""A webhook event, read from its JSON."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any

from reelbatch.client import Video
from reelbatch.client.payloads import lenient_object
from reelbatch.client.payloads import video as video_of
from reelbatch.domain import REFUNDED, RowState, Token
from reelbatch.errors import ReelbatchError
from reelbatch.ledger.webhook_events import VideoEvent
from reelbatch.settle.poller import final_of

_ID = re.compile(r"[!-~]{1,200}")
_TOKEN = re.compile(r"rb_[0-9A-Za-z_-]{1,60}")


class EventType(StrEnum):
    """The events that say something about a row."""

    STARTED = "video.started"
    COMPLETED = "video.completed"
    ERRORED = "video.errored"


class Malformed(ReelbatchError):  # noqa: N818 - a signal within the webhooks
    """A body that is no event."""


@dataclass(frozen=True, slots=True)
class Event:
    """What the API says about one video; `token` is the attempt's mark at the end of the video's name, if any."""

    type: EventType
    video: Video
    token: Token | None

    def to_record(self) -> VideoEvent:
        """What the results table is told. The payload is what a GET would say, and counts like one."""
        video = self.video
        tells = video.status not in REFUNDED
        return VideoEvent(
            token=self.token,
            video_id=video.id,
            credits_charged=video.credits_charged if tells else None,
            odd_figure=video.odd_charge if tells else None,
            rendering=self.type is EventType.STARTED or video.status == RowState.RENDERING,
            final=partial(final_of, video=video),
        )


def read_event(body: bytes) -> Event | None:
    """The event in `body`; None for one of a sort that is not followed.

    Raises:
        Malformed: it is not JSON, or lacks what every event has.
    """
    stated = lenient_object(body)
    kind, payload = stated.get("type"), stated.get("payload")
    if not isinstance(kind, str):
        raise Malformed("type is missing")
    known = next((member for member in EventType if member == kind), None)
    if known is None:
        return None
    if not isinstance(payload, dict):
        raise Malformed("payload is missing")
    video = _video(payload)
    return Event(known, video, token_in(video.name))


def token_in(name: str | None) -> Token | None:
    """The last word of a video's name, if it looks like an attempt's mark."""
    words = (name or "").split()
    return Token(words[-1]) if words and _TOKEN.fullmatch(words[-1]) else None


def _video(payload: dict[str, Any]) -> Video:
    video_id, status, name = (payload.get(field) for field in ("id", "status", "name"))
    if isinstance(video_id, bool) or not isinstance(video_id, str | int) or not _ID.fullmatch(str(video_id)):
        raise Malformed("payload.id is missing or odd")
    if not isinstance(status, str):
        raise Malformed("payload.status is missing")
    if not isinstance(name, str | None):
        raise Malformed("payload.name is no text")
    try:
        return video_of(payload)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise Malformed(f"payload can't be read ({type(error).__name__})") from error
