"""Checks of the images that rows name: URLs by their form, files on this machine by their content."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import zip_longest
from typing import NamedTuple
from unicodedata import normalize
from urllib.parse import parse_qs, unquote, urlsplit

from reelbatch.images.bounds import ImageBounds, upload_bound
from reelbatch.images.inspect import (
    API_PATHS,
    ImageInfo,
    ImageKind,
    ImageProblem,
    ImageUnread,
    ImageUnseen,
    image_kind,
    opened_image,
    resolve_image,
)
from reelbatch.manifest.image_addresses import address_trouble, remedy_of_missing
from reelbatch.manifest.image_cells import IMAGE_COLUMNS
from reelbatch.manifest.options import Checks
from reelbatch.manifest.parsing import MAX_SHOWN, storable, visible
from reelbatch.model_table import RequestIssue
from reelbatch.storage.files import CloudProblem, check, redact_url

_REMEMBERED = 50_000
_LET_THROUGH = "It is sent as it is, and the API decides (image_checks: warn)."
_TOLERANCE = 0.02
_FEW = 16
_ENDINGS = ("jpg", "png", "jpeg", "jfif", "heic", "heif", "webp", "avif", "jp2", "tiff", "tif", "bmp")
_WITH_DOT = tuple(ending for name in _ENDINGS for ending in (f".{name}", f".{name.upper()}"))
_WITHOUT_PATH = re.compile(" https?://[^/ ]* ")
_NEARBY = re.compile(
    r"//(?:localhost|127\.|10\.|192\.168\.|169\.254\.|172\.(?:1[6-9]|2\d|3[01])\.|[^/ .]+/|[^/ ]+\.local[:/])",
    re.IGNORECASE,
)
"""A host of this machine or its network."""
_MOST_FOLDERS = 5
_NOT_IN_URLS = re.compile(r"[\s\\<>\"{}|^`\0-\x1f\x7f]")
_MORE_THAN_A_PATH = (*',;?#\\@<>"{}|^`[]', ":///", "magichour.ai")


class _Verdict(NamedTuple):
    """What a look at an image gave. No exception is kept: it would hold on to the whole stack."""

    info: ImageInfo | None = None  # known for sound files on this machine only
    what: str = ""  # "": nothing is wrong
    remedy: str = ""
    unseen: bool = False  # by this machine
    blocking: bool = True
    stat: tuple[int, int] | None = None  # bytes and time of change in ns, of files on this machine


class BatchImages(NamedTuple):
    """What looking at one batch's images gave."""

    findings: list[tuple[int, RequestIssue]]  # what is wrong or odd, by index
    stats: list[str | None]  # of each row's files on this machine, size and time of change; None: there are none
    sizes: list[int | None]  # their bytes


class ImageChecks:
    """Looks at every image once, however many rows name it."""

    def __init__(self, checks: Checks, base: str) -> None:
        self._look_at_files = checks.images
        self._base = base
        self._on_the_web = image_kind(base) is ImageKind.URL
        upload = upload_bound(checks.tier, checks.models.upload_limits)
        self._lenient = checks.lenient_images
        self._bounds = ImageBounds(schemes=checks.image_schemes, upload=upload)
        self._verdict = lru_cache(_REMEMBERED)(self._look)

    def look(self, images: Sequence[str], ends: Sequence[str]) -> BatchImages:
        """Look at the images and end images of one batch."""
        looked = BatchImages([], [None] * len(images), [None] * len(images))
        files: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
        for column, of in zip(IMAGE_COLUMNS, (images, ends), strict=True):
            for index in _unclear(of, 0, len(of)):
                if not of[index]:
                    continue
                if finding := self._finding(column, of[index]):
                    looked.findings.append((index, finding))
                if stat := self._stat(of[index]):
                    files[index].append(stat)
        for index, found in files.items():
            looked.stats[index] = " ".join(f"{size}:{time}" for size, time in found)
            looked.sizes[index] = sum(size for size, _ in found)
        return looked

    def _stat(self, stated: str) -> tuple[int, int] | None:
        return None if image_kind(stated) is ImageKind.URL else self._verdict(stated).stat

    def aspect(self, stated: str, ratios: Sequence[str]) -> RequestIssue | None:
        """Why a local image has none of the aspect `ratios` (`16:9`) that its model takes."""
        info = None if image_kind(stated) is ImageKind.URL else self._verdict(stated).info
        if info is None or any(_fits(info, ratio) for ratio in ratios):
            return None
        what = f"{info.width} x {info.height} pixels, but the model takes only {' and '.join(ratios)}"
        return RequestIssue("image_path", shown_image(stated), what, "Crop the image, or choose another model.")

    def _finding(self, column: str, stated: str) -> RequestIssue | None:
        if trouble := address_trouble(stated):
            return RequestIssue(column, shown_image(stated), trouble.what, trouble.remedy)
        address = resolve_image(stated, self._base) if self._on_the_web else stated
        if image_kind(address) is ImageKind.URL:
            return _url_finding(column, address)
        verdict = self._verdict(stated)
        if not verdict.what:
            return None
        issue = RequestIssue(column, shown_image(stated), verdict.what, verdict.remedy, unseen=verdict.unseen)
        return issue._replace(blocking=verdict.blocking)

    def _look(self, stated: str) -> _Verdict:
        if not stated:
            return _Verdict()
        if image_kind(stated) is ImageKind.ASSET:
            named = stated not in API_PATHS
            return _Verdict() if named else _Verdict(None, "names no file", f"Give the whole {stated} path.")
        where = resolve_image(stated, self._base)
        if trouble := self._bounds.trouble(stated) or self._bounds.trouble(where):
            return _Verdict(None, trouble.what, trouble.remedy)
        if image_kind(where) is not ImageKind.LOCAL:
            return _scheme_verdict(where)
        return self._look_into(stated, where) if self._look_at_files else _Verdict()

    def _look_into(self, stated: str, where: str) -> _Verdict:
        try:
            with opened_image(where) as file:
                info = self._bounds.inspect(file)
        except ImageUnread as problem:
            if self._lenient:
                return _Verdict(None, problem.what, _LET_THROUGH, blocking=False, stat=_stat(where))
            return _Verdict(None, problem.what, problem.remedy)
        except ImageProblem as problem:
            better = _remedy_of_missing(stated, where) if problem.what == "no such file" else None
            return _Verdict(None, problem.what, better or problem.remedy, isinstance(problem, ImageUnseen))
        return _Verdict(info, stat=_stat(where))


