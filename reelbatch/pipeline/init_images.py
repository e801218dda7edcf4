"""Where a catalogue's images are: what stands between several in a cell, and the folder that its paths start from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

from reelbatch.home_folder import at_home
from reelbatch.images.inspect import ImageKind, image_kind
from reelbatch.manifest.image_cells import ImageCells

_SEPARATORS = (",", ";", "|", "\n", " ")
_FOLDERS = (
    *(
        "images",
        "image",
        "img",
        "photos",
        "pictures",
        "media",
        "bilder",
        "fotos",
        "imagenes",
        "pub/media/catalog/product",
    ),
    *("media/catalog/product", "catalog/product", "..", "../images", "../image", "../img", "../photos", "../media"),
)
_LOOKED_AT = 50
_MOST = 0.5
_LEVELS = 2
_MOST_FOLDERS = 200
"""Of a level: a catalogue may lie in a folder that has everything."""


def separator(cells: Sequence[str]) -> str | None:
    """What stands between several addresses in a cell; None where no cell has more than one."""
    for sign in _SEPARATORS:
        together = [cell for cell in cells if sign in cell]
        if (
            together
            and list(ImageCells(separators={"image_path": sign}).addresses("image_path", together)) != together
        ):
            return sign
    return None


def paths_among(cells: Sequence[str], sign: str | None) -> list[str]:
    """The first of `cells` that name files, each without what follows `sign`."""
    images = ImageCells(separators={"image_path": sign} if sign else {}).addresses("image_path", cells)
    return [image for image in images if image and image_kind(image) is ImageKind.LOCAL][:_LOOKED_AT]


def folder_of_images(paths: Sequence[str], folder: Path) -> str | None:
    """The folder, as seen from `folder`, that has most of `paths`; "": they are right there; None: nowhere near."""
    for prefix in chain(("", *_FOLDERS), _folders_in(folder)):
        near = folder / prefix
        places = (near / (path.lstrip("/") if prefix else at_home(path, near)) for path in paths)
        if sum(map(_is_there, places)) >= max(1, _MOST * len(paths)):
            return prefix
    return None


def _folders_in(folder: Path) -> Iterator[str]:
    """Whatever they are called, the folders in it, and then those in these; but for hidden ones."""
    level = [folder]
    for _ in range(_LEVELS):
        level = list(islice(chain.from_iterable(map(_subfolders, level)), _MOST_FOLDERS))
        yield from (each.relative_to(folder).as_posix() for each in level)


def _subfolders(folder: Path) -> list[Path]:
    try:
        return sorted(each for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))
    except OSError:  # one that may not be looked into
        return []


def _is_there(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file has
        return False
