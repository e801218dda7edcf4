"""The rows that everybody sends: the manifest's lines for Reelbatch, the same requests for its peers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

COLUMNS = ("row_key", "image_path", "prompt", "end_seconds", "resolution", "model")
CREDITS = 48  # 2 seconds of ltx-2.3 at 480p
_JPEG_SIDE = 888  # of noise: about 1 MB at this quality
_JPEG_QUALITY = 96


def values(number: int) -> tuple[str, str, str, int, str, str]:
    """One row, in the order of COLUMNS."""
    key = f"R{number:08}"
    prompt = f"Slow quarter orbit around item {number}, soft window light"
    return key, f"https://images.example.com/products/{key}.jpg", prompt, 2, "480p", "ltx-2.3"


def body(number: int) -> dict[str, Any]:
    """The create that Reelbatch sends for this row: the same fields, and a name as long as its own."""
    key, image, prompt, seconds, resolution, model = values(number)
    return {
        "assets": {"image_file_path": image},
        "end_seconds": float(seconds),
        "style": {"prompt": prompt},
        "name": f"{key} rb_{number:020x}",
        "resolution": resolution,
        "model": model,
    }


def write_csv(path: Path, rows: int, image: Callable[[int], str] | None = None) -> Path:
    """A manifest of `rows` rows; images are URLs unless `image` says otherwise."""
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(",".join(COLUMNS) + "\n")
        for number in range(1, rows + 1):
            key, url, prompt, *rest = values(number)
            picture = image(number) if image else url
            file.write(f'{key},{picture},"{prompt}",{",".join(map(str, rest))}\n')
    return path


def write_parquet(path: Path, rows: int) -> Path:
    """The same as Parquet, written as pyarrow does by default."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = zip(*map(values, range(1, rows + 1)), strict=True)
    pq.write_table(pa.table(dict(zip(COLUMNS, map(list, columns), strict=True))), path)
    return path


def write_images(folder: Path, count: int) -> int:
    """JPEG files of about 1 MB, 1.jpg and so on, that differ in their last bytes; returns the bytes of one."""
    from random import Random

    from PIL import Image

    folder.mkdir()
    first = folder / "1.jpg"
    noise = Random(1).randbytes(_JPEG_SIDE * _JPEG_SIDE * 3)
    Image.frombytes("RGB", (_JPEG_SIDE, _JPEG_SIDE), noise).save(first, quality=_JPEG_QUALITY)
    picture = first.read_bytes()
    for number in range(1, count + 1):
        (folder / f"{number}.jpg").write_bytes(picture + b"%08d" % number)
    return len(picture)
