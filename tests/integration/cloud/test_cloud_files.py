"""Single files in a bucket: read in pieces, written whole or not at all, and every trouble in plain words."""

from __future__ import annotations

import asyncio
import io
import os
import platform
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cloud_shop import Bucket, Shop, image, lines
from cloud_storage import Call, Gate
from fsspec.registry import _registry as registered
from sqlalchemy import text
from waiting import until

from reelbatch.domain import RunId
from reelbatch.errors import LedgerUnusable, ManifestError, SettingsError, UploadError, UsageError
from reelbatch.images.bounds import ImageBounds, upload_bound
from reelbatch.ledger import Ledger
from reelbatch.manifest import Checks, ImageProblem, ImageUnseen, ManifestOptions, open_manifest, resolve_image
from reelbatch.model_table import load_models
from reelbatch.pipeline.export import export, format_of
from reelbatch.storage import files
from reelbatch.storage.errors import Bound
from reelbatch.storage.files import CloudProblem, place_of, redact_url
from reelbatch.storage.target import Part, open_target
from reelbatch.submit import Uploader, UploadOptions

MEGABYTE = 1 << 20
TWO_GIGABYTES = upload_bound("creator", load_models().upload_limits)


def rows_of(manifest: str) -> list[Any]:
    """Every row of a manifest."""
    opened = open_manifest(manifest, ManifestOptions(), Checks(models=load_models()))
    return [row for batch in opened.batches() for row in batch.rows]


def uploader(upload: Bound = TWO_GIGABYTES) -> Uploader:
    """One that gets no further than the image: there is no API behind it."""
    images = ImageBounds(upload=upload)
    plan = UploadOptions(owner="x", run_id=RunId("r"), attempts=2, wait_s=0, max_wait_s=0, images=images)
    nothing: Any = None
    return Uploader(nothing, nothing, plan, asyncio.sleep)


@pytest.fixture
def impatient() -> Iterator[None]:
    """S3 with less patience; the user's own configuration of it is kept."""
    fsspec.config.conf["s3"] = {"config_kwargs": {"read_timeout": 0.1, "retries": {"total_max_attempts": 1}}}
    files._storage.cache_clear()
    yield
    del fsspec.config.conf["s3"]
    files._storage.cache_clear()


def test_only_the_wanted_parts_of_a_parquet_manifest_are_fetched(bucket: Bucket, gate: Gate) -> None:
    """A large column that no one asked for stays where it is."""
    table = {
        "row_key": [str(n) for n in range(2000)],
        "image_path": ["https://x.test/a.png"] * 2000,
        "prompt": ["Pan"] * 2000,
        "end_seconds": [2] * 2000,
        "blob": [bytes([n % 251]) * 100 + n.to_bytes(4, "big") * 1000 for n in range(2000)],
    }
    file = io.BytesIO()
    pq.write_table(pa.table(table), file, compression="none", row_group_size=500, use_dictionary=False)
    address = bucket.write("wide.parquet", file.getvalue())
    gate.reset()
    assert len(rows_of(address)) == 2000
    assert gate.bytes_out < MEGABYTE < len(file.getvalue())


