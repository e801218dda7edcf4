"""What a cell may make this machine fetch: from which storages, and how much of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from reelbatch.domain import IMAGE_SCHEMES, Tier
from reelbatch.images.inspect import ImageProblem
from reelbatch.storage.errors import Bound, Trouble, chained
from reelbatch.storage.files import redact_url, scheme_of


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageBounds:
    """What an image may be.

    Attributes:
        schemes: of the addresses that images are fetched from; paths need none.
        upload: the most bytes that the account may upload.
    """

    schemes: Collection[str] = IMAGE_SCHEMES
    upload: Bound

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
