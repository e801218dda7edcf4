"""Images that not every library opens: read where one does, told apart from damage where none does."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from odd_images import avif_with_bare_alpha, bmp, float_tiff
from PIL import Image, UnidentifiedImageError

from reelbatch.images.kinds import openers
from reelbatch.manifest import ImageProblem, inspect_image

UNREAD = {"tiff": float_tiff(), "bmp": bmp(ten_bits=True)}


@pytest.fixture
def outcome(read: Any, tmp_path: Path) -> Any:
    """Read a manifest of one row whose image has this content."""

    def read_one(content: bytes, **change: Any) -> Any:
        (tmp_path / "a.jpg").write_bytes(content)
        table = {"image_path": [str(tmp_path / "a.jpg")], "prompt": ["Pan"]}
        return read(pd.DataFrame(table), change=change)

    return read_one


def test_an_avif_that_pillow_refuses_is_read(tmp_path: Path) -> None:
    """Its alpha channel lacks a property that other readers do without."""
    content = avif_with_bare_alpha()
    with pytest.raises(UnidentifiedImageError):
        Image.open(io.BytesIO(content))
    (tmp_path / "a.avif").write_bytes(content)
    info = inspect_image(str(tmp_path / "a.avif"))
    assert (info.extension, info.width, info.height) == ("avif", 64, 48)


def test_a_bmp_that_states_a_wrong_size_is_whole(tmp_path: Path) -> None:
    """No decoder looks at that figure; pixels that are missing are still found out."""
    path = tmp_path / "a.bmp"
    path.write_bytes(bmp(stated_size=1 << 30))
    assert inspect_image(str(path)).width == 64
    path.write_bytes(bmp(stated_size=1 << 30)[:-50])
    with pytest.raises(ImageProblem, match="cut off"):
        inspect_image(str(path))


@pytest.mark.parametrize("kind", UNREAD)
def test_what_no_library_opens_is_not_called_damaged(outcome: Any, kind: str) -> None:
    """It keeps its row back, and the remedy names the setting."""
    (problem,) = outcome(UNREAD[kind]).problems
    assert problem.what == f"can't be read here: a {kind} of a sort that no library on this machine knows"
    assert "image_checks: warn" in problem.remedy


@pytest.mark.parametrize("kind", UNREAD)
def test_it_is_let_through_with_a_warning(outcome: Any, kind: str) -> None:
    """With `image_checks: warn`; its size and time of change are known, so that a replaced one is noticed."""
    found = outcome(UNREAD[kind], lenient_images=True)
    assert found.problems == []
    (warning,) = found.warnings
    assert warning.what.startswith("can't be read here")
    assert (found.rows[0].problem, found.rows[0].image_bytes) == (None, len(UNREAD[kind]))


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "the file is empty"),
        (b"<!DOCTYPE html><html>Not found", "a web page"),
        (b"BMW: a catalogue of all years", "no image, or a damaged one"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "no image, or a damaged one"),
        (float_tiff()[:-200], "cut off"),
        (bmp(ten_bits=True)[:60], "cut off"),
        (b"\xff\x4f\xff\x51" + bytes(100), "a bare JPEG 2000 stream, which the API does not take"),
    ],
)
def test_what_is_damaged_or_no_image_is_never_let_through(outcome: Any, content: bytes, what: str) -> None:
    """The setting is for images that other programs can open."""
    (problem,) = outcome(content, lenient_images=True).problems
    assert what in problem.what


@pytest.mark.parametrize("brand", [b"avif", b"mif1"])
def test_an_avif_in_the_family_s_container_is_an_avif(image: Any, brand: bytes) -> None:
    """HEIC and AVIF share a container: which of them it is, the other brands say."""
    path = image("a.avif")
    content = path.read_bytes()
    path.write_bytes(content[:8] + brand + content[12:])
    assert inspect_image(str(path)).extension == "avif"


@pytest.fixture
def without_heif(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine without the extra `heic`."""
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    openers.cache_clear()
    yield
    openers.cache_clear()


def test_without_its_extra_a_heic_can_not_be_read_and_other_images_can(
    outcome: Any, image: Any, request: pytest.FixtureRequest
) -> None:
    """The remedy names the extra."""
    heic, png = image("b.heic", (64, 36), "HEIF").read_bytes(), image("b.png").read_bytes()
    request.getfixturevalue("without_heif")
    (problem,) = outcome(heic).problems
    assert problem.what.startswith("can't be read here: a heic")
    assert "reelbatch[heic]" in problem.remedy
    assert outcome(heic, lenient_images=True).problems == []
    assert outcome(png).problems == []
