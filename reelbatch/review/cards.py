"""A row of the results table as the page shows it: plain words and figures, and where image and video are had."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from reelbatch.domain import DEFAULT_MODEL, NEVER_CHARGED, Batch, RowKey, RowState
from reelbatch.images.inspect import ImageKind, image_kind
from reelbatch.ledger import review, verdicts
from reelbatch.printable import one_line, printable
from reelbatch.review.pictures import local_image
from reelbatch.review.video_files import local_video
from reelbatch.settle.video_check import MARKS
from reelbatch.storage.files import redact_url

if TYPE_CHECKING:
    from sqlalchemy import Connection

Card = dict[str, Any]
_NOT_YET = {
    RowState.PENDING: "Not sent yet",
    RowState.CLAIMED: "About to be sent",
    RowState.SENDING: "Being sent",
    RowState.QUEUED: "Waits to be rendered",
    RowState.RENDERING: "Rendering",
    RowState.INVALID: "Not sent: failed its checks",
    RowState.REJECTED: "Not made: the API refused it",
    RowState.ERROR: "Not made: the render failed",
    RowState.CANCELED: "Not made: canceled",
    RowState.IN_DOUBT: "In doubt: it may have been charged",
}
_IN_DOUBT = "It may have been charged, and no id is known. `reelbatch reconcile` clears it up."


class Media(Protocol):
    """Where a page finds pictures and videos."""

    def picture(self, row: Mapping[str, Any]) -> str | None:
        """The address of a row's thumbnail."""

    def video(self, row: Mapping[str, Any], path: Path) -> str | None:
        """The address of a video that lies on this machine."""

    def remote_picture(self, address: str) -> str | None:
        """The address of an image on the web; None where the browser may not load it."""


def card_of(row: Mapping[str, Any], media: Media) -> Card:
    """What one card shows. All texts may hold anything, and are shown as text."""
    cost, in_words = _cost(row)
    return {
        "key": row["row_key"],
        "generation": row["generation"],
        "label": one_line(row["row_key"]),
        "row": row["row_number"],
        "gone": not row["in_manifest"],
        "prompt": printable(row["prompt"] or ""),
        "name": one_line(row["name"] or ""),
        "model": row["model"] or DEFAULT_MODEL,
        "seconds": row["end_seconds"],
        "resolution": row["resolution"],
        "size": f"{row['width']} x {row['height']}" if row["width"] and row["height"] else None,
        "state": row["state"],
        "credits": cost,
        "cost": in_words,
        "error": _error(row),
        "code": row["error_code"],
        "attempts": row["attempts"],
        "videos": max(1, len(row["lines"])),
        "also": _also(row),
        "id": row["video_id"],
        "verdict": row["verdict"],
        "note": printable(row["verdict_note"] or ""),
        "reviewed_at": _time(row["reviewed_at"]),
        "changed_at": _time(row["settled_at"] or row["submitted_at"]),
        **_picture(row, media),
        **_video(row, media),
    }


def _also(row: Mapping[str, Any]) -> Card | None:
    """By what a filter finds a row with several lines, and the state of a further video that is not there yet."""
    lines = row["lines"]
    if not lines:
        return None
    newest = max((line.generation for line in lines if line.video_id is not None), default=0)
    current = [line for line in lines if line.generation >= newest]
    return {
        "states": [line.state for line in current],
        "codes": [line.error_code for line in current],
        "models": [line.model for line in lines],
        "further": current[-1].state if newest and len(current) > 1 else None,
    }


class RowLines(NamedTuple):
    """All of one row, as the table has it: its videos, every request, everything that was said of it."""

    videos: list[dict[str, Any]]
    attempts: list[dict[str, Any]]
    said: list[dict[str, Any]]


def row_lines(connection: Connection, batch: Batch, key: RowKey) -> RowLines:
    """Read one row."""
    videos = review.videos(connection, batch, key)
    return RowLines(videos, review.row_attempts(connection, batch, key), verdicts.history(connection, batch, key))


