"""From a manifest in a bucket to videos in it: nothing lies on this machine but the results table."""

from __future__ import annotations

import gzip
import io
import sys
from typing import Any

import forked
import fsspec
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from cloud_shop import Bucket, Shop, image, lines
from cloud_storage import Call, Gate

from reelbatch.domain import Batch
from reelbatch.ledger import Ledger
from reelbatch.ledger.csv_stream import Wanted
from reelbatch.pipeline.export import export


def as_parquet(text: str) -> bytes:
    """The same manifest in Parquet."""
    file = io.BytesIO()
    pq.write_table(pa_csv.read_csv(io.BytesIO(text.encode())), file)
    return file.getvalue()


@pytest.mark.parametrize("name", ["list/spring.csv", "list/spring.parquet", "list/spring.csv.gz"])
def test_a_whole_run_in_a_bucket(bucket: Bucket, shop: Shop, name: str) -> None:
    """Manifest, images beside and above it, videos and the exported table are all s3:// addresses."""
    bucket.write("list/images/a.png", image(1))
    bucket.write("shared/b.png", image(2))
    other = bucket.write("c.png", image(3))
    text = lines(["images/a.png", "../shared/b.png", other, "./images/a.png"])
    content = as_parquet(text) if name.endswith("parquet") else text.encode()
    if name.endswith("gz"):
        content = gzip.compress(content)
    before = shop.uploads()
    report = shop.generate(bucket.write(name, content), settle=True, downloads=f"{bucket.url}/videos")
    assert report.exit_code == 0
    rows = shop.rows("spring")
    assert [row["state"] for row in rows] == ["complete"] * 4
    assert [row["video_path"] for row in rows] == [f"{bucket.url}/videos/r{n}.mp4" for n in range(1, 5)]
    assert shop.uploads() == before + 3
    with Ledger(shop.results) as ledger:
        assert export(ledger, f"{bucket.url}/out/spring.parquet", Wanted(Batch("spring"))) == 4
    assert pq.read_table(io.BytesIO(bucket.read("out/spring.parquet"))).num_rows == 4
    videos = {f"videos/r{n}.mp4" for n in range(1, 5)}
    assert bucket.objects() == {name, "list/images/a.png", "shared/b.png", "c.png", "out/spring.parquet", *videos}
    assert all(bucket.read(video)[4:8] == b"ftyp" for video in videos)


def test_a_whole_run_in_memory(shop: Shop) -> None:
    """The same on any other fsspec URL."""
    files = fsspec.filesystem("memory")
    files.pipe({"/far/list/summer.csv": lines(["a.png"]).encode(), "/far/list/a.png": image(4)})
    settings: dict[str, Any] = {"settle": True, "downloads": "memory://far/videos", "image_schemes": ["memory"]}
    report = shop.generate("memory://far/list/summer.csv", **settings)
    assert report.exit_code == 0
    assert files.cat("/far/videos/r1.mp4")[4:8] == b"ftyp"
    with Ledger(shop.results) as ledger:
        for ending in ("csv", "jsonl"):
            export(ledger, f"memory://far/out/summer.{ending}")
            assert b"r1" in files.cat(f"/far/out/summer.{ending}")
    assert len(files.ls("/far/out")) == 2
    files.rm("/far", recursive=True)


def test_an_image_that_is_out_of_reach_waits(bucket: Bucket, shop: Shop, gate: Gate) -> None:
    """A storage in trouble leaves the row pending with its reason; the others go on, the next run finishes."""
    bucket.write("a.png", image(5))
    bucket.write("b.png", image(6))
    manifest = bucket.write("waits.csv", lines(["a.png", "b.png"]))
    gate.refuse = lambda call: 503 if "b.png" in call.path else None
    report = shop.generate(manifest)
    good, waiting = shop.rows("waits")
    assert (good["state"], waiting["state"], waiting["error_code"]) == ("queued", "pending", "upload")
    assert "not reachable now" in waiting["error_message"]
    assert bucket.url in waiting["error_message"]
    assert (report.exit_reason, report.unsent) == ("done", {"upload": 1})
    gate.reset()
    assert shop.generate(manifest).exit_code == 0


def test_a_stumbling_storage_is_asked_again(bucket: Bucket, shop: Shop, gate: Gate) -> None:
    """An image that does not come at once comes with the run's own next attempt."""
    bucket.write("a.png", image(7))
    manifest = bucket.write("stumbles.csv", lines(["a.png"]))
    failing = iter([503] * 2)  # s3fs and its library try twice
    gate.refuse = lambda call: next(failing, None) if "a.png" in call.path else None
    assert shop.generate(manifest).exit_code == 0
    assert next(failing, None) is None


def test_an_image_that_is_not_in_its_bucket_is_invalid(bucket: Bucket, shop: Shop) -> None:
    """No one can see it, so that is the row's own mistake; it is checked again with the next run."""
    manifest = bucket.write("gone.csv", lines(["none.png"]))
    shop.generate(manifest)
    (row,) = shop.rows("gone")
    assert (row["state"], row["error_code"]) == ("invalid", "image")
    assert row["error_message"] == f"no such file: {bucket.url}/none.png. Check the path."
    bucket.write("none.png", image(8))
    assert shop.generate(manifest).exit_code == 0


def test_a_storage_that_is_down_stops_the_run(bucket: Bucket, shop: Shop, gate: Gate) -> None:
    """Many images that fail for one reason are one failure many times over, not as many riddles."""
    images = [bucket.write(f"{n}.png", image(n)) for n in range(12)]
    manifest = bucket.write("down.csv", lines(images))
    gate.refuse = lambda call: 403 if ".png" in call.path else None
    report = shop.generate(manifest, identical_rejections=4, concurrency=2)
    assert report.exit_reason == "same_failure"
    assert {row["state"] for row in shop.rows("down")} == {"pending"}
    assert any("access is refused" in (row["error_message"] or "") for row in shop.rows("down"))


def test_the_command_line_says_what_is_wrong_with_an_address(bucket: Bucket, shop: Shop) -> None:
    """One line that names the address and what to do, exit code 2, no traceback."""
    command = [sys.executable, "-m", "reelbatch", "plan", f"{bucket.url}/none.csv", "--results", shop.results]
    done = forked.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert f"{bucket.url}/none.csv: no such file. Check the path." in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_a_video_that_cannot_be_put_away_keeps_its_row(bucket: Bucket, shop: Shop, gate: Gate) -> None:
    """The row is complete all the same, and the next settle fetches the video."""
    manifest = bucket.write("away.csv", lines([bucket.write("a.png", image(9))]))
    refused: list[Call] = []

    def refuse(call: Call) -> int | None:
        if call.method == "PUT" and "r1.mp4" in call.path:
            refused.append(call)
            return 503
        return None

    gate.refuse = refuse
    settings: dict[str, Any] = {"settle": True, "downloads": f"{bucket.url}/videos"}
    shop.generate(manifest, **settings)
    (row,) = shop.rows("away")
    assert (row["state"], row["video_path"], bool(refused)) == ("complete", None, True)
    assert not [key for key in bucket.objects() if key.startswith("videos/")]
    gate.reset()
    shop.generate(manifest, **settings)
    assert "videos/r1.mp4" in bucket.objects()
