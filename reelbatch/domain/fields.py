"""What a request asks for: each field once, with what it holds and where the API takes it.

From here come the manifest's columns and how their cells are read, the staging table, what a claim hands out, the
body of a create call, and the text that a fingerprint is made of. A new field comes at the end and may be left out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, NamedTuple, NewType, get_type_hints

Fingerprint = NewType("Fingerprint", str)


class FieldKind(StrEnum):
    """What a field holds, and so how a cell of the manifest is read."""

    IMAGE = "image"  # a path or an address, as it stands
    TEXT = "text"  # as it stands
    SECONDS = "seconds"
    NAME = "name"  # one of the API's names, in small letters
    MODEL = "model"  # a name as the table of models writes it
    FLAG = "flag"
    PIXELS = "pixels"


@dataclass(frozen=True, slots=True)
class FieldOptions:
    """What a field of `Request` is.

    Attributes:
        api: its path in the body of a create call, with dots between objects and members.
        column: its name in the results table, where that has another of its name.
        compared: whether it tells two requests apart that are paid for as one; images do so by their content.
        unstated: what the API takes where it is left out, if that is the same for all.
    """

    kind: FieldKind
    api: str
    column: str | None = None
    compared: bool = True
    unstated: str | bool | None = None


_Kind = FieldKind
DEFAULT_MODEL = "default"
"""The name that leaves the choice to the API, as no name does."""


class Request(NamedTuple):
    """What one create call is asked for, as the manifest states it (images not yet uploaded).

    A named tuple and not a dataclass: a manifest of a million rows builds a million of them.
    """

    image_path: Annotated[str, FieldOptions(_Kind.IMAGE, "assets.image_file_path")]
    prompt: Annotated[str | None, FieldOptions(_Kind.TEXT, "style.prompt")]
    end_seconds: Annotated[float | None, FieldOptions(_Kind.SECONDS, "end_seconds")]  # None only in an invalid row
    resolution: Annotated[str | None, FieldOptions(_Kind.NAME, "resolution")] = None
    model: Annotated[str | None, FieldOptions(_Kind.MODEL, "model", unstated=DEFAULT_MODEL)] = None
    audio: Annotated[bool | None, FieldOptions(_Kind.FLAG, "audio", unstated=False)] = None
    name: Annotated[str | None, FieldOptions(_Kind.TEXT, "name", compared=False)] = None
    end_image_path: Annotated[str | None, FieldOptions(_Kind.IMAGE, "assets.end_image_file_path")] = None
    width: Annotated[int | None, FieldOptions(_Kind.PIXELS, "width", "request_width", compared=False)] = None
    height: Annotated[int | None, FieldOptions(_Kind.PIXELS, "height", "request_height", compared=False)] = None

    def content_sha256(self, images: Iterable[str]) -> str:
        """SHA-256 (hex) over what the API makes of it: equal for requests that get the same video.

        Args:
            images: what stands for the image, and the end image if there is one: hash of the bytes, or address.
        """
        stated = self._asdict()
        if self.end_seconds is not None:
            stated["end_seconds"] = float(self.end_seconds)
        first = [stated[name] for name in _COMPARED_FIRST]
        later = [[name, stated[name]] for name in _COMPARED_LATER if stated[name] is not None]
        return hashlib.sha256(canonical_json([list(images), *first, *later]).encode()).hexdigest()

    def content_hashes(self, images: Sequence[str], *, spelt_out: bool) -> list[str]:
        """`content_sha256` of itself, and of the same with what the API takes anyway stated or left out.

        Args:
            images: as there.
            spelt_out: whether some of the requests that it is compared with state what the API takes anyway.
        """
        found = [self]
        for name, value in _UNSTATED.items():
            stated = getattr(self, name)
            if stated == value or (stated is None and spelt_out):
                other: dict[str, Any] = {name: value if stated is None else None}
                found += [each._replace(**other) for each in found]
        return [each.content_sha256(images) for each in found]

    def fingerprint(self) -> Fingerprint:
        """SHA-256 (hex) over the fields that are set, in a canonical JSON form."""
        stated = {key: value for key, value in zip(self._fields, self, strict=True) if value is not None}
        if self.end_seconds is not None:
            stated["end_seconds"] = float(self.end_seconds)
        return Fingerprint(hashlib.sha256(canonical_json(stated).encode()).hexdigest())


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spare blanks; the same value always gives the same text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


class RequestField(NamedTuple):
    """One field of `Request`."""

    name: str
    kind: FieldKind
    api: str
    column: str
    compared: bool

    @property
    def is_text(self) -> bool:
        """Whether a cell is taken as it stands; the other fields have few distinct values, and are parsed."""
        return self.kind in {FieldKind.IMAGE, FieldKind.TEXT}


def _field(name: str, options: FieldOptions) -> RequestField:
    compared = options.compared and options.kind is not FieldKind.IMAGE
    return RequestField(name, options.kind, options.api, options.column or name, compared)


REQUEST_FIELDS = tuple(
    _field(name, hint.__metadata__[0]) for name, hint in get_type_hints(Request, include_extras=True).items()
)
"""In the order of `Request`."""
_UNSTATED = {
    name: hint.__metadata__[0].unstated
    for name, hint in get_type_hints(Request, include_extras=True).items()
    if hint.__metadata__[0].unstated is not None
}
# Tables keep hashes of these five without their names; a field that came later counts only where it is set.
_COMPARED_FIRST = ("prompt", "model", "resolution", "end_seconds", "audio")
_COMPARED_LATER = tuple(each.name for each in REQUEST_FIELDS if each.compared and each.name not in _COMPARED_FIRST)
