"""Images on their way: uploaded once for their bytes, and every trouble with one is its own rows' affair."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import fsspec
import pandas as pd
import pytest
from bench import GONE, GOOD, Answer, Arrival, Bench, assert_books_agree, draw, scripted
from ports import free_port
from waiting import until

from reelbatch.client import PIECE_BYTES
from reelbatch.ledger import Ledger, utc_now
from reelbatch.ledger.schema import uploads
from reelbatch.pipeline.run_context import RunContext
from reelbatch.sandbox import RunningSandbox, start


def with_images(bench: Bench, paths: list[Path]) -> pd.DataFrame:
    """A manifest of one row for each image."""
    return bench.rows(len(paths)).assign(image_path=[str(path) for path in paths])


def puts(sandbox: RunningSandbox) -> int:
    """Uploads that the sandbox was sent so far."""
    count: int = sandbox.books(summary=True)["requests"]["put"]
    return count


def test_rows_that_race_for_one_image_share_its_upload(bench: Bench, sandbox: RunningSandbox, tmp_path: Path) -> None:
    """Twenty rows, two paths with the same bytes: one upload; the next batch needs none."""
    paths = [draw(tmp_path / "one.png", 7), draw(tmp_path / "same.png", 7)] * 10
    sandbox.set_faults(every={"upload_slow": 1}, slow_seconds=0.3)
    before = puts(sandbox)
    assert bench.generate(with_images(bench, paths), concurrency=20).exit_code == 0
    assert puts(sandbox) == before + 1
    bench.batch += "-again"
    assert bench.generate(with_images(bench, paths), repeats="send").exit_code == 0
    assert puts(sandbox) == before + 1


def test_both_images_of_a_row_are_uploaded(bench: Bench, sandbox: RunningSandbox, tmp_path: Path) -> None:
    """The end image as well, and each only once."""
    first, last = draw(tmp_path / "first.png", 1), draw(tmp_path / "last.png", 2)
    manifest = with_images(bench, [first] * 6).assign(end_image_path=str(last), model="kling-3.0", resolution="720p")
    manifest["end_seconds"] = 5
    before = puts(sandbox)
    assert bench.generate(manifest).exit_code == 0
    assert puts(sandbox) == before + 2


def test_paths_of_the_api_are_passed_on_as_they_are(bench: Bench, sandbox: RunningSandbox) -> None:
    """Saved items as first and last frame: nothing is looked for, nothing uploaded, and their age is not asked."""
    manifest = bench.rows(3, model="kling-3.0", resolution="720p", end_seconds=5)
    manifest = manifest.assign(image_path="saved-items/products/chair", end_image_path="saved-items/products/table")
    before = puts(sandbox)
    report = bench.generate(manifest)
    assert (report.exit_code, bench.states(), puts(sandbox)) == (0, {"queued": 3}, before)
    assert_books_agree(bench, sandbox, report)
    with scripted(lambda _: Answer()) as api:
        Bench(bench.folder / "sent", api.url).generate(manifest)
        (assets,) = {json.dumps(arrival.body["assets"], sort_keys=True) for arrival in api.arrivals}
    stated = {
        "end_image_file_path": "saved-items/products/table",
        "image_file_path": "saved-items/products/chair",
    }
    assert assets == json.dumps(stated)


@pytest.mark.parametrize("kind", ["upload_url_fail", "upload_url_rate_limited", "upload_fail", "upload_expired"])
def test_uploads_that_fail_at_first_are_tried_again(
    bench: Bench, sandbox: RunningSandbox, tmp_path: Path, kind: str
) -> None:
    """With a fresh address each time."""
    sandbox.set_faults(first={kind: 3})
    report = bench.generate(with_images(bench, [draw(tmp_path / f"{n}.png", n) for n in range(8)]))
    assert (report.exit_code, bench.states()) == (0, {"queued": 8})
    assert_books_agree(bench, sandbox, report)


def test_an_upload_that_fails_for_good_leaves_its_row_pending(
    bench: Bench, sandbox: RunningSandbox, tmp_path: Path
) -> None:
    """With its reason, nothing charged; rows that need no upload go on; the same command again finishes."""
    manifest = bench.rows(12)
    manifest.loc[5, "image_path"] = str(draw(tmp_path / "one.png"))
    sandbox.set_faults(every={"upload_fail": 1})
    report = bench.generate(manifest, retry_attempts=2)
    assert bench.states() == {"queued": 11, "pending": 1}
    assert (report.unsent, report.exit_code) == ({"upload": 1}, 1)
    row = bench.table()[5]
    assert (row["state"], row["error_code"]) == ("pending", "upload")
    assert "500" in row["error_message"]
    sandbox.set_faults()
    assert bench.generate(manifest).exit_code == 0


async def on_run(bench: Bench, manifest: pd.DataFrame, prepare: Callable[[RunContext], None], **settings: Any) -> Any:
    """A run with something done to its run before anything is sent."""
    with Ledger(bench.results) as ledger:
        return await bench.run(ledger, manifest, prepare, **settings)


def test_an_image_that_the_api_has_forgotten_is_uploaded_again(bench: Bench, tmp_path: Path) -> None:
    """The from_cache path is refused; one upload helps all rows, also those that are refused later."""
    image, port = draw(tmp_path / "one.png", 5), free_port()
    with start(queue_seconds=600, render_video=False, port=port) as first:
        bench.url = first.url
        assert bench.generate(with_images(bench, [image])).exit_code == 0
    bench.batch += "-again"
    with start(queue_seconds=600, render_video=False, port=port) as second:
        assert second.url == bench.url
        # At this rate the creates that are ready with the forgotten path are refused one after the other.
        report = bench.generate(with_images(bench, [image] * 30), concurrency=6, rate_limit=20, repeats="send")
        assert (report.exit_code, bench.states()) == (0, {"queued": 30})
        assert_books_agree(bench, second, report)
        assert puts(second) == 1
        assert second.books(summary=True)["requests"]["create"] > 30 + 1


async def test_an_image_that_this_machine_can_not_see_leaves_its_row_pending(bench: Bench, tmp_path: Path) -> None:
    """It was there when the manifest was checked: another machine may see it. The row says which one did not."""
    paths = [draw(tmp_path / f"{n}.png", n) for n in range(12)]
    report = await on_run(bench, with_images(bench, paths), lambda _: paths[4].unlink())
    assert bench.states() == {"queued": 11, "pending": 1}
    row = bench.table()[4]
    assert (row["state"], row["error_code"]) == ("pending", "image_unseen")
    assert f"this machine ({platform.node()}) can't see image" in row["error_message"]
    assert "s3://" in row["error_message"]
    assert (report.exit_reason, report.exit_code) == ("done", 1)


async def test_a_machine_that_sees_no_image_stops_early(bench: Bench, tmp_path: Path) -> None:
    """It does not claim a whole catalogue to give it back; every row stays for a machine that sees its image."""
    paths = [draw(tmp_path / f"{n}.png", n) for n in range(100)]

    def blind(_: RunContext) -> None:
        for path in paths:
            path.unlink()

    report = await on_run(bench, with_images(bench, paths), blind)
    assert bench.states() == {"pending": 100}
    assert report.exit_reason == "same_failure"
    assert len([row for row in bench.table() if row["error_code"] == "image_unseen"]) < 100


def test_one_failed_upload_that_many_rows_share_does_not_stop_the_run(bench: Bench, tmp_path: Path) -> None:
    """Thirty rows with one bad image fail together, once; that says nothing about the others."""
    shared = draw(tmp_path / "shared.png", 3)
    others = [draw(tmp_path / f"{n}.png", 10 + n) for n in range(10)]
    failures: list[bytes] = []

    def fail_once(content: bytes) -> int:
        if content != shared.read_bytes() or failures:
            return 200
        failures.append(content)
        time.sleep(1.0)  # a slow storage: all thirty wait for it by then
        return 500

    with scripted(lambda _: Answer()) as api:
        api.stored, bench.url = fail_once, api.url
        manifest = with_images(bench, [shared] * 30 + others)
        settings = {"concurrency": 30, "retry_attempts": 1, "identical_rejections": 10}
        report = bench.generate(manifest, **settings)
    assert (report.exit_reason, report.unsent) == ("done", {"upload": 30})
    assert bench.states() == {"queued": 10, "pending": 30}


def test_a_refusal_for_another_reason_stays_a_refusal(bench: Bench, tmp_path: Path) -> None:
    """Something that is no image was not found, and the images are from_cache: sent once more, then rejected."""
    manifest = with_images(bench, [draw(tmp_path / "one.png", 6)] * 8)

    def refuse(arrival: Arrival) -> Answer:
        return Answer(404, {"message": "style not found"}, delay_s=0.1 * (arrival.number - 8))

    with scripted(lambda _: Answer()) as api:
        bench.url = api.url
        assert bench.generate(manifest).exit_code == 0
        api.script = refuse
        bench.batch += "-again"
        report = bench.generate(manifest, repeats="send")
        assert len(api.arrivals) == 8 + 16
    assert (report.exit_reason, bench.states()) == ("done", {"rejected": 8})


@pytest.mark.parametrize("act", [os.remove, lambda path: os.truncate(path, 50)], ids=["removed", "cut off"])
@pytest.mark.parametrize("large", [False, True], ids=["small", "large"])
@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
def test_an_image_that_changes_during_its_upload_makes_its_row_invalid(
    bench: Bench, tmp_path: Path, act: Callable[[Path], object], late: bool, large: bool
) -> None:
    """Bytes are not from_cache as something that they are not; the run goes on.

    A small file is in memory by the time its hash is known: what happens to it then changes nothing.
    """
    paths = [draw(tmp_path / f"{n}.png", n) for n in range(5)]
    paths.insert(3, changing := draw(tmp_path / "changing.jpg"))
    if large:
        changing.write_bytes(changing.read_bytes() + bytes(PIECE_BYTES))  # as phones put videos there
    content = changing.read_bytes()

    def before(extensions: list[str]) -> None:
        if not late and "jpg" in extensions:
            act(changing)

    def after(put: bytes) -> int:
        if late and put == content:
            act(changing)
        return 200

    with scripted(lambda _: Answer()) as api:
        api.asked, api.stored, bench.url = before, after, api.url
        bench.generate(with_images(bench, paths))
    assert not changing.exists() or changing.read_bytes() != content
    assert bench.states() == ({"queued": 5, "invalid": 1} if large else {"queued": 6})
    assert len(api.ids) == 6 - large


async def test_stopping_does_not_wait_for_uploads(bench: Bench, sandbox: RunningSandbox, tmp_path: Path) -> None:
    """They cost nothing: a storage that takes for ever does not keep anyone at the keyboard."""
    sandbox.set_faults(every={"upload_slow": 1}, slow_seconds=60)
    paths = [draw(tmp_path / f"{n}.png", n) for n in range(12)]
    sessions: list[RunContext] = []
    with Ledger(bench.results) as ledger:
        run = asyncio.create_task(bench.run(ledger, with_images(bench, paths), sessions.append, request_timeout_s=60))
        before = puts(sandbox)
        await until(lambda: puts(sandbox) > before, "an upload has begun")
        sessions[0].interrupt()
        async with asyncio.timeout(40):
            report = await run
    assert report.exit_code == 130
    assert bench.states() == {"pending": 12}


async def test_a_source_that_cannot_be_reached_is_its_rows_affair(bench: Bench, tmp_path: Path) -> None:
    """Whatever a storage library raises: the row goes back with its reason, or is invalid where the file is gone."""
    memory = fsspec.filesystem("memory")
    for name in ("here", "gone", "broken"):
        memory.pipe(f"/{bench.batch}/{name}.png", (draw(tmp_path / "x.png", 9)).read_bytes())
    names = ["here", "gone", "broken"]
    manifest = bench.rows(3).assign(image_path=[f"memory://{bench.batch}/{name}.png" for name in names])

    def spoil(_: RunContext) -> None:
        memory.rm(f"/{bench.batch}/gone.png")

    await on_run(bench, manifest, spoil, image_schemes=("memory",))
    assert [row["state"] for row in bench.table()] == ["queued", "invalid", "queued"]


@pytest.mark.parametrize(("status", "tries"), [(GONE, 3), (500, 3), (401, 3), (402, 1), (403, 3), (413, 1)])
def test_no_upload_error_is_tried_for_ever(bench: Bench, tmp_path: Path, status: int, tries: int) -> None:
    """As often as the settings say, and each error that cannot pass is tried once; none speaks of the API's key."""
    seen: list[bytes] = []

    def refuse(content: bytes) -> int:
        seen.append(content)
        return status

    with scripted(lambda _: Answer()) as api:
        api.stored, bench.url = refuse, api.url
        report = bench.generate(with_images(bench, [draw(tmp_path / "one.png", 1)]), retry_attempts=3)
    assert (len(seen), report.unsent) == (tries, {"upload": 1})
    assert (report.exit_reason, bench.states()) == ("none_sent", {"pending": 1})


