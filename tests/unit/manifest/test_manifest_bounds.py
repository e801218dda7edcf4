"""What a cell can make this machine fetch, and how much of what it names."""

from __future__ import annotations

import asyncio
import gzip
import io
import os
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pandas as pd
import pytest
from fsspec.asyn import AsyncFileSystem
from fsspec.spec import AbstractFileSystem
from packaging.requirements import Requirement

from reelbatch.domain import RunId
from reelbatch.errors import ManifestError
from reelbatch.images.bounds import ImageBounds, upload_bound
from reelbatch.manifest import ImageProblem
from reelbatch.manifest.image_checks import ImageChecks
from reelbatch.model_table import load_models
from reelbatch.storage import files
from reelbatch.storage.errors import Bound, Trouble
from reelbatch.storage.files import CloudProblem
from reelbatch.submit import Uploader, UploadOptions

ROOT = Path(__file__).parents[3]
MEGABYTE = 1 << 20
SMALL = Bound(MEGABYTE, Trouble("more than may be", "Shrink it.", is_files_own=True))
SCHEMES = ("reference", "webhdfs", "ftp", "sftp", "zip", "tar", "github", "memory", "data", "local", "smb", "cached")
CHAINS = (
    "simplecache::http://127.0.0.1:9/a.png",
    "zip://a.png::s3://shop/a.zip",
    "zip::file:///tmp/a.zip",
    "s3://shop/a.png::reference://",
    "FILECACHE::s3://shop/a.png",
    "file:///tmp/a::b.png",
    "s3::memory://a.png",
)


def frame(*images: str) -> pd.DataFrame:
    """A manifest of these images."""
    return pd.DataFrame({"image_path": images, "prompt": "Pan"}, dtype=object)


def uploader(**bounds: Any) -> Uploader:
    """One that gets no further than the image: there is no API behind it."""
    images = ImageBounds(**{"upload": SMALL, **bounds})
    plan = UploadOptions(owner="x", run_id=RunId("r"), attempts=2, wait_s=0, max_wait_s=0, images=images)
    nothing: Any = None
    return Uploader(nothing, nothing, plan, asyncio.sleep)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_an_image_of_another_storage_makes_its_row_invalid(read: Any, scheme: str) -> None:
    """Row, column, scheme and remedy are named; the rows beside it are not touched."""
    outcome = read(frame("https://x.test/a.png", f"{scheme}://host/a.png", f"{scheme.upper()}://host/a.png"))
    assert outcome.whats == [
        (2, "image_path", f"images are not fetched from {scheme}://"),
        (3, "image_path", f"images are not fetched from {scheme}://"),
    ]
    assert outcome.problems[0].value == f"{scheme}://host/a.png"
    assert outcome.problems[0].remedy == (
        "Use a path, http(s):// or one of these: s3://, gs://, gcs://, abfs://, abfss://, az://, file://. "
        f"If it is meant, add {scheme} to image_schemes."
    )
    assert [row.problem is None for row in outcome.rows] == [True, False, False]


@pytest.mark.parametrize("chain", CHAINS)
def test_a_chain_of_addresses_makes_its_row_invalid(read: Any, chain: str) -> None:
    """Whatever is at its ends, and whatever the settings allow."""
    outcome = read(frame(chain), change={"image_schemes": ("simplecache", "zip", "filecache", "s3", "file")})
    ((number, column, what),) = outcome.whats
    assert (number, column) == (1, "image_path")
    assert what == f"a chain of addresses ({files.scheme_of(chain)}…::…), and chains are not followed"


def test_an_end_image_is_held_to_the_same(read: Any) -> None:
    """It is fetched in the same way."""
    manifest = frame("https://x.test/a.png").assign(end_image_path="ftp://host/b.png")
    assert read(manifest).whats == [(1, "end_image_path", "images are not fetched from ftp://")]


def test_paths_files_and_web_addresses_stay(read: Any, image: Any) -> None:
    """Plain paths and file:// are looked at, http and https are passed on."""
    path = image("a.png")
    outcome = read(frame(str(path), f"file://{path}", "http://x.test/a.png", "https://x.test/a.png"))
    assert outcome.problems == outcome.warnings == []