def row_of(lines: RowLines, media: Media) -> dict[str, list[Card]]:
    """The same for the page."""
    return {
        "videos": [card_of(line, media) for line in lines.videos],
        "attempts": [_attempt(attempt) for attempt in lines.attempts],
        "said": [_said(line) for line in lines.said],
    }


def _attempt(attempt: Mapping[str, Any]) -> Card:
    """One request of a row."""
    paid = (attempt[name] for name in ("credits_final", "credits_charged"))
    return {
        "token": attempt["token"],
        "generation": attempt["generation"],
        "at": _time(attempt["started_at"]),
        "outcome": attempt["outcome"] or "no answer",
        "status": attempt["http_status"],
        "message": printable(attempt["message"] or ""),
        "id": attempt["video_id"],
        "credits": next((figure for figure in paid if figure is not None), None),
    }


def _said(line: Mapping[str, Any]) -> Card:
    """One thing that a reviewer said."""
    return {
        "generation": line["generation"],
        "verdict": line["verdict"],
        "note": printable(line["note"] or ""),
        "by": one_line(line["said_by"]),
        "at": _time(line["said_at"]),
        "undoes": line["undoes"] is not None,
    }


def _cost(row: Mapping[str, Any]) -> tuple[int | None, str]:
    """Credits, and the same in words: the final figure, else the API's own, else what is expected."""
    for name in ("credits_final", "credits_charged"):
        if row[name] is not None:
            return int(row[name]), f"{row[name]:,} credits"
    if row["state"] in NEVER_CHARGED:
        return 0, "not charged"
    expected = row["credits_estimated"]
    if expected is None:
        return None, "cost unknown"
    return expected, f"{'perhaps' if row['state'] == RowState.IN_DOUBT else 'about'} {expected:,} credits"


def _error(row: Mapping[str, Any]) -> str | None:
    """What is wrong with a row, in words."""
    if row["paid_as"] and row["state"] == RowState.PENDING:
        batch, key = json.loads(row["paid_as"])
        return one_line(f"Held: {key} of batch {batch} has paid for the same request.")
    if row["state"] == RowState.IN_DOUBT:
        said = printable(row["error_message"] or "").rstrip(". ")
        return f"{said}. {_IN_DOUBT}" if said else _IN_DOUBT
    if row["state"] == RowState.COMPLETE and row["video_check"] in MARKS:
        return f"The video is {row['video_check']}."
    return printable(row["error_message"] or row["error_code"] or "") or None


def _picture(row: Mapping[str, Any], media: Media) -> Card:
    stated = row["image_path"]
    shown = one_line(redact_url(stated))
    if image_kind(stated) is ImageKind.URL and (address := media.remote_picture(stated)):
        return {"image": address, "image_path": shown, "no_image": None}
    if local_image(row) is not None or local_video(row) is not None:
        picture = media.picture(row)
        return {"image": picture, "image_path": shown, "no_image": None if picture else "There is no picture of it"}
    why = {
        ImageKind.URL: "The image is on the web and is not loaded here",
        ImageKind.CLOUD: "The image is in a storage and is not loaded here",
        ImageKind.ASSET: "The API has the image",
        ImageKind.LOCAL: "The image is not on this machine",
    }
    return {"image": None, "image_path": shown, "no_image": why[image_kind(stated)]}


def _video(row: Mapping[str, Any], media: Media) -> Card:
    if row["state"] != RowState.COMPLETE:
        return {"video": None, "no_video": _NOT_YET[RowState(row["state"])]}
    path = local_video(row)
    if path is not None and (address := media.video(row, path)):
        return {"video": address, "no_video": None}
    if row["video_path"]:
        return {"video": None, "no_video": one_line(f"The video is at {redact_url(row['video_path'])}")}
    return {"video": None, "no_video": "Not downloaded: reelbatch settle --download DIR"}


def _time(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat(timespec="seconds")