def test_a_bad_key_ends_the_run_before_anything_is_read_or_uploaded(
    bench: Bench, sandbox: RunningSandbox, tmp_path: Path
) -> None:
    """The question whose key it is comes first."""
    paths = [draw(tmp_path / f"{n}.png", n) for n in range(40)]
    before = sandbox.books(summary=True)["requests"]
    bench.key = "wrong"
    report = bench.generate(with_images(bench, paths), concurrency=4)
    assert (report.exit_reason, report.exit_code) == ("bad_key", 3)
    after = sandbox.books(summary=True)["requests"]
    assert (after["create"], after["put"]) == (before["create"], before["put"])
    assert bench.states() == {}


def older(bench: Bench, days: float) -> None:
    """The table's uploads were made that many days earlier."""
    with Ledger(bench.results) as ledger:
        entry = uploads.update().values(uploaded_at=utc_now() - timedelta(days=days))
        ledger.change(lambda connection: connection.execute(entry))


@pytest.mark.parametrize(("days", "again"), [(5.9, 0), (6.1, 1)])
def test_an_upload_older_than_six_days_is_made_again(
    bench: Bench, sandbox: RunningSandbox, tmp_path: Path, days: float, again: int
) -> None:
    """The API deletes it after seven; the newer one is then what the table remembers."""
    paths = [draw(tmp_path / "one.png", int(days * 10))] * 2
    bench.generate(with_images(bench, paths[:1]))
    older(bench, days)
    before = puts(sandbox)
    for prompt in ("Fast zoom", "Slow tilt"):
        bench.batch = f"{bench.batch}-{prompt[:4]}"
        assert bench.generate(with_images(bench, paths).assign(prompt=prompt)).exit_code == 0
    assert puts(sandbox) == before + again


