"""The API's JSON as our types."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from reelbatch.domain import Request, VideoId
from reelbatch.outcome import whole_number


@dataclass(frozen=True, slots=True)
class UploadSlot:
    """Where one image goes, and the path that the API will know it by."""

    upload_url: str
    file_path: str
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Created:
    """The answer to a create. `raw` is the whole of it, unknown fields included."""

    id: VideoId
    credits_charged: int | None
    estimated_frame_cost: int | None  # deprecated by the API, and missing from newer answers
    raw: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Download:
    """A finished video's address; it expires after a day, and asking again gives a fresh one."""

    url: str
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Video:
    """The state of one video. Credits are an estimate until it is complete; a failed one is refunded."""

    id: VideoId
    status: str
    name: str | None
    credits_charged: int | None
    fps: float | None
    width: int | None
    height: int | None
    error_code: str | None
    error_message: str | None
    downloads: tuple[Download, ...]
    raw: dict[str, Any] = field(default_factory=dict)


def create_body(request: Request, image: str, end_image: str | None, name: str | None) -> dict[str, Any]:
    """The JSON of a create call. What is not set is left out, never null."""
    assets = _stated(image_file_path=image, end_image_file_path=end_image)
    style = _stated(prompt=request.prompt)
    return _stated(
        assets=assets,
        end_seconds=request.end_seconds,
        style=style or None,
        name=name,
        resolution=request.resolution,
        model=request.model,
        audio=request.audio,
        height=request.height,
        width=request.width,
    )


def _stated(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def upload_slot(item: dict[str, Any]) -> UploadSlot:
    """One entry of the answer to upload-urls.

    Raises:
        KeyError: it lacks its address or its path.
    """
    return UploadSlot(str(item["upload_url"]), str(item["file_path"]), _time(item.get("expires_at")))


def video(answer: dict[str, Any]) -> Video:
    """The answer to a GET of a video, or the payload of its webhook event.

    Raises:
        KeyError: it lacks its id or its status.
    """
    code, message = _error(answer.get("error"))
    return Video(
        id=VideoId(str(answer["id"])),
        status=str(answer["status"]),
        name=answer.get("name"),
        credits_charged=whole_number(answer.get("credits_charged")),
        fps=_number(answer.get("fps")),
        width=_size(answer.get("width")),
        height=_size(answer.get("height")),
        error_code=code,
        error_message=message,
        downloads=tuple(_downloads(answer.get("downloads"))),
        raw=answer,
    )


def _error(stated: Any) -> tuple[str | None, str | None]:
    """Code and message, in whatever form they come: an odd error must not hide that the video has ended."""
    if isinstance(stated, dict):
        code, message = stated.get("code"), stated.get("message")
        return (None if code is None else str(code)), (None if message is None else str(message))
    return (None, str(stated)) if stated else (None, None)


def _downloads(stated: Any) -> Iterator[Download]:
    for item in stated if isinstance(stated, list) else ():
        if isinstance(item, dict) and item.get("url"):
            yield Download(str(item["url"]), _time(item.get("expires_at")))


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _size(value: Any) -> int | None:
    """Pixels; the API's -1 means that the figure can be ignored."""
    pixels = whole_number(value)
    return pixels if pixels is not None and pixels > 0 else None


def _time(value: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(str(value))
    except ValueError:
        return None