def test_a_look_at_a_large_text_manifest_fetches_little(bucket: Bucket, gate: Gate) -> None:
    """Its columns are known after some megabytes; reading its rows fetches it once more, a piece at a time."""
    row = "https://x.test/a.png," + "Pan " * 250 + ",2\n"
    size = 18 * MEGABYTE
    address = bucket.write("long.csv", "image_path,prompt,end_seconds\n" + row * (size // len(row)))
    gate.reset()
    manifest = open_manifest(address, ManifestOptions(), Checks(models=load_models()))
    assert gate.bytes_out < size
    next(manifest.batches())
    assert gate.bytes_out < 2.5 * size


@pytest.mark.parametrize(
    ("change", "address", "said"),
    [
        ({}, "s3://{bucket}/none.csv", "none.csv: no such file. Check the path."),
        ({}, "s3://{bucket}x/spring.csv", 'there is no bucket "{bucket}x". Check its name'),
        ({}, "s3://{bucket}", "no kind of manifest|names no file"),
        ({}, "s3://me:hush@{bucket}/spring.csv", "credentials do not belong in an address"),
        ({}, "s4://{bucket}/spring.csv", 'opened: "s4" is no known kind of storage. Use a path'),
        (
            {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""},
            "s3://{bucket}/spring.csv",
            "there are no credentials for it. Set AWS_ACCESS_KEY_ID",
        ),
        (
            {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"},
            "s3://{bucket}/spring.csv",
            "not reachable now: no connection to 127.0.0.1:9. Check the network and the endpoint",
        ),
        (
            {"AWS_ENDPOINT_URL": "http://no-such-host.invalid"},
            "s3://{bucket}/spring.csv",
            "not reachable now: no connection to no-such-host.invalid",
        ),
        (
            {"AWS_ENDPOINT_URL": "nonsense"},
            "s3://{bucket}/spring.csv",
            "Invalid endpoint: nonsense. Check the address",
        ),
    ],
)
def test_what_is_wrong_with_an_address_is_said(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, change: dict[str, str], address: str, said: str
) -> None:
    """The address, what it is, and what to do; never a password."""
    for name, value in change.items():
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name)
    with pytest.raises(ManifestError, match=said.replace("{bucket}", bucket.name)) as raised:
        rows_of(address.replace("{bucket}", bucket.name))
    assert bucket.name in str(raised.value)
    assert "hush" not in "".join(traceback.format_exception(raised.value))


def test_credentials_that_are_set_later_are_found(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a notebook, no one has to start again after setting them."""
    address = bucket.write("spring.csv", lines(["https://x.test/a.png"]))
    with monkeypatch.context() as without:
        without.delenv("AWS_ACCESS_KEY_ID")
        without.delenv("AWS_SECRET_ACCESS_KEY")
        with pytest.raises(ManifestError, match="no credentials"):
            rows_of(address)
    assert len(rows_of(address)) == 1


@pytest.mark.parametrize(
    ("scheme", "package", "extra"),
    [("s3", "s3fs", "s3"), ("gs", "gcsfs", "gcs"), ("abfs", "adlfs", "azure")],
)
def test_a_missing_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str, package: str, extra: str
) -> None:
    """Wherever such an address is given, the answer is what to install."""
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(registered, scheme, raising=False)
    (tmp_path / "local.csv").write_text(lines([f"{scheme}://shop/a.png"]))
    said = rf"pip install 'reelbatch\[{extra}\]'"
    with pytest.raises(ManifestError, match=said):
        rows_of(f"{scheme}://shop/spring.csv")
    with pytest.raises(UsageError, match=said):
        format_of(f"{scheme}://shop/spring.parquet")
    with pytest.raises(SettingsError, match=said):
        open_target(f"{scheme}://shop/videos")
    (row,) = rows_of(str(tmp_path / "local.csv"))
    assert f"pip install 'reelbatch[{extra}]'" in (row.problem or "")


def test_a_connection_lost_while_reading_is_no_damage(bucket: Bucket, gate: Gate) -> None:
    """A manifest that breaks off in the middle is out of reach, not cut off."""
    row = "https://x.test/a.png," + "Pan " * 250 + ",2\n"
    address = bucket.write("long.csv", "image_path,prompt,end_seconds\n" + row * (12 * MEGABYTE // len(row)))
    manifest = open_manifest(address, ManifestOptions(), Checks(models=load_models()))
    gate.reset()
    gate.refuse = lambda call: 500 if call.method == "GET" and gate.bytes_out > 4 * MEGABYTE else None
    with pytest.raises(ManifestError, match=r"long\.csv: can't be read: not reachable now"):
        list(manifest.batches())


@pytest.fixture
def ledger(bucket: Bucket, shop: Shop) -> Iterator[Ledger]:
    """A results table of one row."""
    shop.generate(bucket.write("one.csv", lines(["https://images.example.com/a.png"])))
    with Ledger(shop.results) as opened:
        yield opened


def test_a_failed_export_leaves_the_earlier_one(bucket: Bucket, ledger: Ledger, gate: Gate) -> None:
    """Whether the table can't be read to its end or the storage refuses: the object is the one from before."""
    target = f"{bucket.url}/out/spring.csv"
    export(ledger, target)
    before = bucket.read("out/spring.csv")
    ledger.change(lambda connection: connection.execute(text("UPDATE generations SET width = 'wide'")))
    with pytest.raises(LedgerUnusable, match="wide"):
        export(ledger, target)
    assert bucket.read("out/spring.csv") == before
    ledger.change(lambda connection: connection.execute(text("UPDATE generations SET width = NULL, prompt = 'new'")))
    gate.refuse = lambda call: 500 if call.method == "PUT" else None
    with pytest.raises(UsageError, match=r"out/spring\.csv: can't be written: not reachable now"):
        export(ledger, target)
    gate.reset()
    assert bucket.read("out/spring.csv") == before
    export(ledger, target)
    assert b"new" in bucket.read("out/spring.csv")


def test_a_local_file_url_is_replaced_whole(ledger: Ledger, tmp_path: Path) -> None:
    """`file://` is no exception, and leaves nothing beside the file."""
    out = tmp_path / "out"
    for _ in range(2):
        export(ledger, f"file://{out}/spring.jsonl")
    assert [path.name for path in out.iterdir()] == ["spring.jsonl"]


def test_a_misspelt_bucket_is_not_made(bucket: Bucket, ledger: Ledger) -> None:
    """Neither an export nor a download pays for a new bucket; both name the one that is not there."""
    before = bucket.all_buckets()
    with pytest.raises(UsageError, match=rf'there is no bucket "{bucket.name}x"'):
        export(ledger, f"{bucket.url}x/out.csv")
    with pytest.raises(SettingsError, match=rf'there is no bucket "{bucket.name}x"'):
        open_target(f"{bucket.url}x/videos").prepare()
    assert bucket.all_buckets() == before


@pytest.mark.parametrize("act", [format_of, lambda url: open_target(url.rpartition("/")[0])])
def test_a_target_that_cannot_be_is_refused_before_anything_is_sent(act: Callable[[str], object]) -> None:
    """A typo in the scheme is not found out after the money is spent."""
    with pytest.raises(UsageError, match='"s4" is no known kind of storage'):
        act("s4://shop/out.parquet")


def test_a_folder_in_a_bucket_holds_whole_files(bucket: Bucket, tmp_path: Path, gate: Gate) -> None:
    """A storage that lets no one delete is good enough, and nothing is copied about in it."""
    gate.refuse = lambda call: 403 if call.method in {"DELETE", "POST"} else None
    folder = open_target(f"{bucket.url}/videos")
    folder.prepare()
    part = folder.part("x.part")
    part.write_bytes(b"video")
    folder.place(Part(part, 5), "a.mp4", replace=False)
    assert bucket.read("videos/a.mp4") == b"video"
    assert not [call for call in gate.calls if "copy" in call.path.lower()]
    part.write_bytes(b"video")
    assert folder.holds(Part(part, 5), "a.mp4")
    part.write_bytes(b"VIDEO")
    assert folder.holds(Part(part, 5), "a.mp4") is False
    assert folder.holds(Part(part, 5), "b.mp4") is None
    folder.close()


def test_a_presigned_address_is_a_manifest_and_stays_secret(bucket: Bucket) -> None:
    """It is read, its batch is called after the file, and no message or traceback has its signature."""
    bucket.write("spring.csv", lines(["https://x.test/a b.png?X-Amz-Signature=abc123"]))
    opened = open_manifest(bucket.presigned("spring.csv"), ManifestOptions(), Checks(models=load_models()))
    assert (opened.stem, opened.base) == ("spring", f"{opened.name.rpartition('/')[0]}")
    (problem,) = [problem for batch in opened.batches() for problem in batch.problems]
    assert "?" not in opened.name.replace("?…", "")
    assert "abc123" not in str(problem)
    bucket.write("bad.csv", "nothing\n1\n")
    for key in ("none.csv", "bad.csv"):
        with pytest.raises(ManifestError, match=rf"{key}\?…") as raised:
            rows_of(bucket.presigned(key))
        assert "ignature=" not in "".join(traceback.format_exception(raised.value))


@pytest.mark.parametrize(
    ("address", "seen", "place"),
    [
        ("s3://shop/a/b.png", "s3://shop/a/b.png", "s3://shop"),
        ("sftp://me:pw@host:22/a b.png", "sftp://host:22/a b.png", "sftp://host:22"),
        ("https://x.test/a.png?X-Amz-Signature=1&b=2", "https://x.test/a.png?…", "https://x.test"),
        ("simplecache::ftp://me:pw@host/a@2x.png", "simplecache::ftp://host/a@2x.png", "simplecache::ftp://host"),
        ("data/what?.png", "data/what?.png", "data"),
        ("/data/a?b=c.png", "/data/a?b=c.png", ""),
    ],
)
def test_addresses_are_shown_without_secrets(address: str, seen: str, place: str) -> None:
    """Paths are left as they are."""
    assert (redact_url(address), place_of(address)) == (seen, place)


@pytest.mark.parametrize(
    ("stated", "base", "where"),
    [
        ("../b.png", "s3://shop/list/old", "s3://shop/list/b.png"),
        ("../../../b.png", "s3://shop/list", "s3://shop/b.png"),
        ("a/./b.png", "s3://shop", "s3://shop/a/b.png"),
        ("a//b.png", "s3://shop/list", "s3://shop/list/a//b.png"),
        ("../b.png", "simplecache::s3://shop/list", "simplecache::s3://shop/b.png"),
    ],
)
def test_relative_paths_stay_in_their_bucket(stated: str, base: str, where: str) -> None:
    """Storages know no `..`; keys with two strokes are keys of their own."""
    assert resolve_image(stated, base) == where


async def test_a_storage_that_never_answers_holds_up_no_one(
    bucket: Bucket, gate: Gate, tmp_path: Path, impatient: None
) -> None:
    """The wait ends by itself, with words, and the event loop goes on meanwhile."""
    address = bucket.write("a.png", image())
    gate.opened.clear()
    copying = asyncio.create_task(files.fetch(address, tmp_path / "a", TWO_GIGABYTES))
    ticks = 0
    while not copying.done():
        await asyncio.sleep(0.01)
        ticks += 1
    with pytest.raises(CloudProblem, match="not reachable now: no answer in time"):
        await copying
    assert ticks > 20


async def test_a_copy_that_is_called_off_ends_at_once(bucket: Bucket, gate: Gate, tmp_path: Path) -> None:
    """Ctrl-C does not wait for a storage that says nothing."""
    address = bucket.write("a.png", image())
    gate.opened.clear()
    copying = asyncio.create_task(files.fetch(address, tmp_path / "a", TWO_GIGABYTES))
    await until(lambda: Call("GET", f"/{bucket.name}/a.png") in gate.calls, "the copy has begun")
    copying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await copying
    assert not (tmp_path / "a").exists()


async def test_an_image_of_a_missing_bucket_is_not_called_missing(bucket: Bucket) -> None:
    """That is everybody's trouble in this bucket; a missing object is its row's own."""
    with pytest.raises(UploadError, match=rf'images in {bucket.url}x: there is no bucket "{bucket.name}x"'):
        await uploader().asset(f"{bucket.url}x/a.png", ".")
    with pytest.raises(ImageProblem, match="no such file"):
        await uploader().asset(f"{bucket.url}/a.png", ".")


async def test_an_object_that_is_too_large_is_not_fetched(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its row is invalid, with the limit and whose it is; nothing is left in the temporary folder."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    address = bucket.write("a.png", image() + bytes(MEGABYTE))
    limit = upload_bound("creator", {"creator": MEGABYTE})
    said = (
        rf"more than the 1,048,576 bytes that may be uploaded \(the limit of the tier creator\): {address}\. Shrink"
    )
    with pytest.raises(ImageProblem, match=said):
        await uploader(limit).asset(address, ".")
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - a short look


@pytest.mark.parametrize("address", ["simplecache::{gate}/a.png", "zip://a.png::{gate}/a.zip", "reference::{gate}/a"])
async def test_no_cell_makes_this_machine_ask_its_own_services(gate: Gate, address: str) -> None:
    """A chain that begins with a cache and ends on loopback is not followed one step."""
    with pytest.raises(ImageProblem, match="chains are not followed"):
        await uploader().asset(address.format(gate=gate.url), ".")
    assert gate.calls == []


async def test_an_image_that_only_another_machine_sees_is_not_called_missing(tmp_path: Path) -> None:
    """This machine says its name and the whole path, and what to do; that is no verdict on the image."""
    with pytest.raises(ImageUnseen) as raised:
        await uploader().asset("images/a.png", str(tmp_path))
    said = str(raised.value)
    assert f'this machine ({platform.node()}) can\'t see image "{tmp_path}/images/a.png" (no such file)' in said
    assert said.endswith("Put images where every worker sees them: a shared folder, s3:// or https://.")


async def test_an_image_that_is_there_and_is_none_is_its_rows_mistake(tmp_path: Path) -> None:
    """Not every trouble with a local file is one of this machine."""
    (tmp_path / "a.png").write_text("just text")
    (tmp_path / "b.png").mkdir()
    for name in ("a.png", "b.png"):
        with pytest.raises(ImageProblem) as raised:
            await uploader().asset(name, str(tmp_path))
        assert not isinstance(raised.value, ImageUnseen)
