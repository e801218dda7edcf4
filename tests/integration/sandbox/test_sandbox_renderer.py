"""What the renderer makes of images of every kind and shape."""

from pathlib import Path

import av
import pytest
from PIL import Image
from pillow_heif import register_heif_opener

from reelbatch.sandbox.renderer import render
from reelbatch.sandbox.shots import Shot, Size, Unreadable
from reelbatch.sandbox.validation import IMAGE_EXTENSIONS

register_heif_opener()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Where the video goes."""
    return tmp_path / "video.mp4"


def picture(path: Path, size: tuple[int, int] = (30, 20), mode: str = "RGB") -> Path:
    Image.linear_gradient("L").resize(size).convert(mode).save(path)
    return path


@pytest.mark.parametrize("extension", IMAGE_EXTENSIONS)
def test_every_kind_that_can_be_uploaded_renders(tmp_path: Path, target: Path, extension: str) -> None:
    """Each extension that an upload may have is an image that can be drawn."""
    image = picture(tmp_path / f"image.{extension}")
    assert render(Shot(image, "seed", frames=2, fps=30), target) == Size(320, 214)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16"])
def test_every_colour_mode_renders(tmp_path: Path, target: Path, mode: str) -> None:
    """Palettes, greys, transparency and 16 bits are no obstacle."""
    image = picture(tmp_path / "image.png", mode=mode)
    assert render(Shot(image, "seed", frames=2, fps=30), target) == Size(320, 214)


@pytest.mark.parametrize(
    ("size", "expected"),
    [((1, 1), (320, 320)), ((3000, 4), (320, 16)), ((4, 3000), (16, 320)), ((1080, 1920), (180, 320))],
)
def test_every_shape_renders_at_even_sizes(
    tmp_path: Path, target: Path, size: tuple[int, int], expected: tuple[int, int]
) -> None:
    """The longer side has 320 pixels, the other keeps the proportion as far as H.264 can."""
    assert render(Shot(picture(tmp_path / "image.png", size), "seed", frames=2, fps=30), target) == expected


def test_a_turned_photo_is_drawn_upright(tmp_path: Path, target: Path) -> None:
    """A phone's photo that says it is turned gives a video the right way up."""
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.new("RGB", (40, 20)).save(tmp_path / "photo.jpg", exif=turned)
    assert render(Shot(tmp_path / "photo.jpg", "seed", frames=2, fps=30), target) == Size(160, 320)


@pytest.mark.parametrize("fps", [24, 30, 60])
def test_frames_and_rate_are_as_asked(target: Path, fps: int) -> None:
    """The file has exactly the frames asked for, at the rate asked for."""
    render(Shot(None, "seed", frames=37, fps=fps), target)
    with av.open(str(target)) as container:
        assert container.streams.video[0].average_rate == fps
        assert len(list(container.decode(video=0))) == 37


@pytest.mark.parametrize("seed", range(25))
def test_the_camera_stays_within_the_picture(tmp_path: Path, target: Path, seed: int) -> None:
    """Whatever way the seed sends the camera, every frame is cut from inside the image."""
    image = picture(tmp_path / "image.png", (7, 5))
    render(Shot(image, f"seed {seed}", frames=3, fps=30), target)
    assert target.stat().st_size > 0


def test_what_is_no_image_leaves_no_file(tmp_path: Path, target: Path) -> None:
    """A file that can't be read as an image is named unreadable, and nothing half done stays behind."""
    for content in (b"", b"text", b"\x89PNG\r\n\x1a\n cut off"):
        (tmp_path / "image.png").write_bytes(content)
        with pytest.raises(Unreadable):
            render(Shot(tmp_path / "image.png", "seed", frames=2, fps=30), target)
    assert list(tmp_path.iterdir()) == [tmp_path / "image.png"]
