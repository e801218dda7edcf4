"""What a cell may make this machine fetch: from which storages, and how much of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import IO

from reelbatch.domain import IMAGE_SCHEMES, Tier
from reelbatch.images.inspect import ImageInfo, ImageProblem, ImageUnread, inspect_file
from reelbatch.storage.errors import Bound, Trouble, chained
from reelbatch.storage.files import redact_url, scheme_of

_SHORTEST = 32
"""Pixels of an image's shorter side; below is a tracking pixel or an icon."""
_LONGEST_RATIO = 20
_SIZES = (
    f"Use one whose shorter side has {_SHORTEST} pixels or more, and the longer at most {_LONGEST_RATIO} times that."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageBounds:
    """What an image may be.

    Attributes:
        schemes: of the addresses that images are fetched from; paths need none.
        upload: the most bytes that the account may upload.
        unread: whether those may be uploaded that no library here opens.
    """

    schemes: Collection[str] = IMAGE_SCHEMES
    upload: Bound
    unread: bool = False

    def inspect(self, file: IO[bytes]) -> ImageInfo:
        """What the open image file is.

        Raises:
            ImageUnread: no library here opens it, and such images are not let through.
            ImageProblem: it is no image that the API takes, cut off, too large or too small.
        """
        try:
            info = inspect_file(file, bound=self.upload)
        except ImageUnread as problem:
            if not self.unread:
                raise
            return problem.info
        if not can_be_animated(info):
            raise ImageProblem(f"{info.width} x {info.height} pixels, which is no picture to animate", _SIZES)
        return info

    def trouble(self, address: str) -> Trouble | None:
        """Why nothing is fetched from `address`; None for a path, or where it may be."""
        scheme = scheme_of(address)
        if scheme is None:
            return None
        if "::" in address:
            return chained(scheme)
        if scheme in self.schemes:
            return None
        allowed = ", ".join(f"{each}://" for each in self.schemes) or "none"
        remedy = f"Use a path, http(s):// or one of these: {allowed}. If it is meant, add {scheme} to image_schemes."
        return Trouble(f"images are not fetched from {scheme}://", remedy, is_files_own=True)

    def refuse(self, *addresses: str) -> None:
        """See that all of `addresses` are paths, or such that may be fetched from.

        Raises:
            ImageProblem: one is not.
        """
        for address in addresses:
            if trouble := self.trouble(address):
                raise ImageProblem(f"{trouble.what}: {redact_url(address)}", trouble.remedy)


def upload_bound(tier: Tier | None, limits: Mapping[Tier, int]) -> Bound:
    """What the tier's `limits` allow; the smallest of them where the tier has none that is known."""
    size, remedy = min(limits.values()), "Shrink the image."
    if tier is not None and tier in limits:
        size, whose = limits[tier], f"the limit of the tier {tier}"
    elif tier is None:
        whose = "the smallest limit, since no tier is stated"
        remedy = "Shrink the image, or state the tier if it allows more."
    else:
        whose = f"the smallest limit, since none is known for the tier {tier}"
    what = f"more than the {size:,} bytes that may be uploaded ({whose})"
    return Bound(size, Trouble(what, remedy, is_files_own=True))


def can_be_animated(info: ImageInfo) -> bool:
    """Whether it is large enough, and no strip."""
    shorter, longer = sorted((info.width, info.height))
    return shorter >= _SHORTEST and longer <= _LONGEST_RATIO * shorter