def test_the_list_can_be_longer_and_shorter(read: Any, image: Any) -> None:
    """What a setting adds is taken, what it leaves out is not."""
    change = {"image_schemes": ("memory",)}
    outcome = read(frame("memory://shop/a.png", f"file://{image('a.png')}", "s3://shop/a.png"), change=change)
    assert [(number, what) for number, _, what in outcome.whats] == [
        (2, "images are not fetched from file://"),
        (3, "images are not fetched from s3://"),
    ]


def test_a_relative_path_leads_nowhere_else(read: Any) -> None:
    """Beside a manifest behind a URL a cell is held to the same list, and begins no chain."""
    with fsspec.open("memory://near/c.csv", "wb") as file:
        file.write(b"image_path,prompt\na.png,Pan\nb/a.png::reference://x,Pan\n")
    outcome = read("memory://near/c.csv", change={"image_schemes": ("memory",)})
    assert [number for number, _, _ in outcome.whats] == [2]
    assert "chain" in outcome.problems[0].what
    assert read("memory://near/c.csv").whats[0] == (1, "image_path", "images are not fetched from memory://")


async def test_beside_a_manifest_on_the_web_images_are_passed_on(checks: Any) -> None:
    """No address on the web is fetched from, however it is spelt."""
    looked = ImageChecks(checks, "https://x.test/list")
    found = looked.look(["a.png", "../b.png", "c d.png"], ["", "", ""]).findings
    assert [(index, finding.column) for index, finding in found] == [(2, "image_path")]
    asset = await uploader().asset("../b.png", "https://x.test/list")
    assert (asset.path, asset.mark) == ("https://x.test/b.png", "https://x.test/b.png")


@pytest.mark.parametrize("address", [*CHAINS, "reference://x/a.png", "webhdfs://127.0.0.1/a.png", "memory://a.png"])
async def test_a_row_that_was_checked_elsewhere_is_held_to_this_machines_list(address: str) -> None:
    """The last to look is the one who fetches: a table may be older than the list, or another machine's."""
    with pytest.raises(ImageProblem, match=r"chains are not followed|images are not fetched from"):
        await uploader().asset(address, ".")


@pytest.mark.parametrize("act", [files.check, files.open_remote, files.size, files.names, files.facts, files.remove])
def test_no_chain_reaches_a_storage(act: Any) -> None:
    """Manifests, exports and videos: one place opens addresses, and it opens no chain."""
    with pytest.raises(CloudProblem, match="chains are not followed"):
        act("simplecache::memory://near/c.csv")


class Endless(AbstractFileSystem):
    """A storage whose files never end and whose lengths are not known."""

    protocol = "endless"
    given = 0

    def _open(self, *_: Any, **__: Any) -> Any:
        storage = self

        class File(io.RawIOBase):
            def read(self, size: int = -1) -> bytes:
                storage.given += size
                return bytes(size)

        return File()


class EndlessAsync(AsyncFileSystem):
    """The same with fsspec's asynchronous API: like a storage that sends its files compressed."""

    protocol = "endlessly"
    given = 0

    async def _get_file(self, _: str, lpath: str, callback: Any = None, **__: Any) -> None:
        with Path(lpath).open("wb") as file:  # noqa: ASYNC230 - as the libraries do it
            while True:
                callback.relative_update(file.write(bytes(MEGABYTE)))
                self.given += MEGABYTE
                await asyncio.sleep(0)


class Silent(AsyncFileSystem):
    """One that keeps no account of what it copies."""

    protocol = "silent"

    async def _get_file(self, _: str, lpath: str, **__: Any) -> None:
        Path(lpath).write_bytes(bytes(2 * MEGABYTE))  # noqa: ASYNC240 - as above