def test_an_upload_that_grows_old_while_its_row_waits_is_made_again(
    bench: Bench, sandbox: RunningSandbox, tmp_path: Path
) -> None:
    """Looked at as each create leaves, also when one is tried again."""
    manifest = with_images(bench, [draw(tmp_path / "one.png", 201)])
    bench.generate(manifest.assign(prompt="Fast zoom"))
    bench.batch = f"{bench.batch}-later"
    older(bench, 6 - 1 / 86400)
    sandbox.set_faults(script=["rate_limited"] * 3, retry_after="seconds", retry_after_s=1)
    before = puts(sandbox)
    assert bench.generate(manifest).exit_code == 0
    assert puts(sandbox) == before + 1


@pytest.mark.parametrize(
    ("accounts", "uploaded"),
    [({}, [1, 2, 2, 3]), ({"key-x": "acc-x", "second-x": "acc-x", "key-y": "acc-y"}, [1, 1, 1, 2])],
    ids=["by key", "by account"],
)
def test_an_upload_is_used_by_its_own_account_alone(
    tmp_path: Path, accounts: dict[str, str], uploaded: list[int]
) -> None:
    """Another account may not be allowed it. Keys of one account share; where it is not known, each has its own."""
    image, stored = draw(tmp_path / "one.png", 5), []
    with scripted(lambda _: GOOD) as api:
        api.accounts, api.stored = accounts, lambda content: stored.append(content) or 200
        for key, count in zip(("key-x", "second-x", "key-x", "key-y"), uploaded, strict=True):
            bench = Bench(tmp_path, api.url, key)
            assert bench.generate(with_images(bench, [image]), repeats="send").exit_code == 0
            assert len(stored) == count, key
        used = [arrival.body["assets"]["image_file_path"] for arrival in api.arrivals]
        assert len(set(used)) == uploaded[-1]
