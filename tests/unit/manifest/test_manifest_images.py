"""Images: real files of every kind, whole and damaged, and addresses of every form."""

from __future__ import annotations

import os
import shutil
import struct
from pathlib import Path
from typing import Any
from unicodedata import normalize

import fsspec
import pandas as pd
import pytest
from PIL import Image

from reelbatch.manifest import ImageKind, ImageProblem, image_kind, inspect_image, resolve_image

KINDS = [
    ("a.png", None, "png"),
    ("a.jpg", None, "jpg"),
    ("a.webp", None, "webp"),
    ("a.heic", "HEIF", "heic"),
    ("a.avif", None, "avif"),
    ("a.jp2", None, "jp2"),
    ("a.tiff", None, "tiff"),
    ("a.bmp", None, "bmp"),
    ("a.mpo", "MPO", "jpg"),
]


@pytest.mark.parametrize(("name", "kind", "extension"), KINDS)
def test_every_accepted_kind_is_known_by_its_content(image: Any, name: str, kind: Any, extension: Any) -> None:
    """Kind, size in pixels and bytes; the file's own name does not matter."""
    path = image(name, (64, 36), kind)
    misnamed = path.rename(path.with_name("x.dat"))
    info = inspect_image(str(misnamed))
    assert (info.extension, info.width, info.height, info.size) == (extension, 64, 36, misnamed.stat().st_size)


@pytest.mark.parametrize(("name", "kind", "extension"), KINDS)
@pytest.mark.parametrize("part", [0.3, 0.6, 0.95])
def test_cut_off_images_are_found(image: Any, name: str, kind: Any, extension: Any, part: Any) -> None:
    """Wherever a download stopped, the image is a problem."""
    path = image(name, (200, 120), kind)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(ImageProblem):
        inspect_image(str(path))


@pytest.mark.parametrize(("name", "kind", "extension"), KINDS)
def test_cut_off_headers_are_found(image: Any, name: str, kind: Any, extension: Any) -> None:
    """A few bytes are no image of any kind."""
    path = image(name, (64, 36), kind)
    for size in (1, 4, 12, 20, 40):
        path.write_bytes(path.read_bytes()[:size])
        with pytest.raises(ImageProblem):
            inspect_image(str(path))