@pytest.fixture(params=[Endless, EndlessAsync, Silent], ids=lambda kind: kind.protocol)
def storage(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A storage that gives more than anyone wants, as fsspec knows it."""
    from fsspec.registry import _registry

    kind = request.param
    fsspec.register_implementation(kind.protocol, kind, clobber=True)
    yield kind()
    _registry.pop(kind.protocol)
    kind.clear_instance_cache()


async def test_no_more_is_fetched_than_may_be_uploaded(
    storage: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The transfer ends at the limit, its row is invalid, and the temporary folder is empty again."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(ImageProblem, match=r"more than may be: .*a\.png\. Shrink it\."):
        await uploader(schemes=[storage.protocol]).asset(f"{storage.protocol}://shop/a.png", ".")
    assert getattr(storage, "given", 0) <= 8 * MEGABYTE
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - a short look


async def test_a_local_image_is_held_to_the_limit_as_it_is_uploaded(tmp_path: Path) -> None:
    """It may have grown since it was checked, or have been checked for another account."""
    with (tmp_path / "a.png").open("wb") as file:
        file.truncate(3 * MEGABYTE)
    with pytest.raises(ImageProblem, match="3,145,728 bytes, more than may be"):
        await uploader().asset("a.png", str(tmp_path))


@pytest.mark.parametrize(
    ("tier", "size", "whose"),
    [
        ("creator", 2 << 30, "the limit of the tier creator"),
        ("pro", 5 << 30, "the limit of the tier pro"),
        ("business", 10 << 30, "the limit of the tier business"),
        ("free", 2 << 30, "the smallest limit, since none is known for the tier free"),
        (None, 2 << 30, "the smallest limit, since no tier is stated"),
    ],
)
def test_the_limit_is_the_accounts_and_says_so(tier: Any, size: int, whose: str) -> None:
    """Where it is not known, the smallest one holds."""
    bound = upload_bound(tier, load_models().upload_limits)
    assert bound.size == size
    assert bound.trouble.what == f"more than the {size:,} bytes that may be uploaded ({whose})"


@pytest.mark.parametrize("brand", [b"avif", b"heic"])
def test_a_huge_image_that_would_be_read_whole_is_not(read: Any, tmp_path: Path, brand: bytes) -> None:
    """HEIC and AVIF are read whole by their libraries, so a gigabyte that only says that it is one is refused."""
    with (tmp_path / "a.png").open("wb") as file:
        file.write(b"\0\0\0\x18ftyp" + brand)
        file.truncate(1 << 30)
    (problem,) = read(frame(str(tmp_path / "a.png"))).problems
    assert problem.what == "1,073,741,824 bytes, which no HEIC or AVIF image has"


@pytest.mark.parametrize("name", ["c.csv", "c.jsonl"])
def test_a_packed_manifest_unpacks_only_so_far(read: Any, csv_file: Any, name: str) -> None:
    """A small file that becomes a huge one is refused in one line; as long as it is plain, it is what it is."""
    row = (
        "https://x.test/a.png,Pan\n"
        if name.endswith("csv")
        else '{"image_path": "https://x.test/a.png", "prompt": "Pan"}\n'
    )
    text = ("image_path,prompt\n" if name.endswith("csv") else "") + row * 100_000
    packed = csv_file(gzip.compress(text.encode()), f"{name}.gz")
    with pytest.raises(ManifestError, match=rf"{name}\.gz: more than 1,048,576 bytes of text\. Split it") as error:
        read(packed, largest_text=MEGABYTE)
    assert "\n" not in str(error.value)
    assert len(read(packed).rows) == len(read(csv_file(text, name), largest_text=MEGABYTE).rows) == 100_000


def test_a_manifest_behind_a_url_is_fetched_only_so_far(read: Any) -> None:
    """Its text goes to a temporary file, which must not fill the disk."""
    with fsspec.open("memory://near/long.csv", "wb") as file:
        file.write(b"image_path,prompt\n" + b"https://x.test/a.png,Pan\n" * 100_000)
    with pytest.raises(ManifestError, match=r"memory://near/long\.csv: more than 1,048,576 bytes of text"):
        read("memory://near/long.csv", largest_text=MEGABYTE)


def test_a_zip_is_never_unpacked(read: Any, tmp_path: Path) -> None:
    """Gigabytes in a small archive stay in it."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", bytes(8 * MEGABYTE))
    for address in (f"zip://a.png::file://{tmp_path}/a.zip", f"{tmp_path}/a.zip"):
        assert len(read(frame(address)).problems) == 1


def test_no_fsspec_is_allowed_that_runs_code_from_a_cell() -> None:
    """Before 2026.6 a document behind reference:// is a template that may hold Python; the locked one is later."""
    stated = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    (fsspec_,) = [each for each in map(Requirement, stated) if each.name == "fsspec"]
    assert "2026.4.0" not in fsspec_.specifier
    for name in ("requirements.lock", "requirements-dev.lock"):
        lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
        (locked,) = [line for line in lines if line.startswith("fsspec==")]
        assert locked.removeprefix("fsspec==").split()[0] in fsspec_.specifier
