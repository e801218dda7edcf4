"""Settling against the sandbox, over a real socket: rows are submitted as a run does it, then followed to the end."""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import select, update
from waiting import until

from reelbatch.client import Client, ClientOptions
from reelbatch.domain import Batch, Request, Row, RowKey, RunId
from reelbatch.ledger import Ledger, queries, runs, utc_now
from reelbatch.ledger.accounts import Payer
from reelbatch.ledger.attempts import Answer, Ending, record_answers
from reelbatch.ledger.schema import attempts, generations
from reelbatch.pipeline.run_context import Assignment, open_run
from reelbatch.sandbox import RunningSandbox, start
from reelbatch.settings import Settings
from reelbatch.settle import SettleOptions, Settler, SettleReason, SettleStats

BATCH = Batch("spring")
POLL_S = 0.05
IMAGE = "https://images.example.com/chair.png"


@pytest.fixture(scope="module")
def running() -> Iterator[RunningSandbox]:
    """One sandbox whose videos are ready within a moment."""
    with start(queue_seconds=0.1, render_seconds=0.2, render_parallel=1, render_video=False) as sandbox:
        yield sandbox


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A results table of its own."""
    with Ledger(f"sqlite:///{tmp_path / 'results.db'}") as opened:
        yield opened


@pytest.fixture
async def client(sandbox: RunningSandbox) -> AsyncIterator[Client]:
    """A client of the sandbox."""
    async with Client(sandbox.key, ClientOptions(base_url=sandbox.url)) as opened:
        yield opened


async def submit(ledger: Ledger, sandbox: RunningSandbox, *keys: str, prompt: str = "Slow pan") -> None:
    """Rows from pending to queued, through the submitter."""
    request = Request(IMAGE, prompt, 2.0, resolution="480p", model="ltx-2.3")
    rows = [Row(RowKey(key), number, request, request.fingerprint(), 48) for number, key in enumerate(keys, start=1)]
    with ledger.staged([rows]) as manifest:
        manifest.merge(BATCH)
    ledger.change(lambda connection: runs.open_batch(connection, BATCH, Payer("local"), "."))
    settings = Settings.model_validate({"MAGIC_HOUR_API_KEY": SecretStr(sandbox.key), "base_url": sandbox.url})
    async with open_run(ledger, settings, Assignment(batch=BATCH, command="generate", base=".")) as context:
        await context.submit(1, len(rows))


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """Where the videos go."""
    return tmp_path / "videos"


def sizes(folder: Path) -> dict[str, int]:
    """Bytes of all files, hidden ones included."""
    return {path.name: path.stat().st_size for path in folder.iterdir()}


async def settle(ledger: Ledger, client: Client, **plan: Any) -> SettleStats:
    """A settle of the batch, with a short poll interval."""
    return await Settler(ledger, client, SettleOptions(batch=BATCH, **{"poll_interval_s": POLL_S, **plan})).run()


def rows_of(ledger: Ledger) -> list[dict[str, Any]]:
    """All rows, in the manifest's order."""
    return ledger.read(lambda connection: [dict(row) for row in connection.execute(queries.rows()).mappings()])


async def test_videos_are_followed_to_their_files(
    ledger: Ledger, sandbox: RunningSandbox, client: Client, videos: Path
) -> None:
    """Every row ends complete, with its figures and a video under its own key; the storage never saw the API key."""
    await submit(ledger, sandbox, "TEA-001", "TEA-002", "a/b")
    stats = await settle(ledger, client, downloads=str(videos))
    assert stats.download_failures == []  # the sandbox's storage refuses a request that carries a key
    assert (stats.reason, stats.complete, stats.downloaded, stats.unsettled) == (SettleReason.DONE, 3, 3, 0)
    rows = rows_of(ledger)
    assert {row["state"] for row in rows} == {"complete"}
    assert all(row["credits_final"] is not None and row["fps"] and row["settled_at"] for row in rows)
    assert sizes(videos).keys() > {"TEA-001.mp4", "TEA-002.mp4"}
    assert set(sizes(videos)) == {Path(row["video_path"]).name for row in rows}
    assert all(sizes(videos).values())


async def test_the_credits_are_those_of_the_accounts_books(
    ledger: Ledger, client: Client, sandbox: RunningSandbox
) -> None:
    """Complete, failed and canceled: charge, final figure and refund of every video match the API's own books."""
    with start(
        queue_seconds=0, render_seconds=0, render_parallel=1, render_video=False, render_error_share=0.4
    ) as api:
        keys = [f"r{n}" for n in range(12)]
        await submit(ledger, api, *keys)
        async with Client(api.key, ClientOptions(base_url=api.url)) as its_client:
            stats = await settle(ledger, its_client)
        books = api.books()
    charges = {charge["video_id"]: charge for charge in books["charges"]}
    for row in rows_of(ledger):
        charge = charges.pop(row["video_id"])
        assert (row["state"], row["credits_charged"]) == (charge["status"], charge["credits"])
        assert row["credits_final"] == charge["final"]
    assert not charges
    assert stats.complete
    assert stats.error
    assert (stats.credits_charged, stats.credits_refunded) == (books["charged"], books["refunded"])
    money = ledger.read(lambda connection: queries.credits_of(connection, BATCH))
    assert money.final == books["net"] == money.worst_case
    assert books["net"] == ledger.read(lambda connection: queries.worst_case(connection, BATCH))