@pytest.mark.parametrize(("at", "exif"), [(26, b""), (24, b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0")])
def test_a_webp_of_any_size_is_measured(image: Any, at: Any, exif: Any) -> None:
    """Its header says how large it is; Pillow refuses to open one of more than 178 million pixels."""
    path = image("a.webp", exif=exif)
    data = bytearray(path.read_bytes())
    stated = struct.pack("<HH", 16_383, 16_000) if at == 26 else struct.pack("<HBHB", 16_382, 0, 15_999, 0)
    data[at : at + len(stated)] = stated  # a file with metadata states it apart from its pixels
    path.write_bytes(data)
    found = inspect_image(str(path))
    assert (found.width, found.height) == (16_383, 16_000)


@pytest.mark.parametrize("lossless", [True, False])
def test_a_webp_of_many_megabytes_is_an_image(image: Any, lossless: Any) -> None:
    """More bytes than are read to find an image's size; only its beginning is looked at."""
    path = image("a.webp", (64, 36), lossless=lossless)
    data = path.read_bytes() + b"junk" + struct.pack("<I", 20 << 20)
    path.write_bytes(data[:4] + struct.pack("<I", len(data) - 8 + (20 << 20)) + data[8:])
    os.truncate(path, len(data) + (20 << 20))
    info = inspect_image(str(path))
    assert (info.extension, info.width, info.height) == ("webp", 64, 36)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp"])
def test_something_after_an_image_is_no_fault(image: Any, name: str) -> None:
    """Phones append videos and notes to their pictures."""
    path = image(name)
    path.write_bytes(path.read_bytes() + b"\0\0\0\x18ftypmp42" + bytes(range(256)) * 300)
    assert inspect_image(str(path)).width == 64


def test_a_thumbnails_end_is_not_the_images_end(image: Any) -> None:
    """A JPEG cut off after its embedded preview is still cut off."""
    preview = image("small.jpg", (16, 16)).read_bytes()
    path = image("a.jpg", (200, 120), exif=b"Exif\0\0" + preview)
    data = path.read_bytes()
    assert inspect_image(str(path)).width == 200
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(ImageProblem, match="cut off"):
        inspect_image(str(path))


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tiff", "a.avif", "a.heic"])
def test_turned_images_are_measured_as_displayed(image: Any, name: str) -> None:
    """A phone's portrait is stored as a turned landscape."""
    exif = Image.Exif()
    exif[0x0112] = 6
    kind = "HEIF" if name.endswith("heic") else None
    path = (
        image(name, (64, 36), kind, exif=exif.tobytes())
        if name != "a.tiff"
        else image(name, (64, 36), tiffinfo={0x0112: 6})
    )
    info = inspect_image(str(path))
    assert (info.width, info.height) == (36, 64)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_exif_is_no_fault(image: Any) -> None:
    """The picture is measured as stored where its EXIF block is garbage."""
    path = image("a.jpg", (64, 36), exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert inspect_image(str(path)).width == 64


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "empty"),
        (b"just some text, renamed", "no image"),
        (b"<!DOCTYPE html><html>Not found", "a web page"),
        (b"%PDF-1.7 ...........", "a PDF"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "a pointer of Git LFS"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0isom", "a video"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "no image"),
        (b"BM" + bytes(100), "no image"),
        (b"RIFF\x10\0\0\0WEBPVP8 " + bytes(8), "no image"),
    ],
)
def test_files_that_are_no_images_are_named(tmp_path: Path, content: Any, what: Any) -> None:
    """What a file called .png really is."""
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ImageProblem, match=what):
        inspect_image(str(tmp_path / "a.png"))


@pytest.mark.parametrize("name", ["a.gif", "a.ico", "a.ppm", "a.tga"])
def test_other_images_are_refused(image: Any, name: str) -> None:
    """Kinds that the API does not take are refused whatever Pillow can read."""
    with pytest.raises(ImageProblem, match="Use png, jpg"):
        inspect_image(str(image(name).rename(image(name).with_suffix(".png")) if name == "a.gif" else image(name)))


def test_a_sparse_file_is_not_read(tmp_path: Path) -> None:
    """Three gigabytes of nothing behind a JPEG's first bytes are refused at once."""
    path = tmp_path / "huge.jpg"
    with path.open("wb") as file:
        file.write(b"\xff\xd8\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0")
        file.truncate(3 << 30)
    with pytest.raises(ImageProblem, match="no image"):
        inspect_image(str(path))


def test_huge_pictures_are_measured(tmp_path: Path) -> None:
    """Many megapixels are no fault: nothing is decoded."""
    head = struct.pack("<2sIHHI", b"BM", 54, 0, 0, 54) + struct.pack(
        "<IiiHHIIiiII", 40, 40_000, 30_000, 1, 24, 0, 0, 0, 0, 0, 0
    )
    (tmp_path / "a.bmp").write_bytes(head)
    assert inspect_image(str(tmp_path / "a.bmp")).width == 40_000


def test_missing_and_unreadable_files(tmp_path: Path) -> None:
    """Each way of not being there has its own words."""
    for path, what in (("nope.png", "no such file"), (".", "a directory")):
        with pytest.raises(ImageProblem, match=what):
            inspect_image(str(tmp_path / path))
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ImageProblem, match="not a regular file"):
        inspect_image(str(tmp_path / "pipe.png"))
    with pytest.raises(ImageProblem, match="Write / where"):
        inspect_image(str(tmp_path / "images\\a.png"))


def test_names_that_no_file_can_have(tmp_path: Path) -> None:
    """Too long, or with a NUL: a problem, not a crash."""
    for name in ("x" * 5000 + ".png", "a\0.png"):
        with pytest.raises(ImageProblem, match="can't be read"):
            inspect_image(str(tmp_path / name))


def test_images_in_the_cloud_are_inspected(image: Any) -> None:
    """Any fsspec URL, when it is uploaded."""
    with fsspec.open("memory://shop/a.png", "wb") as file:
        file.write(image("a.png").read_bytes())
    assert inspect_image("memory://shop/a.png").extension == "png"
    with pytest.raises(ImageProblem, match="no such file"):
        inspect_image("memory://shop/none.png")
    with pytest.raises(ImageProblem, match="can't be read"):
        inspect_image("warp://shop/a.png")


@pytest.mark.parametrize(
    ("stated", "kind"),
    [
        ("images/a.png", ImageKind.LOCAL),
        ("/abs/a.png", ImageKind.LOCAL),
        ("C:\\a.png", ImageKind.LOCAL),
        ("a: b.png", ImageKind.LOCAL),
        ("https://x.test/a.png", ImageKind.URL),
        ("HTTP://x.test/a.png", ImageKind.URL),
        ("api-assets/id/1.png", ImageKind.ASSET),
        ("saved-items/characters/1", ImageKind.ASSET),
        ("./saved-items/1.png", ImageKind.LOCAL),
        ("s3://b/a.png", ImageKind.CLOUD),
        ("file:///a.png", ImageKind.CLOUD),
        ("simplecache::s3://b/a.png", ImageKind.CLOUD),
    ],
)
def test_kinds_of_paths(stated: Any, kind: Any) -> None:
    """What a path is, before anyone looks whether it exists."""
    assert image_kind(stated) is kind


