"""What a create must look like: the body's fields, and what the model and the plan allow."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from reelbatch.domain import Request
from reelbatch.model_table import RequestIssue, load_models
from reelbatch.sandbox.config import RESOLUTIONS, SandboxConfig
from reelbatch.sandbox.prices import PriceList

IMAGE_EXTENSIONS = ("png", "jpg", "jpeg", "jfif", "heic", "heif", "webp", "avif", "jp2", "tiff", "tif", "bmp")
EXTENSIONS: Mapping[str, tuple[str, ...]] = {
    "image": IMAGE_EXTENSIONS,
    "video": ("mp4", "m4v", "mov", "webm"),
    "audio": ("mp3", "wav", "aac", "flac", "webm", "weba", "m4a", "opus", "ogg", "oga", "aiff", "amr"),
}
_SAVED_ITEMS = "saved-items/"  # durable, in the web app; the sandbox takes each one to be there
_NOMINAL_FPS = 30  # what the API assumes where it does not state a model's own frame rate
_FIELDS = {"end_image_path": "assets.end_image_file_path"}  # the table of models has names of its own


class Refused(Exception):  # noqa: N818 - an answer, not a failure of ours
    """A request that gets `status` and `message`, and with `code` where the status has several."""

    def __init__(self, status: int, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code


class Create(NamedTuple):
    """A create that may be charged."""

    name: str | None
    image: str
    end_image: str | None
    prompt: str | None
    seconds: float
    credits: int
    fps: float
    nominal_fps: float  # what `credits` assume


@dataclass(frozen=True, slots=True)
class Checker:
    """Checks creates for one account.

    `upload_age` says how many days ago a file path was uploaded, or None if never; `price_list` what the next create
    costs.
    """

    config: SandboxConfig
    upload_age: Callable[[str], float | None]
    price_list: Callable[[], PriceList]

    def create(self, body: Mapping[str, Any]) -> Create:
        """The create that `body` asks for, with its cost.

        Raises:
            Refused: with the status and the field that the API would name.
        """
        request = _read(body)
        self._check_model(request)
        self._check_image("assets.image_file_path", request.image_path)
        if request.end_image_path is not None:
            self._check_image("assets.end_image_file_path", request.end_image_path)
        return self._priced(request)

    def _check_model(self, request: Request) -> None:
        table, config = load_models(), self.config
        if request.model not in {None, "default", *table.models, *table.aliases, *self.price_list().overrides}:
            raise Refused(400, f"model: {request.model!r} is not one of the models")
        resolved = table.resolve(request, tier=config.tier, profile=config.model_profile)
        plans = resolved.model.plans.get(resolved.resolution) if resolved.model else None
        if plans and config.tier not in plans:
            raise Refused(403, f"resolution: {resolved.resolution} is not included in the plan {config.tier}")
        for finding in table.check(request, tier=config.tier, profile=config.model_profile):
            if finding.blocking:
                raise Refused(422, _message(finding))

    def _check_image(self, field: str, value: str) -> None:
        if value.startswith("api-assets/"):
            self._check_upload(field, value)
        elif value.startswith(_SAVED_ITEMS):
            if value == _SAVED_ITEMS:
                raise Refused(404, f"{field}: {value!r} names no saved item")
        elif not _is_image_url(value):
            raise Refused(
                400, f"{field}: {value!r} is neither an uploaded file, nor a saved item, nor a URL of an image"
            )

    def _check_upload(self, field: str, value: str) -> None:
        age, days = self.upload_age(value), self.config.upload_days
        if age is None:
            raise Refused(404, f"{field}: nothing was uploaded to {value!r}")
        if age > days:
            what = f"{field}: the upload {value!r} has expired; uploads are kept for {days:g} days"
            raise Refused(self.config.upload_expired_status, what)

    def _priced(self, request: Request) -> Create:
        prices = self.price_list()
        known = prices.frame_rate(request)
        return Create(
            name=request.name,
            image=request.image_path,
            end_image=request.end_image_path,
            prompt=request.prompt,
            seconds=request.end_seconds or 0.0,
            credits=prices.credits(request),
            fps=known or self.config.output_fps,
            nominal_fps=known or _NOMINAL_FPS,
        )


def read_json(raw: bytes) -> dict[str, Any]:
    """The body as a JSON object; Refused with 400 where it is none."""
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise Refused(400, "The request body is not valid JSON") from error
    if not isinstance(body, dict):
        raise Refused(400, "The request body must be a JSON object")
    return body


def read_upload_items(body: Mapping[str, Any]) -> list[str]:
    """The extensions of the files for which upload URLs are asked; Refused names the item that is wrong."""
    items = body.get("items")
    if not isinstance(items, list) or not items:
        raise Refused(400, "items: must be a list with at least one entry")
    return [_extension(f"items[{index}]", item) for index, item in enumerate(items)]


def _extension(where: str, item: Any) -> str:
    if not isinstance(item, dict):
        raise Refused(400, f"{where}: must be an object")
    kind, extension = item.get("type"), item.get("extension")
    if not isinstance(kind, str) or kind not in EXTENSIONS:
        raise Refused(400, f"{where}.type: must be one of {', '.join(EXTENSIONS)}")
    if not isinstance(extension, str) or not re.fullmatch(r"[a-z0-9]+", extension):
        raise Refused(400, f"{where}.extension: must be lower-case letters and digits, without the dot")
    if extension not in EXTENSIONS[kind]:
        raise Refused(422, f"{where}.extension: {extension!r} is no {kind} extension")
    return extension


def _read(body: Mapping[str, Any]) -> Request:
    assets = _typed(body, "assets", dict, required=True)
    style = _typed(body, "style", dict) or {}
    for deprecated in ("width", "height"):
        if body.get(deprecated) is not None:
            _typed(body, deprecated, int)
    return Request(
        image_path=_text(assets, "image_file_path", required=True),
        end_image_path=_text(assets, "end_image_file_path"),
        prompt=_typed(style, "prompt", str, prefix="style."),
        end_seconds=_seconds(body),
        resolution=_resolution(body),
        model=_typed(body, "model", str),
        audio=_typed(body, "audio", bool),
        name=_typed(body, "name", str),
    )


def _typed(body: Mapping[str, Any], field: str, kind: type, *, required: bool = False, prefix: str = "") -> Any:
    if field not in body:
        if required:
            raise Refused(400, f"{prefix}{field}: is required")
        return None
    value = body[field]
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise Refused(400, f"{prefix}{field}: must be {_NAMES[kind]}")
    if isinstance(value, str) and not value.isascii() and _has_surrogates(value):
        raise Refused(400, f"{prefix}{field}: is not valid Unicode")
    return value


def _has_surrogates(text: str) -> bool:
    return any("\ud800" <= letter <= "\udfff" for letter in text)


_NAMES: Mapping[type, str] = {
    dict: "an object",
    str: "a string",
    bool: "true or false",
    int: "an integer",
}


def _text(assets: Mapping[str, Any], field: str, *, required: bool = False) -> Any:
    value = _typed(assets, field, str, required=required, prefix="assets.")
    if value == "":
        raise Refused(400, f"assets.{field}: must not be empty")
    return value


def _seconds(body: Mapping[str, Any]) -> float:
    table = load_models()
    value = body.get("end_seconds")
    if "end_seconds" not in body:
        raise Refused(400, "end_seconds: is required")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Refused(400, "end_seconds: must be a number")
    if not table.min_seconds <= value <= table.max_seconds:
        raise Refused(400, f"end_seconds: must be from {table.min_seconds} to {table.max_seconds}")
    return value


def _resolution(body: Mapping[str, Any]) -> str | None:
    value: str | None = _typed(body, "resolution", str)
    if value is not None and value not in RESOLUTIONS:
        raise Refused(400, f"resolution: must be one of {', '.join(RESOLUTIONS)}")
    return value


def _message(finding: RequestIssue) -> str:
    field = _FIELDS.get(finding.column, finding.column)
    return f"{field}: {finding.what} ({finding.value}). {finding.remedy}"


def _is_image_url(value: str) -> bool:
    try:
        url = urlsplit(value)
    except ValueError:
        return False
    if url.scheme not in {"http", "https"} or not url.netloc:
        return False
    if url.netloc == "magichour.ai" and url.path == "/my-library":
        return bool(parse_qs(url.query).get("imageId"))
    return url.path.rpartition(".")[2].lower() in IMAGE_EXTENSIONS
