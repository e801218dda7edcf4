"""What an image is says its content: so it is uploaded and sent, whatever it is called and wherever it lies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pandas as pd
import pytest
from bench import Bench, assert_books_agree
from odd_images import bmp
from PIL import Image

from reelbatch.client import Client, ClientOptions
from reelbatch.sandbox import RunningSandbox, start


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the sandbox of these tests keeps what was uploaded."""
    return tmp_path_factory.mktemp("sandbox")


@pytest.fixture(scope="module")
def running(stored: Path) -> Iterator[RunningSandbox]:
    with start(queue_seconds=600, render_video=False, data=stored) as sandbox:
        yield sandbox


def arrived(stored: Path) -> dict[bytes, str]:
    """The extension of the path that each upload was given, by its content."""
    return {path.read_bytes(): path.suffix for path in (stored / "uploads").iterdir()}


def manifest_of(bench: Bench, paths: list[Path]) -> pd.DataFrame:
    """One row for each image."""
    return bench.rows(len(paths)).assign(image_path=[str(path) for path in paths])


def drawn(path: Path, kind: str, size: tuple[int, int] = (64, 48)) -> Path:
    """An image of `kind`, whatever its name says."""
    Image.effect_noise(size, 50).convert("RGB").save(path, kind)
    return path


def test_an_image_is_uploaded_as_what_it_is(bench: Bench, stored: Path, tmp_path: Path) -> None:
    """A PNG called .jpg goes into a place for a .png, its bytes as they are, and the row gets its video."""
    kinds = {"PNG": ".png", "JPEG": ".jpg", "WEBP": ".webp", "AVIF": ".avif"}
    names = ["png.jpg", "jpeg.png", "webp.jpeg", "avif"]
    paths = [drawn(tmp_path / name, kind) for name, kind in zip(names, kinds, strict=True)]
    assert bench.generate(manifest_of(bench, paths)).exit_code == 0
    found = arrived(stored)
    assert [found[path.read_bytes()] for path in paths] == list(kinds.values())


async def test_so_it_is_for_a_single_video(bench: Bench, stored: Path, tmp_path: Path) -> None:
    """The client of Python looks at the content too."""
    path = drawn(tmp_path / "png.jpg", "PNG")
    async with Client("sandbox", ClientOptions(base_url=bench.url)) as client:
        await client.create(image_path=path, end_seconds=2, model="ltx-2.3", resolution="480p")
    assert arrived(stored)[path.read_bytes()] == ".png"


def test_what_can_not_be_read_here_is_sent_where_that_is_asked(bench: Bench, stored: Path, tmp_path: Path) -> None:
    """Else its row is invalid and nothing leaves."""
    path = tmp_path / "deep.jpg"
    path.write_bytes(bmp(ten_bits=True))
    assert bench.generate(manifest_of(bench, [path])).exit_code == 1
    assert (bench.states(), path.read_bytes() in arrived(stored)) == ({"invalid": 1}, False)
    assert bench.generate(manifest_of(bench, [path]), image_checks="warn").exit_code == 0
    assert arrived(stored)[path.read_bytes()] == ".bmp"


@pytest.mark.parametrize(
    ("size", "said"), [((1, 1), "1 x 1 pixels, which is no picture"), ((32, 700), "32 x 700 pixels, which is no")]
)
def test_an_image_of_a_storage_is_measured_before_anything_is_paid(
    bench: Bench, sandbox: RunningSandbox, tmp_path: Path, size: Any, said: str
) -> None:
    """It is fetched for its upload: one that is no picture makes its row invalid, and the other row goes on."""
    memory = fsspec.filesystem("memory")
    for name, pixels in (("good", (64, 48)), ("small", size)):
        memory.pipe(f"/{bench.batch}/{name}.png", drawn(tmp_path / "x.png", "PNG", pixels).read_bytes())
    manifest = bench.rows(2).assign(image_path=[f"memory://{bench.batch}/{name}.png" for name in ("good", "small")])
    report = bench.generate(manifest, image_schemes=("memory",))
    assert [row["state"] for row in bench.table()] == ["queued", "invalid"]
    assert bench.table()[1]["error_message"].startswith(said)
    assert_books_agree(bench, sandbox, report)
