"""Images on their way: uploaded once for their bytes, and every trouble with one is its own rows' affair."""

from __future__ import annotations

import asyncio
import os
import platform
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pandas as pd
import pytest
from bench import Bench, assert_books_agree, draw

from reelbatch.errors import ApiError, UploadError
from reelbatch.ledger import Ledger
from reelbatch.outcome import Exchange
from reelbatch.sandbox import RunningSandbox, start
from reelbatch.session import Session


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
    assert bench.generate(with_images(bench, paths)).exit_code == 0
    assert puts(sandbox) == before + 1


def test_both_images_of_a_row_are_uploaded(bench: Bench, sandbox: RunningSandbox, tmp_path: Path) -> None:
    """The end image as well, and each only once."""
    first, last = draw(tmp_path / "first.png", 1), draw(tmp_path / "last.png", 2)
    manifest = with_images(bench, [first] * 6).assign(end_image_path=str(last), model="kling-3.0", resolution="720p")
    manifest["end_seconds"] = 5
    before = puts(sandbox)
    assert bench.generate(manifest).exit_code == 0
    assert puts(sandbox) == before + 2


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


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


async def on_session(
    bench: Bench, manifest: pd.DataFrame, prepare: Callable[[Session], None], **settings: Any
) -> Any:
    """A run with something done to its session before anything is sent."""
    with Ledger(bench.results) as ledger:
        return await bench.run(ledger, manifest, prepare, **settings)


async def test_an_image_that_the_api_has_forgotten_is_uploaded_again(bench: Bench, tmp_path: Path) -> None:
    """The remembered path is refused; one upload helps all rows, also those that are refused later."""
    image, port = draw(tmp_path / "one.png", 5), _free_port()
    settings = {"queue_seconds": 600, "render_video": False, "port": port}
    with start(**settings) as first:
        bench.url = first.url
        assert (await on_session(bench, with_images(bench, [image]), lambda _: None)).exit_code == 0
    bench.batch += "-again"
    with start(**settings) as second:
        assert second.url == bench.url
        report = await on_session(bench, with_images(bench, [image] * 30), _refused_in_turn, concurrency=6)
        assert (report.exit_code, bench.states()) == (0, {"queued": 30})
        assert_books_agree(bench, second, report)
        assert puts(second) == 1


def _refused_in_turn(session: Session) -> None:
    """The first six creates leave one after the other."""
    send, sent = session.client.send_create, 0

    async def in_turn(body: Any) -> Exchange:
        nonlocal sent
        sent += 1
        await asyncio.sleep(0.3 * sent if sent <= 6 else 0)
        return await send(body)

    session.client.send_create = in_turn  # type: ignore[method-assign]


async def test_an_image_that_this_machine_can_not_see_leaves_its_row_pending(bench: Bench, tmp_path: Path) -> None:
    """It was there for whoever checked the manifest: another machine may see it. The row says which one did not."""
    paths = [draw(tmp_path / f"{n}.png", n) for n in range(12)]
    report = await on_session(bench, with_images(bench, paths), lambda _: paths[4].unlink())
    assert bench.states() == {"queued": 11, "pending": 1}
    row = bench.table()[4]
    assert (row["state"], row["error_code"]) == ("pending", "image_unseen")
    assert f"this machine ({platform.node()}) can't see image" in row["error_message"]
    assert "s3://" in row["error_message"]
    assert (report.exit_reason, report.exit_code) == ("done", 1)


async def test_a_machine_that_sees_no_image_stops_early(bench: Bench, tmp_path: Path) -> None:
    """It does not take up a whole catalogue to give it back; every row stays for a machine that sees its image."""
    paths = [draw(tmp_path / f"{n}.png", n) for n in range(100)]

    def blind(_: Session) -> None:
        for path in paths:
            path.unlink()

    report = await on_session(bench, with_images(bench, paths), blind)
    assert bench.states() == {"pending": 100}
    assert report.exit_reason == "same_failure"
    assert len([row for row in bench.table() if row["error_code"] == "image_unseen"]) < 100


async def test_one_failed_upload_that_many_rows_share_does_not_stop_the_run(bench: Bench, tmp_path: Path) -> None:
    """Thirty rows with one bad image fail together, once; that says nothing about the others."""
    shared = draw(tmp_path / "shared.png", 3)
    others = [draw(tmp_path / f"{n}.png", 10 + n) for n in range(10)]
    failures: list[Path] = []

    def prepare(session: Session) -> None:
        put = session.client.put_file

        async def fail_once(slot: Any, path: Path) -> None:
            if path.name == shared.name and not failures:
                failures.append(path)
                await asyncio.sleep(1.0)  # until all thirty wait for it
                raise UploadError("refused", status=500)
            await put(slot, path)

        session.client.put_file = fail_once  # type: ignore[method-assign,assignment]

    manifest = with_images(bench, [shared] * 30 + others)
    report = await on_session(bench, manifest, prepare, concurrency=30, retry_attempts=1, identical_rejections=10)
    assert (report.exit_reason, report.unsent) == ("done", {"upload": 30})
    assert bench.states() == {"queued": 10, "pending": 30}


