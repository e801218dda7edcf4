"""Settling against the sandbox, over a real socket: rows are submitted as a run does it, then followed to the end."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from reelbatch.client import Client, Connection
from reelbatch.domain import Batch, Request, Row, RowKey
from reelbatch.ledger import Ledger, reading
from reelbatch.sandbox import RunningSandbox, start
from reelbatch.session import Assignment, open_session
from reelbatch.settings import Settings
from reelbatch.settler import SettlePlan, Settler, SettleReason, SettleTally

BATCH = Batch("spring")
POLL_S = 0.05
IMAGE = "https://images.example.com/chair.png"


@pytest.fixture(scope="module")
def running() -> Iterator[RunningSandbox]:
    """One sandbox whose videos are ready within a moment."""
    with start(queue_seconds=0.1, render_seconds=0.2, render_video=False) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running: RunningSandbox) -> RunningSandbox:
    """The sandbox, without the faults of earlier tests."""
    running.set_faults()
    return running


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A results table of its own."""
    with Ledger(f"sqlite:///{tmp_path / 'results.db'}") as opened:
        yield opened


@pytest.fixture
async def client(sandbox: RunningSandbox) -> AsyncIterator[Client]:
    """A client of the sandbox."""
    async with Client(sandbox.key, Connection(base_url=sandbox.url)) as opened:
        yield opened


async def submit(ledger: Ledger, sandbox: RunningSandbox, *keys: str, prompt: str = "Slow pan") -> None:
    """Rows from pending to queued, through the submitter."""
    request = Request(IMAGE, prompt, 2.0, resolution="480p", model="ltx-2.3")
    rows = [Row(RowKey(key), number, request, request.fingerprint(), 48) for number, key in enumerate(keys, start=1)]
    with ledger.staged([rows]) as manifest:
        manifest.merge(BATCH)
    settings = Settings.model_validate({"MAGIC_HOUR_API_KEY": SecretStr(sandbox.key), "base_url": sandbox.url})
    async with open_session(ledger, settings, Assignment(batch=BATCH, command="generate", base=".")) as session:
        for span in session.chunks(len(rows)):
            await session.submitter.submit(session.scope, span)


async def settle(ledger: Ledger, client: Client, **plan: Any) -> SettleTally:
    """A settle of the batch, with a short poll interval."""
    return await Settler(ledger, client, SettlePlan(batch=BATCH, **{"poll_interval_s": POLL_S, **plan})).run()


def rows_of(ledger: Ledger) -> list[dict[str, Any]]:
    """All rows, in the manifest's order."""
    return ledger.read(lambda connection: [dict(row) for row in connection.execute(reading.rows()).mappings()])


async def test_videos_are_followed_to_their_files(
    ledger: Ledger, sandbox: RunningSandbox, client: Client, tmp_path: Path
) -> None:
    """Every row ends complete, with its figures and a video under its own key."""
    await submit(ledger, sandbox, "TEA-001", "TEA-002", "a/b")
    tally = await settle(ledger, client, downloads=str(tmp_path / "videos"))
    assert tally.download_failures == []
    assert (tally.reason, tally.complete, tally.downloaded, tally.unsettled) == (SettleReason.DONE, 3, 3, 0)
    rows = rows_of(ledger)
    assert {row["state"] for row in rows} == {"complete"}
    assert all(row["credits_final"] is not None and row["fps"] and row["settled_at"] for row in rows)
    assert sorted(path.name for path in (tmp_path / "videos").iterdir())[:2] == ["TEA-001.mp4", "TEA-002.mp4"]
    assert all(Path(row["video_path"]).stat().st_size > 0 for row in rows)