async def test_a_video_that_no_row_has_is_settled_too(ledger: Ledger) -> None:
    """Its id came when the row had another already; it counts as no refund, and the books match."""
    with start(queue_seconds=0, render_seconds=0, render_video=False) as api:
        await submit(ledger, api, "a", "b")
        a = attempts.c
        lost = select(a.token, a.video_id, a.credits_charged, a.credits_reserved).where(a.row_key == "b")
        (token, video_id, charged, reserved) = ledger.read(lambda connection: connection.execute(lost).one())
        other = {"token": "rb_other", "video_id": "vid-other", "state": "complete"}
        row = update(generations).where(generations.c.row_key == "b").values(other)
        ledger.change(lambda connection: connection.execute(row))
        forget = update(attempts).where(a.token == token).values(video_id=None, outcome=None)
        ledger.change(lambda connection: connection.execute(forget))
        late = {"batch": BATCH, "row_key": RowKey("b"), "run_id": RunId("r"), "token": token, "at": utc_now()}
        answer = Answer(
            **late, ending=Ending.SUBMITTED, reserved=reserved, video_id=video_id, credits_charged=charged
        )
        assert ledger.change(lambda connection: record_answers(connection, [answer])) == [False]
        async with Client(api.key, ClientOptions(base_url=api.url)) as its_client:
            stats = await settle(ledger, its_client)
        final = select(a.credits_final).where(a.token == token)
        assert ledger.read(lambda connection: connection.scalar(final)) == 48
        assert (stats.complete, stats.refunds) == (1, 0)
        assert ledger.read(lambda connection: queries.worst_case(connection, BATCH)) == api.books()["net"]


async def test_a_video_canceled_by_its_owner_is_settled(ledger: Ledger) -> None:
    """Canceled in the web app: final, refunded, never downloaded."""
    with start(queue_seconds=0, render_seconds=60, render_video=False) as api:
        await submit(ledger, api, "a")
        (row,) = rows_of(ledger)
        await asyncio.to_thread(api.cancel, row["video_id"])
        async with Client(api.key, ClientOptions(base_url=api.url)) as its_client:
            stats = await settle(ledger, its_client)
    (row,) = rows_of(ledger)
    assert (stats.canceled, row["state"], row["credits_final"]) == (1, "canceled", 0)


async def test_a_bad_day_of_api_and_storage_is_survived(
    ledger: Ledger, sandbox: RunningSandbox, client: Client, videos: Path
) -> None:
    """Errors, lost answers, expired addresses and cut transfers cost time, not videos."""
    keys = [f"r{n}" for n in range(8)]
    await submit(ledger, sandbox, *keys)
    sandbox.set_faults(
        first={"get_fail": 3, "get_lost": 2, "get_rate_limited": 2},
        every={"download_expired": 10, "download_truncated": 4, "download_fail": 9},
    )
    stats = await settle(ledger, client, downloads=str(videos))
    assert (stats.complete, stats.downloaded, stats.download_failures) == (8, 8, [])
    assert sorted(sizes(videos)) == sorted(f"{key}.mp4" for key in keys)
    assert len(set(sizes(videos).values())) == 1  # without rendering every video is the same one


async def test_a_killed_settle_is_resumed(
    ledger: Ledger, sandbox: RunningSandbox, client: Client, videos: Path
) -> None:
    """Killed in the middle, then run again: every row settled once, every video there once, the sums right."""
    keys = [f"r{n}" for n in range(40)]
    await submit(ledger, sandbox, *keys)
    script = _SCRIPT.format(table=ledger.path, url=sandbox.url, key=sandbox.key, videos=videos, poll_s=POLL_S)
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script)
    await until(lambda: any(videos.glob("*.mp4")), "the first video is there")
    process.kill()
    await process.wait()
    left = [row for row in rows_of(ledger) if not row["video_path"]]
    stats = await settle(ledger, client, downloads=str(videos))
    assert stats.downloaded == len(left)
    assert sorted(sizes(videos)) == sorted(f"{key}.mp4" for key in keys)
    rows = rows_of(ledger)
    assert {row["state"] for row in rows} == {"complete"}
    assert sum(row["credits_final"] for row in rows) == ledger.read(
        lambda connection: queries.worst_case(connection, BATCH)
    )


_SCRIPT = """
import asyncio
from reelbatch.client import Client, ClientOptions
from reelbatch.ledger import Ledger
from reelbatch.settle import SettleOptions, Settler

async def main():
    with Ledger("sqlite:///{table}") as ledger:
        async with Client("{key}", ClientOptions(base_url="{url}")) as client:
            plan = SettleOptions(batch="spring", poll_interval_s={poll_s}, concurrency=2, downloads="{videos}")
            await Settler(ledger, client, plan).run()

asyncio.run(main())
"""