@pytest.mark.parametrize(
    ("stated", "base", "where"),
    [
        ("a/b.png", "/m", "/m/a/b.png"),
        ("../b.png", "/m/n", "/m/b.png"),
        ("/x/b.png", "/m", "/x/b.png"),
        ("a/b.png", "s3://bucket/list", "s3://bucket/list/a/b.png"),
        ("./b.png", "s3://bucket", "s3://bucket/b.png"),
        ("file:///x/b.png", "/m", "/x/b.png"),
        ("file://x/b.png", "/m", "/m/x/b.png"),
        ("file:///x/b.png", "s3://shop", "/x/b.png"),
        ("s3://b/c.png", "/m", "s3://b/c.png"),
        ("https://x.test/a.png", "/m", "https://x.test/a.png"),
        ("api-assets/1.png", "/m", "api-assets/1.png"),
        ("saved-items/1", "s3://bucket/list", "saved-items/1"),
    ],
)
def test_paths_are_resolved_against_the_manifest(stated: Any, base: Any, where: Any) -> None:
    """Relative paths start at the manifest's folder, wherever that is."""
    assert resolve_image(stated, base) == where


@pytest.mark.parametrize(("written", "on_disk"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_both_unicode_forms_of_a_name_find_the_file(image: Any, tmp_path: Path, written: Any, on_disk: Any) -> None:
    """A name typed on a Mac finds the file on Linux and the other way round."""
    image(normalize(on_disk, "Café が.png"))
    where = resolve_image(normalize(written, "Café が.png"), tmp_path)
    assert inspect_image(where).extension == "png"


def test_a_link_that_leads_nowhere_is_not_taken_for_its_own_mistake(beside: Any, tmp_path: Path) -> None:
    """It is there, so its name is not what is wrong."""
    (tmp_path / "vase.png").symlink_to("gone.png")
    (problem,) = beside("vase.png").problems
    assert (problem.what, problem.remedy) == ("no such file", "It is a link, and what it leads to is not there.")


@pytest.mark.parametrize("written", ["NFC", "NFD"])
def test_each_folder_has_a_unicode_form_of_its_own(image: Any, tmp_path: Path, beside: Any, written: str) -> None:
    """A folder from Linux has files from a Mac in it; a name that differs in case too is what may be meant."""
    image(f"{normalize('NFC', 'Frühjahr')}/{normalize('NFD', 'Grün')}.png")
    stated = normalize(written, "Frühjahr/Grün.png")
    assert inspect_image(resolve_image(stated, tmp_path)).extension == "png"
    (problem,) = beside(stated, normalize(written, "Frühjahr/grün.PNG")).problems
    assert "Did you mean" in problem.remedy
    assert "Grün.png" in normalize("NFC", problem.remedy)


def _frame(*images: str, **columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"image_path": images, "prompt": "Pan", **columns}, dtype=object)


@pytest.fixture
def beside(read: Any, csv_file: Any) -> Any:
    """Read a manifest that lies beside the images, with these in `image_path`."""

    def read_beside(*images: str, **options: Any) -> Any:
        return read(csv_file("image_path,prompt\n" + "".join(f'"{name}",Pan\n' for name in images)), **options)

    return read_beside


def test_local_images_are_checked(beside: Any, image: Any) -> None:
    """Present ones are fine; missing and foreign ones are problems of their rows; what is stated is kept."""
    image("in/a.png")
    image("in/b.gif").rename(image("in/b.png"))
    outcome = beside("in/a.png", "in/b.png", "in/c.png", "in")
    assert [(number, what) for number, _, what in outcome.whats] == [
        (2, "a GIF, which the API does not take"),
        (3, "no such file"),
        (4, "a directory, not a file"),
    ]
    assert [row.request.image_path for row in outcome.rows] == ["in/a.png", "in/b.png", "in/c.png", "in"]
    assert outcome.rows[0].fingerprint == outcome.rows[0].request.fingerprint()


def test_images_need_not_be_looked_at(beside: Any) -> None:
    """The check can be turned off."""
    assert beside("none.png", change={"images": False}).problems == []


def test_an_image_that_many_rows_name_is_looked_at_once(beside: Any, image: Any) -> None:
    """A reused image costs one look: ten thousand rows are quick, and the fault is found in each."""
    path = image("a.png")
    assert beside(*["a.png"] * 10_000).problems == []
    path.write_bytes(b"")
    assert len(beside(*["a.png"] * 10_000).problems) == 10_000


def test_the_upload_limit_is_that_of_the_plan(beside: Any, tmp_path: Path) -> None:
    """Without a tier creator's two gigabytes hold; a sparse file is judged by its size alone."""
    with (tmp_path / "huge.png").open("wb") as file:
        file.truncate(3 << 30)
    for change in ({}, {"tier": "creator"}, {"tier": "free"}):
        assert "more than the 2,147,483,648" in beside("huge.png", change=change).problems[0].what
    assert "no image" in beside("huge.png", change={"tier": "pro"}).problems[0].what


def test_end_images_are_checked(read: Any, tmp_path: Path, image: Any) -> None:
    """The same rules for the second image."""
    image("a.png")
    path = tmp_path / "c.jsonl"
    path.write_text('{"image_path": "a.png", "prompt": "Pan", "end_image_path": "b.png"}\n')
    assert read(path).whats == [(1, "end_image_path", "no such file")]


def test_file_addresses_are_local(read: Any, image: Any) -> None:
    """`file://` is looked at like any path."""
    path = image("a.png")
    outcome = read(_frame(f"file://{path}", f"file://{path}x"))
    assert [(number, what) for number, _, what in outcome.whats] == [(2, "no such file")]


@pytest.mark.parametrize(
    "url",
    [
        "https://x.test/a.png",
        "http://x.test/a.JPEG",
        "https://x.test:8080/a/b.c/d.Webp?size=2#x",
        "https://magichour.ai/my-library?imageId=abc",
        "https://x.test/%E8%8A%B1.heic",
        "https://x.test/花.tif",
        "api-assets/id/1.png",
        "saved-items/characters/1",
        "s3://bucket/a.png",
        "S3://bucket/a.png",
    ],
)
def test_good_addresses(read: Any, url: Any) -> None:
    """These are neither problems nor warnings."""
    outcome = read(_frame(url, url))
    assert outcome.problems == outcome.warnings == []


@pytest.mark.parametrize(
    "url",
    [
        "https://",
        "https:///a.png",
        "https://x.test/a b.png",
        "https://x.test\\a.png",
        "https://[x.test/a.png",
        "https://?a.png",
        "https://x.test/a\tb.png",
        "https://magichour.ai/my-library",
        "https://magichour.ai/my-library?imageId=",
        "htps://x.test/a.png",
        "api-assets/",
        "saved-items/",
        "data:image/png;base64,AAAA",
    ],
)
def test_bad_addresses(read: Any, url: Any) -> None:
    """These can't work and are problems."""
    outcome = read(_frame("https://x.test/good.png", url))
    assert [(number, column) for number, column, _ in outcome.whats] == [(2, "image_path")]


def test_addresses_without_an_extension_are_one_warning(read: Any) -> None:
    """They may work: a warning for the file, with the first row and how many there are."""
    outcome = read(_frame("https://x.test/a.png", "https://x.test/b", "https://x.test/c.gif", "https://x.png"))
    assert outcome.problems == []
    assert [warning.row_number for warning in outcome.warnings] == [2]
    assert "3 rows" in outcome.warnings[0].what


@pytest.mark.parametrize(
    ("size", "fits"), [((160, 90), True), ((90, 160), True), ((161, 90), True), ((100, 100), False)]
)
def test_a_models_aspect_ratios_are_checked(read: Any, image: Any, size: Any, fits: Any) -> None:
    """sora-2 takes 9:16 and 16:9, give or take two percent."""
    outcome = read(_frame(str(image("a.png", size)), model="sora-2", end_seconds=4, resolution="720p"))
    assert [problem.column for problem in outcome.problems] == ([] if fits else ["image_path"])


def test_aspect_ratios_follow_the_orientation(read: Any, image: Any) -> None:
    """What counts is the picture as displayed; images elsewhere are not measured."""
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = image("a.jpg", (100, 75), exif=exif.tobytes())
    outcome = read(_frame(str(turned), "https://x.test/a.png", model="sora-2", end_seconds=4))
    assert [problem.what for problem in outcome.problems] == [
        "75 x 100 pixels, but the model takes only 9:16 and 16:9"
    ]


def test_images_beside_a_remote_manifest_are_not_opened(read: Any) -> None:
    """They are found out about when they are uploaded."""
    with fsspec.open("memory://far/c.csv", "wb") as file:
        file.write(b"image_path,prompt\nin/a.png,Pan\n")
    assert read("memory://far/c.csv", change={"image_schemes": ("memory",)}).problems == []


def test_a_folder_of_images_can_be_moved(beside: Any, image: Any, tmp_path: Path) -> None:
    """Fingerprints do not depend on where the manifest lies."""
    image("a.png")
    before = beside("a.png").rows
    other = tmp_path / "elsewhere"
    other.mkdir()
    for name in ("a.png", "catalogue.csv"):
        shutil.move(tmp_path / name, other / name)
    assert Path(other / "a.png").exists()
    assert [row.fingerprint for row in before] == [row.request.fingerprint() for row in before]


def test_looking_at_images_keeps_no_files_open(beside: Any) -> None:
    """Thousands of missing or broken images leave nothing behind."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    assert len(beside(*[f"none{number}.png" for number in range(500)], ".").problems) == 501
    assert len(list(Path("/proc/self/fd").iterdir())) == before