def _remedy_of_missing(stated: str, where: str) -> str | None:
    if near := _near(unquote(where)):
        parts = list(zip_longest(where.split("/"), near.split("/"), fillvalue=""))
        first = next((place for place, (one, other) in enumerate(parts) if one != other), None)
        if first is not None:
            return f'Did you mean "{"/".join(near.split("/")[first:])}"? Names differ by case and signs.'
    return remedy_of_missing(stated)


def _near(path: str, folders: int = _MOST_FOLDERS) -> str | None:
    """The path of a file or folder that is there, the same but for case, Unicode's forms, %20, + and alike.

    `folders`: how many above it may be spelt otherwise too.
    """
    folder, name = os.path.split(path)
    try:
        beside = _names(folder)
    except OSError:
        nearer = _near(folder, folders - 1) if folders and folder not in {path, ""} else None
        return _near(f"{nearer}/{name}", 0) if nearer not in {None, folder} else None
    alike = (_alike(name), _alike(name.replace("+", " ")), _alike(name.partition("?")[0]))
    near = next((beside[each] for each in alike if each in beside), None)
    return near and f"{folder}/{near}"


@lru_cache(8)
def _names(folder: str) -> dict[str, str]:
    return {_alike(name): name for name in os.listdir(folder)}  # noqa: PTH208 - a large folder, and names only


def _alike(name: str) -> str:
    return normalize("NFC", normalize("NFC", name).casefold())


def _stat(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)  # noqa: PTH116 - a million times
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _unclear(images: Sequence[str], first: int, end: int) -> Iterator[int]:
    """All but the web addresses that are surely good, found by halving what is not good as a whole."""
    if not any(images[first:end]) or _all_plain(images[first:end]):
        return
    if end - first <= _FEW:
        yield from range(first, end)
        return
    middle = (first + end) // 2
    yield from _unclear(images, first, middle)
    yield from _unclear(images, middle, end)


def _all_plain(images: Sequence[str]) -> bool:
    """Whether all are web addresses with a host, a path and an image's ending, and without odd characters."""
    together = f" {' '.join(images)} "
    if together.count(" ") != len(images) + 1 or not together.isprintable():
        return False
    if together.count(" https://") + together.count(" http://") != len(images) or _WITHOUT_PATH.search(together):
        return False
    if any(sign in together for sign in _MORE_THAN_A_PATH) or together.count("://") != len(images):
        return False
    if _NEARBY.search(together):
        return False
    others = len(images)
    for ending in _WITH_DOT:
        others -= together.count(f"{ending} ")
        if not others:
            return True
    return False


def _url_finding(column: str, url: str) -> RequestIssue | None:
    try:
        parts = urlsplit(url)
        has_host = bool(parts.hostname)
    except ValueError:
        has_host = False
    if not has_host or _NOT_IN_URLS.search(url):
        return RequestIssue(column, shown_image(url), "not a web address", "Write blanks as %20 and name a host.")
    if _NEARBY.match(f"//{parts.netloc.rpartition('@')[2]}/"):
        what = "an address within this machine or its network, which the API can't reach"
        remedy = "Name the image's file, or an address that can be reached from everywhere."
        return RequestIssue(column, shown_image(url), what, remedy, blocking=False)
    if parts.hostname == "magichour.ai" and parts.path.rstrip("/") == "/my-library":
        if parse_qs(parts.query).get("imageId"):
            return None
        what = "a library address without an imageId"
        return RequestIssue(column, shown_image(url), what, "Copy the address of one image: …/my-library?imageId=….")
    if parts.path.lower().endswith(tuple(f".{ending}" for ending in _ENDINGS)):
        return None
    what = "a web address whose path does not end in an image's extension; the API may refuse it"
    return RequestIssue(
        column, shown_image(url), what, "Prefer a direct address such as https://…/vase.jpg.", blocking=False
    )


def _scheme_verdict(address: str) -> _Verdict:
    try:
        check(address)
    except CloudProblem as problem:
        return _Verdict(None, problem.what, problem.remedy)
    return _Verdict()


def _fits(info: ImageInfo, ratio: str) -> bool:
    width, height = map(int, ratio.split(":"))
    return abs(info.width / info.height / (width / height) - 1) <= _TOLERANCE


def shown_image(stated: str) -> str:
    """An image's path or address as a message may have it: short, and without secrets."""
    return storable(visible(redact_url(stated)), MAX_SHOWN)