async def test_a_refusal_for_another_reason_stays_a_refusal(bench: Bench, tmp_path: Path) -> None:
    """Something that is no image was not found, and the images are remembered: sent once more, then rejected."""
    manifest = with_images(bench, [draw(tmp_path / "one.png", 6)] * 8)
    assert (await on_session(bench, manifest, lambda _: None)).exit_code == 0
    bench.batch += "-again"
    sent: list[Any] = []

    def prepare(session: Session) -> None:
        async def refuse(body: Any) -> Exchange:
            sent.append(body)
            await asyncio.sleep(0.1 * len(sent))
            return Exchange(404, body=b'{"message": "style not found"}', left=True)

        session.client.send_create = refuse  # type: ignore[method-assign]

    report = await on_session(bench, manifest, prepare)
    assert (report.exit_reason, bench.states()) == ("done", {"rejected": 8})
    assert len(sent) == 16


class _Meddling:
    """A client that lets something happen to the file just before, or just after, it is uploaded."""

    def __init__(self, session: Session, before: Callable[[Path], None], after: Callable[[Path], None]) -> None:
        self._put = session.client.put_file
        self._before, self._after = before, after
        session.client.put_file = self  # type: ignore[method-assign,assignment]

    async def __call__(self, slot: Any, path: Path) -> None:
        await asyncio.to_thread(self._before, path)
        await self._put(slot, path)
        await asyncio.to_thread(self._after, path)


def _nothing(_: Path) -> None:
    """Leave the file alone."""


def _only(name: str, act: Callable[[Path], object]) -> Callable[[Path], None]:
    return lambda path: act(path) and None if path.name == name else None  # type: ignore[func-returns-value]


@pytest.mark.parametrize("act", [os.remove, lambda path: os.truncate(path, 50)], ids=["removed", "cut off"])
@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
async def test_an_image_that_changes_during_its_upload_makes_its_row_invalid(
    bench: Bench, sandbox: RunningSandbox, tmp_path: Path, act: Callable[[Path], object], late: bool
) -> None:
    """Its bytes are not remembered as something that they are not; the run goes on."""
    paths = [draw(tmp_path / f"{n}.png", n) for n in range(6)]
    meddle = _only("3.png", act)

    def prepare(session: Session) -> None:
        _Meddling(session, _nothing if late else meddle, meddle if late else _nothing)

    await on_session(bench, with_images(bench, paths), prepare)
    assert bench.states() == {"queued": 5, "invalid": 1}
    assert len(bench.charges(sandbox)) == 5


async def test_stopping_does_not_wait_for_uploads(bench: Bench, sandbox: RunningSandbox, tmp_path: Path) -> None:
    """They cost nothing: a storage that takes for ever does not keep anybody at the keyboard."""
    sandbox.set_faults(every={"upload_slow": 1}, slow_seconds=60)
    paths = [draw(tmp_path / f"{n}.png", n) for n in range(12)]
    sessions: list[Session] = []
    with Ledger(bench.results) as ledger:
        run = asyncio.create_task(bench.run(ledger, with_images(bench, paths), sessions.append, request_timeout_s=60))
        before = puts(sandbox)
        while await asyncio.to_thread(puts, sandbox) == before:  # noqa: ASYNC110 - the sandbox is another process
            await asyncio.sleep(0.05)
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

    def spoil(_: Session) -> None:
        memory.rm(f"/{bench.batch}/gone.png")

    await on_session(bench, manifest, spoil)
    assert [row["state"] for row in bench.table()] == ["queued", "invalid", "queued"]


async def test_no_upload_error_is_tried_for_ever(bench: Bench, tmp_path: Path) -> None:
    """As often as the settings say, and each error that cannot pass is tried once."""
    calls: list[int | None] = []
    image = draw(tmp_path / "one.png", 1)

    def refuse_with(status: int | None) -> Callable[[Session], None]:
        async def put(*_: object) -> None:
            calls.append(status)
            raise UploadError("refused", status=status)

        def prepare(session: Session) -> None:
            session.client.put_file = put  # type: ignore[method-assign]

        return prepare

    expected = {None: 3, 500: 3, 403: 3, 413: 1}
    for status, tries in expected.items():
        calls.clear()
        report = await on_session(bench, with_images(bench, [image]), refuse_with(status), retry_attempts=3)
        assert (status, len(calls), report.unsent) == (status, tries, {"upload": 1})


async def test_a_bad_key_at_the_upload_addresses_stops_the_run(bench: Bench, tmp_path: Path) -> None:
    """The first call that says so is enough."""
    paths = [draw(tmp_path / f"{n}.png", n) for n in range(40)]

    def prepare(session: Session) -> None:
        async def refuse(_: object) -> list[Any]:
            raise ApiError("no such key", status=401)

        session.client.upload_urls = refuse  # type: ignore[method-assign]

    report = await on_session(bench, with_images(bench, paths), prepare, concurrency=4)
    assert (report.exit_reason, report.exit_code) == ("bad_key", 3)
    assert bench.states() == {"pending": 40}
