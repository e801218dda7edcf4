"""A folder of photos as a manifest: a row for each, keyed by its path, with a prompt made of its name."""

from __future__ import annotations

import csv
import io
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from reelbatch.errors import ManifestError
from reelbatch.images.bounds import can_be_animated
from reelbatch.images.inspect import ImageKind, ImageProblem, content_mark, image_kind, inspect_image
from reelbatch.pipeline.init_guess import PROMPT

_ENDINGS = frozenset(
    [".jpg", ".jpeg", ".jfif", ".png", ".webp", ".heic", ".heif", ".avif", ".jp2", ".tif", ".tiff", ".bmp"]
)
FOR_EACH = PROMPT.format(what=" on the {name}")
"""The prompt that a photo has whose name says what is in it."""
_NUMBERED = re.compile(
    r"(?:img|image|imagen|dsc[a-z]?|dscn|pic|pict|photo|foto|bild|pxl|mvimg|screenshot|scan|p)?[\W_\d]*",
    re.IGNORECASE,
)
"""What a camera calls a picture: nothing that could be shown to be in it."""
_APART = re.compile(r"[\s_.-]+")
_SKIPPED_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Photos:
    """The images of a folder, by their paths in it, and what else was found there."""

    folder: Path
    found: Sequence[PurePosixPath]
    skipped: Sequence[str]


def find_photos(folder: Path) -> Photos:
    """Look through `folder` and those in it, but for hidden ones.

    Raises:
        ManifestError: there is no image in it.
    """
    found, skipped = [], []
    for path in _files(folder):
        within = PurePosixPath(path.relative_to(folder).as_posix())
        if _is_photo(path):
            found.append(within)
        else:
            skipped.append(str(within))
    if not found:
        raise ManifestError(
            f"{folder}: has no images (files that are none: {len(skipped):,}). Name a folder that has some."
        )
    return Photos(folder, found, skipped)


def _files(folder: Path) -> Iterator[Path]:
    for where, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(where, name) for name in sorted(names))


def _is_photo(path: Path) -> bool:
    """Whether it is an image that can be animated, by its content, under a name that a manifest can hold."""
    text = str(path)
    if path.suffix.lower() not in _ENDINGS or not text.isprintable():
        return False
    try:
        return can_be_animated(inspect_image(text))
    except ImageProblem:
        return False


def manifest_of_photos(photos: Photos, seen_from: Path, prompt: str | None) -> bytes:
    """The manifest, whose paths start at the folder `seen_from`.

    `prompt`: for each photo, with `{name}` where what its name says belongs; None: ours.
    """
    stems = Counter(path.with_suffix("") for path in photos.found)
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("row_key", "image_path", "prompt"))
    for path in photos.found:
        key = path if stems[path.with_suffix("")] > 1 else path.with_suffix("")
        writer.writerow((key, _as_path(photos.folder / path, seen_from), _prompt(path, prompt)))
    return text.getvalue().encode()


def _as_path(image: Path, seen_from: Path) -> str:
    path = Path(os.path.relpath(image, seen_from)).as_posix()
    return path if image_kind(path) is ImageKind.LOCAL else f"./{path}"


def _prompt(path: PurePosixPath, stated: str | None) -> str:
    thing = thing_in(path.stem)
    if stated is not None:
        return stated.replace("{name}", thing or path.stem)
    return PROMPT.format(what=f" on the {thing}" if thing else "")


def thing_in(stem: str) -> str:
    """What a file's name says is in the picture: `brass-lamp_02` becomes `brass lamp`, and `IMG_0042` nothing."""
    if _NUMBERED.fullmatch(stem):
        return ""
    words = [word for word in _APART.split(stem) if word]
    while len(words) > 1 and words[-1].isdigit():
        words.pop()
    while len(words) > 1 and words[0].isdigit():
        words.pop(0)
    return " ".join(words)


def same_words(photos: Photos) -> str:
    """Which files are copies of each other, of which each has a row; "": none."""
    sizes = {path: (photos.folder / path).stat().st_size for path in photos.found}
    often = Counter(sizes.values())
    first: dict[str, PurePosixPath] = {}
    copies: list[str] = []
    for path in (path for path, size in sizes.items() if often[size] > 1):
        mark = content_mark(str(path), photos.folder)
        if mark is not None and (original := first.setdefault(mark, path)) is not path:
            copies.append(f"{path} of {original}")
    if not copies:
        return ""
    some = ", ".join(copies[:_SKIPPED_SHOWN]) + (", …" if len(copies) > _SKIPPED_SHOWN else "")
    what = "1 photo is a copy" if len(copies) == 1 else f"{len(copies):,} photos are copies"
    return f"{what}: {some}. Each has a row, and is paid for; take out the rows that you do not want"


def skipped_words(photos: Photos) -> str:
    """How many files are no image, and which; "": none."""
    if not photos.skipped:
        return ""
    first = ", ".join(photos.skipped[:_SKIPPED_SHOWN])
    more = ", …" if len(photos.skipped) > _SKIPPED_SHOWN else ""
    return f"{len(photos.skipped):,} skipped, since they are no images that can be animated: {first}{more}"
